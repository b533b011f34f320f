"""Where a spool holds too much its oldest records go, and a record of kind `dropped` says which.

A record that says so may itself be dropped later: its spans then stand in the one that takes its place, so that
no loss is ever forgotten and none is told twice.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import datetime

from greenup_runtime.spool.blocks import of_records
from greenup_runtime.spool.state import RECORD_SCHEMA, State


def make_room(db: sqlite3.Connection, state: State, device: str) -> None:
    """Keep to the bounds, as part of a transaction that has appended."""
    for why, through in (
        ("age", _too_old(db, state)),
        ("records", state.tail + state.bounds.records_to_drop(state.head - state.tail)),
        ("bytes", _too_large(db, state)),
    ):
        if through > state.tail:
            _drop(db, state, through, why, device)


def _too_old(db: sqlite3.Connection, state: State) -> int:
    """The last record of the blocks that waited for too long; blocks lie in the order of their age."""
    oldest_s, through = state.clock.total_s - state.bounds.max_age_s, 0
    for last, clock_s in db.execute("SELECT last, clock_s FROM blocks ORDER BY last"):
        if clock_s >= oldest_s:
            break
        through = last
    return through


def _too_large(db: sqlite3.Connection, state: State) -> int:
    """The last record of the oldest blocks that free enough bytes; the newest block always stays."""
    needed, through = state.bounds.bytes_to_drop(state.bytes), 0
    if needed <= 0:
        return 0
    for last, size in db.execute("SELECT last, bytes FROM blocks ORDER BY last"):
        if needed <= 0 or last == state.head:
            break
        needed, through = needed - size, last
    return through


def _drop(db: sqlite3.Connection, state: State, through: int, why: str, device: str) -> None:
    told = db.execute("SELECT count, spans FROM drops WHERE seq <= ?", (through,)).fetchall()
    lost = through - state.tail - len(told)
    spans = [span for _, text in told for span in json.loads(text)]
    spans = _joined([*spans, [state.tail + 1, through]])
    size = db.execute("SELECT total(bytes) FROM blocks WHERE last <= ?", (through,)).fetchone()[0]
    db.execute("DELETE FROM blocks WHERE last <= ?", (through,))
    db.execute("DELETE FROM drops WHERE seq <= ?", (through,))
    state.bytes -= int(size)
    state.tail = through
    state.dropped += lost
    count = lost + sum(each for each, _ in told)
    record = {
        "schema": RECORD_SCHEMA,
        "kind": "dropped",
        "id": uuid.uuid4().hex,
        "device": device,
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "count": count,
        "spans": spans,
        "reason": f"the spool is full: {why}",
    }
    for block in of_records([record]):
        state.add(db, block)
    db.execute("INSERT INTO drops VALUES (?, ?, ?)", (state.head, count, json.dumps(spans)))


def _joined(spans: list[list[int]]) -> list[list[int]]:
    """Spans in order, those that touch made one."""
    joined: list[list[int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return joined
