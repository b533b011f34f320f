"""The spool: append, read, acknowledge; full, damaged or set back it stays usable and says what happened.

A record's key is (device id, spool uuid, seq). The uuid is drawn when the file is made, so that a spool that was
lost and begun again cannot be taken for the old one. Numbers have no gap: `tail + 1` to `head` wait.

      acknowledged or dropped │ tail + 1 … head │ to come
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from greenup_runtime.errors import SpoolFault
from greenup_runtime.spool import database
from greenup_runtime.spool.blocks import Block, of_records
from greenup_runtime.spool.bounds import Bounds
from greenup_runtime.spool.room import make_room
from greenup_runtime.spool.state import Damage, State, event

Result = TypeVar("Result")


class Spool:
    """The device's records that no host has acknowledged yet. Several processes may have it open.

    `bounds` stay in the file for those who open it without. Every method raises SpoolFault where the disk is full,
    cannot be written, or another process holds the file for too long; nothing is half done then, and a later call
    may succeed. One object belongs to one thread.
    """

    def __init__(self, path: Path, bounds: Bounds | None = None, device: str = "") -> None:
        self._path = path
        self._bounds = bounds
        self._device = device
        self._lock = -1
        self._db: sqlite3.Connection | None = None
        self._number = 0
        self._why = "the file was damaged"
        self._attempt(self._open)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def uuid(self) -> str:
        """Which spool this is; another one after damage."""
        return self._state().uuid

    @property
    def dropped(self) -> int:
        """How many records went unsent because the spool was full, since it began."""
        return self._state().dropped

    @property
    def size_bytes(self) -> int:
        """Bytes of the records that wait."""
        return self._state().bytes

    def depth(self) -> int:
        """How many records wait."""
        state = self._state()
        return state.head - state.tail

    def append(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Store records in one transaction; durable when this returns the last one's number."""
        return self.append_blocks(list(of_records(records)))

    def append_blocks(self, blocks: Sequence[Block]) -> int:
        """Store blocks in one transaction; durable when this returns the last record's number."""

        def store(db: sqlite3.Connection, state: State) -> int:
            state.clock = state.clock.now()
            for block in blocks:
                state.add(db, block)
            last = state.head
            make_room(db, state, self._device)
            return last

        return self._change(store)

    def head(self) -> int:
        """The highest number given out so far."""
        return self._state().head

    def acknowledge(self, seq: int, spool: str | None = None) -> int:
        """Forget records up to a number that the host has stored durably; returns how many went.

        With `spool`, the uuid that the number belongs to, nothing goes if the spool has begun anew since.

        A number that was never given out means that this file was set back in time (a restored image, a disk that
        lied): the records that wait then get a new spool's name, or the host would take them for old ones.
        """

        def forget(db: sqlite3.Connection, state: State) -> int:
            if spool not in {None, state.uuid}:
                return 0
            if seq > state.head:
                previous, state.uuid = state.uuid, uuid.uuid4().hex
                state.add(db, event(self._device, event="set back", previous=previous, acknowledged=seq))
                return 0
            return _forget(db, state, seq)

        return self._change(forget)

    def lines(self, seq: int = 0, limit: int = 5_000) -> tuple[str, list[str]]:
        """The spool's uuid, and records after a number as JSON lines, oldest first."""
        return self._attempt(lambda: self._lines(seq, limit))

    def since(self, seq: int, limit: int = 5_000) -> list[dict[str, Any]]:
        """Records after a sequence number, oldest first, each with its `seq` and `spool`."""
        return [json.loads(line) for line in self.lines(seq, limit)[1]]

    def check(self) -> None:
        """Look at every page of the file, and begin anew where one is damaged."""

        def look() -> None:
            found = str(self._connection().execute("PRAGMA quick_check(1)").fetchone()[0])
            if found != "ok":
                raise Damage(found)

        self._attempt(look)

    def _lines(self, seq: int, limit: int) -> tuple[str, list[str]]:
        db = self._connection()
        # One transaction, so that the uuid and the records are of one moment.
        db.execute("BEGIN")
        with db:
            state = State.read(db)
            after, found = max(seq, state.tail), list[str]()
            for first, block in database.blocks_after(db, after):
                found += block.lines(first, state.uuid)[max(0, after + 1 - first) :]
                if len(found) >= limit:
                    break
        return state.uuid, found[:limit]

    def _state(self) -> State:
        return self._attempt(lambda: State.read(self._connection()))

    def _change(self, change: Callable[[sqlite3.Connection, State], Result]) -> Result:
        """One durable transaction on the newest generation."""

        def attempt() -> Result:
            with self._shared():
                if database.generation(self._path, self._number + 1).exists():
                    self._disconnect()
                db = self._connection()
                db.execute("BEGIN IMMEDIATE")
                with db:
                    state = State.read(db)
                    result = change(db, state)
                    state.write(db)
                return result

        return self._attempt(lambda: self._with_room(attempt))

    def _with_room(self, attempt: Callable[[], Result]) -> Result:
        """Where the disk is full, the log's own room may be enough."""
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            database.reclaim(self._connection())
            return attempt()

    def _attempt(self, work: Callable[[], Result]) -> Result:
        """Do the work; where the file turns out to be damaged, begin anew and do it again."""
        try:
            return self._translated(work)
        except Damage as damage:
            self._begin_anew(damage)
        try:
            return self._translated(work)
        except Damage as damage:
            raise SpoolFault(f"the spool is damaged again at once: {damage}", "the disk may be dying") from damage

    def _translated(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            fault = database.in_words(error, self._path)
            if isinstance(fault, SpoolFault) and "full" not in fault.message:
                # A connection that met a fault of the disk may keep it: the next call opens the file again.
                self._disconnect()
            raise fault from error
        except OSError as error:
            self._disconnect()
            raise SpoolFault(f"the spool cannot be written: {error.strerror}: {self._path.parent}") from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._open()
        assert self._db is not None
        return self._db

    def _open(self) -> None:
        number = database.newest(self._path)
        file = database.generation(self._path, number)
        db = database.connect(file)
        try:
            database.prepare(db, self._path, number, self._device, self._why)
            if self._bounds is not None:
                db.execute("BEGIN IMMEDIATE")
                with db:
                    state = State.read(db)
                    if state.bounds != self._bounds:
                        state.bounds = self._bounds
                        state.write(db)
        except BaseException:
            db.close()
            raise
        self._db, self._number = db, number

    def _disconnect(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _begin_anew(self, damage: Damage) -> None:
        """Make the next generation, unless another process was faster; opening it saves what can be read."""

        def begin() -> None:
            seen = self._number or database.newest(self._path)
            self._disconnect()
            with self._exclusive():
                if database.newest(self._path) == seen:
                    database.generation(self._path, seen + 1).touch()
                    database.forget_damaged(self._path, seen + 1)
            self._number, self._why = 0, str(damage)

        self._translated(begin)

    @contextmanager
    def _shared(self) -> Iterator[None]:
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """While somebody appends, nobody begins a new generation."""
        if self._lock < 0:
            self._lock = os.open(
                self._path.with_name(f"{self._path.stem}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        fcntl.flock(self._lock, how)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _forget(db: sqlite3.Connection, state: State, seq: int) -> int:
    before, state.tail = state.tail, max(state.tail, seq)
    gone = db.execute("SELECT total(bytes) FROM blocks WHERE last <= ?", (state.tail,)).fetchone()[0]
    db.execute("DELETE FROM blocks WHERE last <= ?", (state.tail,))
    db.execute("DELETE FROM drops WHERE seq <= ?", (state.tail,))
    state.bytes -= int(gone)
    return state.tail - before
