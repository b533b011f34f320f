"""What a spool knows of itself: its one row, and the record of its own fate."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from greenup_runtime.spool.blocks import Block, of_records
from greenup_runtime.spool.bounds import Bounds, RunningClock, started

RECORD_SCHEMA = "greenup.record/2"


class Damage(Exception):
    """The file is not what was written; the spool begins anew."""


@dataclass
class State:
    """The one row of the table `state`: records `tail + 1` to `head` wait."""

    uuid: str
    head: int
    tail: int
    bytes: int
    dropped: int
    clock: RunningClock
    bounds: Bounds

    @classmethod
    def fresh(cls) -> State:
        """Of a spool that begins."""
        return cls(uuid.uuid4().hex, 0, 0, 0, 0, started(), Bounds())

    @classmethod
    def read(cls, db: sqlite3.Connection) -> State:
        """From the file. Raises Damage where the row is gone."""
        row = db.execute("SELECT * FROM state").fetchone()
        if row is None:
            raise Damage("the spool's state is gone")
        _, name, head, tail, size, dropped, *rest = row
        return cls(name, head, tail, size, dropped, RunningClock(*rest[:3]), Bounds(*rest[3:]))

    def write(self, db: sqlite3.Connection) -> None:
        """Into the file, as part of a transaction."""
        clock, bounds = self.clock, self.bounds
        db.execute(
            "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(self.uuid, self.head, self.tail, self.bytes, self.dropped),
                *(clock.total_s, clock.boot, clock.boot_s),
                *(bounds.max_records, bounds.max_bytes, bounds.max_age_s),
            ),
        )

    def add(self, db: sqlite3.Connection, block: Block) -> None:
        """Store a block behind all others, as part of a transaction."""
        first, self.head = self.head + 1, self.head + block.count
        self.bytes += block.size
        db.execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self.head, first, self.clock.total_s, block.size, block.checksum, block.form, block.head, block.body),
        )


def event(device: str, **facts: Any) -> Block:
    """A record of the spool's own fate."""
    record = {
        "schema": RECORD_SCHEMA,
        "kind": "spool",
        "id": uuid.uuid4().hex,
        "device": device,
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        **facts,
    }
    return next(of_records([record]))
