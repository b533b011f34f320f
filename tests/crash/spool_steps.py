"""What a crash test does with a spool; each promise is printed as soon as it is made, and not before.

python spool_steps.py SCENARIO FOLDER
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from greenup_runtime.spool import Bounds, Spool

SMALL = Bounds(max_records=12)


def promise(text: str) -> None:
    print(text, flush=True)


def append(spool: Spool, *ids: str) -> None:
    spool.append([{"id": each} for each in ids])
    promise(f"kept {' '.join(ids)}")


def first(path: Path) -> None:
    with Spool(path) as spool:
        append(spool, "a", "b")
        append(spool, "c")


def acknowledge(path: Path) -> None:
    with Spool(path) as spool:
        spool.acknowledge(3)
        promise("gone p1 p2 p3")
        append(spool, "a")
        spool.acknowledge(8)
        promise("gone p4 p5 p6 p7 p8")


def drop(path: Path) -> None:
    with Spool(path, SMALL) as spool:
        append(spool, *"abcdef")
        append(spool, *"ghijkl")


def migrate(path: Path) -> None:
    with Spool(path) as spool:
        append(spool, "a")


def damaged(path: Path) -> None:
    with Spool(path) as spool:
        append(spool, "a")
        append(spool, "b")


def filled(path: Path) -> None:
    """Eight records, in a file without a log."""
    with Spool(path) as spool:
        for number in range(1, 9):
            spool.append([{"id": f"p{number}", "text": "x" * 3000}])


def filled_old(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("BEGIN")
    db.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL)")
    db.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    db.executemany("INSERT INTO facts VALUES (?, ?)", [("uuid", "old"), ("dropped", "0")])
    lines = [(f'{{"id":"p{number}"}}',) for number in range(1, 9)]
    db.executemany("INSERT INTO records (line) VALUES (?)", lines)
    db.execute("COMMIT")
    db.close()


def filled_damaged(path: Path) -> None:
    """Eight records of which one page is not what was written."""
    filled(path)
    data = bytearray(path.read_bytes())
    where = data.index(b'"p5"') + 2
    data[where : where + 200] = bytes(200)
    path.write_bytes(data)


BEFORE = {
    "first": lambda path: None,
    "acknowledge": filled,
    "drop": filled,
    "migrate": filled_old,
    "damaged": filled_damaged,
}
STEPS = {"first": first, "acknowledge": acknowledge, "drop": drop, "migrate": migrate, "damaged": damaged}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]) / "spool.sqlite")
