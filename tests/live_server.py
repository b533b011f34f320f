"""A server in a thread of this process, and raw HTTP to talk to it: what tests of serving share."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import small_bundle

from greenup_runtime.loaded import Wanted
from greenup_runtime.recorder import NoRecorder, Receipt, Recorder
from greenup_runtime.server.run import Running, start
from greenup_runtime.settings import ServerSettings
from greenup_runtime.store import Store

INFER = "/v2/models/small/infer"


@dataclass
class Kept:
    """A recorder that keeps what it is told, and knows each energy at once."""

    told: list[tuple[str, str, float, float, int]] = field(default_factory=list)
    closed: bool = False

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        self.told.append((bundle, variant, began_s, ended_s, windows))
        return Receipt(f"r{len(self.told)}", "counter", 0.25)

    def facts(self) -> dict[str, Any]:
        return {"spool_records": 3, "energy_joules_total": 1.5, "meter": 'ra"pl\n', "lost": None, "meter_ok": True}

    def began(self) -> float:
        return time.monotonic()

    def gave_up(self) -> None:
        pass

    def joules(self) -> dict[tuple[str, str], float]:
        return {("digest", "fp32"): 0.5}

    def close(self) -> None:
        self.closed = True


@dataclass
class Live:
    """A running server."""

    port: int
    running: Running
    loop: asyncio.AbstractEventLoop
    store: Store

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, request: bytes) -> Reply:
        """Send bytes on a connection of their own, read one answer."""
        with self.connect() as link:
            link.sendall(request)
            return read(link)

    def get(self, path: str, method: str = "GET", *headers: str) -> Reply:
        return self.ask(head(method, path, *headers) + b"\r\n")

    def post(self, path: str, body: bytes, *headers: str) -> Reply:
        return self.ask(post(path, body, *headers))

    def infer(self, value: Any, *headers: str, path: str = INFER) -> Reply:
        return self.post(path, json.dumps(value).encode(), *headers)


@dataclass
class Reply:
    """One answer: status, headers (lower case), body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        (message,) = self.json().values()
        assert set(self.json()) == {"error"}
        assert "Traceback" not in message
        return str(message)


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: runner", *headers, ""]).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    return head("POST", path, f"Content-Length: {len(body)}", *headers) + b"\r\n" + body


def read(link: socket.socket, rest: bytes = b"", *, body: bool = True) -> Reply:
    """Read one answer; the connection's end before it is whole is an AssertionError."""
    content = rest
    while b"\r\n\r\n" not in content:
        content += _more(link)
    top, _, content = content.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    while body and len(content) < int(headers.get("content-length", 0)):
        content += _more(link)
    return Reply(int(lines[0].split()[1]), headers, content)


def _more(link: socket.socket) -> bytes:
    piece = link.recv(65536)
    assert piece, "the server closed the connection"
    return piece


def tensor(windows: np.ndarray, **more: Any) -> dict[str, Any]:
    """A request with JSON data."""
    shape = list(windows.shape)
    return {
        "inputs": [{"name": "input", "shape": shape, "datatype": "FP32", "data": windows.ravel().tolist()}],
        **more,
    }


def binary(windows: np.ndarray, **more: Any) -> tuple[bytes, str]:
    """A request's body with binary data, and the header that goes with it."""
    parameters = {"binary_data_size": windows.nbytes}
    one = {"name": "input", "shape": list(windows.shape), "datatype": "FP32", "parameters": parameters}
    text = json.dumps({"inputs": [one], **more}).encode()
    return text + windows.tobytes(), f"Inference-Header-Content-Length: {len(text)}"


def windows(cases: int = 1, length: int = small_bundle.LENGTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(cases, 1, length)).astype(np.float32)


@contextmanager
def live(
    home: Path, bundle: Path | None, *, recorder: Recorder | None = None, unsigned: bool = True, **settings: Any
) -> Iterator[Live]:
    """A server of a bundle's folder, or of what is committed below `home`, on a free port."""
    chosen = ServerSettings(port=0, **settings)
    store = Store(home)
    wanted = Wanted(bundle, None, unsigned)
    began: list[Live | BaseException] = []
    ready = threading.Event()

    async def life() -> None:
        running = await start(chosen, wanted, store, recorder or NoRecorder())
        began.append(Live(running.addresses[0][1], running, asyncio.get_running_loop(), store))
        ready.set()
        await running.until_stopped()

    def run() -> None:
        try:
            asyncio.run(life())
        except Exception as error:  # noqa: BLE001 (the test's own thread raises it)
            began.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    server = began[0]
    if isinstance(server, BaseException):
        thread.join()
        raise server
    try:
        yield server
    finally:
        server.loop.call_soon_threadsafe(server.running.stop)
        thread.join(20)
        assert not thread.is_alive()
        assert began == [server]
