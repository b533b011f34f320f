"""A host that takes records as docs/records.md says, and really stores them before it acknowledges.

python receiver.py FOLDER        prints its port
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Receiver:
    """Listens on loopback from `start` to `close`. `plan` holds what to do wrong with the next requests, in order.

    A plan's entry is a status code, `silent` (store, then hang up without an answer), `nothing` (acknowledge 0),
    `garbage` (an answer that is none), or `half` (store and acknowledge the first half).
    """

    def __init__(self, folder: Path, token: str | None = None, most_lines: int = 10**9) -> None:
        self.file = folder / "received.sqlite"
        self.token = token
        self.most_lines = most_lines
        self.plan: list[Any] = []
        self.requests: list[dict[str, str]] = []
        self.answers: list[int] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"receiver": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        with self._db() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS records (device TEXT, spool TEXT, seq INTEGER, id TEXT, line TEXT,"
                " PRIMARY KEY (device, spool, seq))"
            )
            db.execute("CREATE TABLE IF NOT EXISTS arrivals (count INTEGER)")

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def encrypted(self, certificate: Path, key: Path) -> str:
        """Speak TLS; the address to use."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        return f"https://localhost:{self.port}"

    def start(self) -> Receiver:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def rows(self) -> list[dict[str, Any]]:
        """All that is stored, in the order of keys."""
        with self._db() as db:
            lines = db.execute("SELECT line FROM records ORDER BY device, spool, seq").fetchall()
        return [json.loads(line) for (line,) in lines]

    def store(self, device: str, spool: str, lines: list[str]) -> int:
        """Durably, what is new of them; the highest number that is stored."""
        rows = [
            (device, spool, value["seq"], value.get("id"), line) for line in lines for value in [json.loads(line)]
        ]
        with self._db() as db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?)", rows)
            db.execute("INSERT INTO arrivals VALUES (?)", (len(rows),))
            query = "SELECT max(seq) FROM records WHERE device = ? AND spool = ?"
            highest = db.execute(query, (device, spool)).fetchone()[0]
        return int(highest)

    def _db(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.file, isolation_level=None, timeout=30)
        db.execute("PRAGMA synchronous=FULL")
        return db


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.receiver.requests.append(dict(self.headers))
        wrong = self.receiver.plan.pop(0) if self.receiver.plan else None
        if (
            self.receiver.token is not None
            and self.headers.get("Authorization") != f"Bearer {self.receiver.token}"
        ):
            wrong = 401
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        lines = body.decode().splitlines()
        if len(lines) > self.receiver.most_lines:
            wrong = 413
        self.take(wrong, lines)

    def take(self, wrong: Any, lines: list[str]) -> None:
        if isinstance(wrong, int):
            self.answer(wrong, b"no")
        elif wrong == "garbage":
            self.answer(200, b"<html>")
        elif wrong == "nothing":
            self.answer(200, b'{"acknowledged": 0}')
        else:
            kept = lines[: max(1, len(lines) // 2)] if wrong == "half" else lines
            device, spool = self.headers["Greenup-Device"], self.headers["Greenup-Spool"]
            highest = self.receiver.store(device, spool, kept)
            if wrong == "silent":
                self.close_connection = True
            else:
                self.answer(200, json.dumps({"acknowledged": highest}).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.receiver.answers.append(status)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


if __name__ == "__main__":
    running = Receiver(Path(sys.argv[1])).start()
    print(running.port, flush=True)
    sys.stdin.read()
    running.close()
