"""Records wait here until the host has acknowledged them: an SQLite file that survives a crash.

A record's key is (device id, spool uuid, seq). The uuid is drawn when the file is made, so that a spool that
was lost and begun again cannot be taken for the old one. When it is full the oldest records go, and how many
went is counted.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

MAX_RECORDS = 200_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Spool:
    """The device's records that no host has acknowledged yet."""

    def __init__(self, path: Path, max_records: int = MAX_RECORDS) -> None:
        self._max_records = max_records
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO facts VALUES ('uuid', ?)", (uuid.uuid4().hex,))
        self._db.execute("INSERT OR IGNORE INTO facts VALUES ('dropped', '0')")
        self.uuid = self._fact("uuid")

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    @property
    def dropped(self) -> int:
        """How many records went unsent because the spool was full."""
        return int(self._fact("dropped"))

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Store records in one transaction; durable when this returns."""
        lines = [(json.dumps(record, sort_keys=True),) for record in records]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO records (line) VALUES (?)", lines)
            self._make_room()

    def since(self, seq: int, limit: int = 5_000) -> list[dict[str, Any]]:
        """Records after a sequence number, oldest first, each with its `seq` and `spool`."""
        rows = self._db.execute("SELECT seq, line FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [{**json.loads(line), "seq": number, "spool": self.uuid} for number, line in rows]

    def acknowledge(self, seq: int) -> int:
        """Forget records up to a sequence number that the host has stored durably; returns how many went."""
        return int(self._db.execute("DELETE FROM records WHERE seq <= ?", (seq,)).rowcount)

    def depth(self) -> int:
        """How many records wait."""
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    def _make_room(self) -> None:
        excess = self.depth() - self._max_records
        if excess > 0:
            self._db.execute(
                "DELETE FROM records WHERE seq IN (SELECT seq FROM records ORDER BY seq LIMIT ?)", (excess,)
            )
            self._db.execute(
                "UPDATE facts SET value = CAST(value AS INTEGER) + ? WHERE key = 'dropped'", (excess,)
            )

    def _fact(self, key: str) -> str:
        return str(self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()[0])
