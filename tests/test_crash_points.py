"""The crash harness itself: it finds the calls that change files, and kills at each of them."""

from __future__ import annotations

import sys
from pathlib import Path

from crash.points import enumerate_points, killed_runs, run

STEPS = """
import os, sys, pathlib, sqlite3
folder = pathlib.Path(sys.argv[1])
with (folder / "new").open("wb") as file:
    file.write(b"0123456789")
    file.flush()
    os.fsync(file.fileno())
(folder / "new").replace(folder / "kept")
print("kept", flush=True)
(folder / "kept").unlink()
"""


def command(folder: Path) -> list[str | Path]:
    return [sys.executable, "-c", STEPS, folder]


def test_points_are_the_calls_in_their_order(tmp_path: Path) -> None:
    points = enumerate_points(command(tmp_path), tmp_path)
    assert [(point.call, point.path) for point in points] == [
        ("open", "new"),
        ("write", "new"),
        ("fsync", "new"),
        ("rename", "kept"),
        ("unlink", "kept"),
    ]


def test_a_run_dies_before_its_point_or_in_the_middle_of_it(tmp_path: Path) -> None:
    seen = []
    for folder, point, done in killed_runs(lambda folder: None, command, tmp_path):
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        seen.append((point.call, sizes, done.stdout))
    assert seen == [
        ("open", {}, ""),
        ("open", {"new": 0}, ""),
        ("write", {"new": 0}, ""),
        ("write", {"new": 5}, ""),
        ("fsync", {"new": 10}, ""),
        ("fsync", {"new": 10}, ""),
        ("rename", {"new": 10}, ""),
        ("rename", {"kept": 10}, ""),
        ("unlink", {"kept": 10}, "kept\n"),
        ("unlink", {}, "kept\n"),
    ]


def test_what_sqlite_writes_is_seen(tmp_path: Path) -> None:
    steps = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA journal_mode=WAL');"
    steps += "db.execute('CREATE TABLE t (x)'); db.execute('INSERT INTO t VALUES (1)'); db.commit()"
    done = run([sys.executable, "-c", steps, tmp_path / "db"], tmp_path)
    assert {"db", "db-wal", "db-shm"} <= {point.path for point in done.points}
    assert {"pwrite", "ftruncate"} & {point.call for point in done.points}
    assert {"fsync", "fdatasync"} & {point.call for point in done.points}
