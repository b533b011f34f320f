"""The spool's file: its tables, its older layout, its faults in words, and what is saved from a damaged one.

The files of a spool are its generations. The first is `spool.sqlite`; where it is damaged, `spool.2.sqlite` begins
with what could be read, and the damaged file stays as it is. Nothing is renamed, so no crash can leave a file
beside the log of another. Only the newest generation is used.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from greenup_runtime.errors import DeviceFault, SpoolFault
from greenup_runtime.spool import inherit
from greenup_runtime.spool.blocks import Block
from greenup_runtime.spool.state import Damage, State

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
            inherit.migrate(db, state)
        elif number > 1:
            inherit.salvage(db, state, generation(path, number - 1), device, why)
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
