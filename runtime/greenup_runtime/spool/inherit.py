"""What a new file of the spool takes over: records of the older layout, or what is readable of a damaged file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from greenup_runtime.spool.blocks import MAX_LINES, Block
from greenup_runtime.spool.state import Damage, State, event


def migrate(db: sqlite3.Connection, state: State) -> None:
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


def salvage(db: sqlite3.Connection, state: State, file: Path, device: str, why: str) -> None:
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
