"""The spool's file: its tables, its older layout, its faults in words, and what is saved from a damaged one.

The files of a spool are its generations. The first is `spool.sqlite`; where it is damaged, `spool.2.sqlite` begins
with what could be read, and the damaged file stays as it is. Nothing is renamed, so no crash can leave a file
beside the log of another. Only the newest generation is used.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from greenup_runtime.errors import DeviceFault, SpoolFault
from greenup_runtime.spool.blocks import MAX_LINES, Block, of_records
from greenup_runtime.spool.bounds import Bounds, RunningClock, started

RECORD_SCHEMA = "greenup.record/2"
LAYOUT = 2
KEPT_DAMAGED = 3
_BUSY_S = 30.0
_LOG_PAGES = 256
_TABLES = (
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), uuid TEXT NOT NULL, head INTEGER NOT NULL,"
    " tail INTEGER NOT NULL, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL, clock_s REAL NOT NULL,"
    " boot TEXT NOT NULL, boot_s REAL NOT NULL, max_records INTEGER NOT NULL, max_bytes INTEGER NOT NULL,"
    " max_age_s REAL NOT NULL)",
    "CREATE TABLE blocks (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, clock_s REAL NOT NULL,"
    " bytes INTEGER NOT NULL, checksum INTEGER NOT NULL, form TEXT NOT NULL, head TEXT NOT NULL,"
    " body BLOB NOT NULL)",
    "CREATE TABLE drops (seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, spans TEXT NOT NULL)",
)


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


def generation(path: Path, number: int) -> Path:
    """The file of a generation; the first one is the path itself."""
    return path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")


def newest(path: Path) -> int:
    """The number of the newest generation; 1 where none exists yet."""
    names = (other.name for other in path.parent.glob(f"{path.stem}.*{path.suffix}"))
    numbers = (name.removeprefix(f"{path.stem}.").removesuffix(path.suffix) for name in names)
    return max([1, *(int(number) for number in numbers if number.isdigit())])


def connect(file: Path) -> sqlite3.Connection:
    """Open a file for durable writing. Raises sqlite3's errors."""
    db = sqlite3.connect(file, isolation_level=None, timeout=_BUSY_S)
    try:
        _write_ahead(db)
        db.execute("PRAGMA synchronous=FULL")
        # A small log stays allocated and is written again from its start: a full disk then still takes changes.
        db.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        db.execute(f"PRAGMA journal_size_limit={_LOG_PAGES * 4096}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; another process that does so too is not waited for by SQLite itself."""
    patience_s = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > patience_s:
                raise
            time.sleep(0.01)


def prepare(db: sqlite3.Connection, path: Path, number: int, device: str, why: str) -> None:
    """Give the file its tables, in one transaction: new ones, or those of the older layout made over.

    `why` is what was wrong with the generation before this one. Raises DeviceFault where a newer runner has made
    the file.
    """
    layout = _layout(db)
    if layout == LAYOUT:
        return
    if layout > LAYOUT:
        raise DeviceFault(f"the spool has layout {layout}, this runner knows {LAYOUT}", "update the runner")
    db.execute("BEGIN IMMEDIATE")
    with db:
        if _layout(db) == LAYOUT:
            return
        old = bool(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone())
        for statement in _TABLES:
            db.execute(statement)
        state = State.fresh()
        if old:
            _migrate(db, state)
        elif number > 1:
            _salvage(db, state, generation(path, number - 1), device, why)
        state.write(db)
        db.execute(f"PRAGMA user_version = {LAYOUT}")


def reclaim(db: sqlite3.Connection) -> None:
    """Move what the log holds into the file, so that the log's room can be used again, as far as that goes."""
    with suppress(sqlite3.OperationalError):
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def blocks_after(db: sqlite3.Connection, seq: int) -> Iterator[tuple[int, Block]]:
    """Each block with records after a number: its first number, and itself. Raises Damage for a bad checksum."""
    query = "SELECT first, last, checksum, form, head, body FROM blocks WHERE last > ? ORDER BY last"
    for first, last, checksum, form, head, body in db.execute(query, (seq,)):
        block = Block(form, last - first + 1, head, body)
        if block.checksum != checksum:
            raise Damage(f"the records {first} to {last} are not what was written")
        yield first, block


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


def in_words(error: sqlite3.Error, file: Path) -> SpoolFault | Damage:
    """What an error of SQLite means to whoever keeps records."""
    text = str(error)
    if not isinstance(error, sqlite3.OperationalError) or "no such table" in text:
        return Damage(text)
    if "full" in text:
        return SpoolFault("the disk is full", f"make room where {file.parent} lies; records are kept again then")
    if "readonly" in text or "unable to open" in text:
        return SpoolFault(f"the spool cannot be written ({text}): {file}", "see its folder's rights and mount")
    if "locked" in text:
        return SpoolFault("another process holds the spool for too long", "see who has it open")
    return SpoolFault(f"the spool cannot be written: {text}", f"see the disk of {file.parent}")


def forget_damaged(path: Path, number: int) -> None:
    """Of damaged files only the last few are kept, or a dying disk would fill itself."""
    for old in range(1, number - KEPT_DAMAGED):
        for suffix in ("", "-wal", "-shm"):
            file = generation(path, old)
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def _layout(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _migrate(db: sqlite3.Connection, state: State) -> None:
    """Layout 1 had one row per record; its uuid, numbers and records stay."""
    facts = dict(db.execute("SELECT key, value FROM facts"))
    state.uuid, state.dropped = facts["uuid"], int(facts["dropped"])
    highest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    first = db.execute("SELECT min(seq) FROM records").fetchone()[0]
    last = int(highest[0]) if highest else 0
    state.head = state.tail = last if first is None else int(first) - 1
    rows = db.execute("SELECT line FROM records ORDER BY seq")
    while lines := rows.fetchmany(MAX_LINES):
        state.add(db, Block("lines", len(lines), "", "\n".join(line for (line,) in lines).encode()))
    if state.head > last:
        raise Damage("the older layout's numbers do not fit its records")
    db.execute("DROP TABLE records")
    db.execute("DROP TABLE facts")


def _salvage(db: sqlite3.Connection, state: State, file: Path, device: str, why: str) -> None:
    """Take over what can still be read of the damaged generation; a record says so."""
    facts: dict[str, Any] = {"damaged_file": file.name, "previous": None, "waiting": None, "reason": why}
    saved = 0
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)) as damaged:
            before = State.read(damaged)
            facts |= {"previous": before.uuid, "waiting": before.head - before.tail}
            state.bounds, state.dropped = before.bounds, before.dropped
            for block in _readable(damaged, before.tail):
                state.add(db, block)
                saved += block.count
    except (sqlite3.Error, Damage) as error:
        facts["reason"] = str(error)
    state.add(db, event(device, event="damaged", **facts, saved=saved))


def _readable(damaged: sqlite3.Connection, tail: int) -> Iterator[Block]:
    """Every block that is what was written, found by number: a bad page hides its own, not those behind it."""
    numbers = _numbers(damaged)
    for last in numbers:
        if last <= tail:
            continue
        query = "SELECT first, checksum, form, head, body FROM blocks WHERE last = ?"
        try:
            first, checksum, form, head, body = damaged.execute(query, (last,)).fetchone()
        except (sqlite3.Error, TypeError):
            continue
        block = Block(form, last - first + 1, head, body)
        if block.checksum == checksum:
            yield block if first > tail else _without(block, tail - first + 1)


def _numbers(damaged: sqlite3.Connection) -> list[int]:
    """Numbers of the blocks, from both ends as far as the pages can be read."""
    found: set[int] = set()
    for order in ("ASC", "DESC"):
        try:
            found.update(last for (last,) in damaged.execute(f"SELECT last FROM blocks ORDER BY last {order}"))
        except sqlite3.Error:
            continue
    return sorted(found)


def _without(block: Block, acknowledged: int) -> Block:
    """What of a block the host does not have yet."""
    lines = block.lines(1, "")[acknowledged:]
    return Block("lines", len(lines), "", "\n".join(lines).encode())
