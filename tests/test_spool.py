"""The spool keeps records until they are acknowledged, stays within its bounds, and says what it had to drop."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from greenup_runtime.errors import DeviceFault
from greenup_runtime.spool import Bounds, Column, Spool, bounds, of_columns
from greenup_runtime.spool.bounds import RunningClock


def rows(count: int, first: int = 0) -> list[dict[str, object]]:
    return [{"latency_s": index} for index in range(first, first + count)]


def latencies(spool: Spool) -> list[object]:
    return [row["latency_s"] for row in spool.since(0) if "latency_s" in row]


def of_kind(spool: Spool, kind: str) -> list[dict[str, object]]:
    return [row for row in spool.since(0, 10**6) if row.get("kind") == kind]


def test_records_keep_their_order_and_keys(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        assert spool.append(rows(3)) == 3
        first = spool.since(0)
        assert [row["seq"] for row in first] == [1, 2, 3]
        assert {row["spool"] for row in first} == {spool.uuid}
        assert [row["latency_s"] for row in spool.since(2)] == [2]
        assert [row["latency_s"] for row in spool.since(0, limit=2)] == [0, 1]
        assert (spool.depth(), spool.dropped) == (3, 0)


def test_sequence_numbers_are_never_used_twice(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(rows(3))
        assert spool.acknowledge(3) == 3
    with Spool(tmp_path / "s") as again:
        again.append(rows(1))
        assert [row["seq"] for row in again.since(0)] == [4]


def test_a_part_of_what_was_appended_at_once_may_be_acknowledged(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(rows(5))
        assert spool.acknowledge(2) == 2
        assert spool.acknowledge(1) == 0
        assert latencies(spool) == [2, 3, 4]
        assert spool.acknowledge(5) == 3
        assert (spool.depth(), spool.size_bytes) == (0, 0)


def test_a_new_file_is_a_new_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "a") as first, Spool(tmp_path / "b") as second:
        assert first.uuid != second.uuid


def test_columns_come_out_as_the_same_lines(tmp_path: Path) -> None:
    times, energies = [1_700_000_000.0004, 1_700_000_000.9996, 1_700_000_001.5], [1e-9, 0.25, 1 / 3]
    columns = [
        Column("id", "number", array("d", [7, 8, 9]).tobytes()),
        Column("time", "time", array("d", times).tobytes()),
        Column("energy_j", "float", array("d", energies).tobytes()),
        Column("windows", "whole", array("d", [1, 2, 3]).tobytes()),
    ]
    common = {"kind": "inference", "variant": "100%d", "device": "ü"}
    with Spool(tmp_path / "s") as spool:
        spool.append_blocks(list(of_columns(common, columns, "run", 3600.0)))
        first, second, third = spool.since(0)
    assert first == {
        **common,
        "seq": 1,
        "spool": first["spool"],
        "id": "run-7",
        "time": "2023-11-14T23:13:20.000+01:00",
        "energy_j": 1e-9,
        "windows": 1,
    }
    assert second["time"] == "2023-11-14T23:13:21.000+01:00"
    assert (third["id"], third["windows"]) == ("run-9", 3)
    assert third["energy_j"] == pytest.approx(1 / 3, rel=1e-8)


def test_a_full_spool_drops_the_oldest_and_says_which(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", Bounds(max_records=5), "board") as spool:
        spool.append(rows(3))
        spool.append(rows(4, 3))
        assert latencies(spool) == [3, 4, 5, 6]
        (dropped,) = of_kind(spool, "dropped")
        assert (dropped["count"], dropped["spans"], dropped["device"]) == (3, [[1, 3]], "board")
        assert "records" in str(dropped["reason"])
        assert (spool.dropped, spool.depth()) == (3, 5)


def test_what_was_dropped_is_told_once_however_often_it_is_told_anew(tmp_path: Path) -> None:
    seen: set[object] = set()
    with Spool(tmp_path / "s", Bounds(max_records=200)) as spool:
        for first in range(0, 1400, 7):
            spool.append(rows(7, first))
            assert spool.depth() <= 200
            if first == 700:
                batch = spool.since(0, limit=40)
                seen.update(row["latency_s"] for row in batch if "latency_s" in row)
                told = sum(int(row["count"]) for row in batch if row.get("kind") == "dropped")
                spool.acknowledge(int(batch[-1]["seq"]))
        waiting = spool.since(0, 10**6)
        seen.update(row["latency_s"] for row in waiting if "latency_s" in row)
        told += sum(int(row["count"]) for row in waiting if row.get("kind") == "dropped")
        assert told == spool.dropped
        assert len(seen) + told == 1400
        spans = sorted(span for row in waiting for span in row.get("spans", []))
        assert all(last < first for (_, last), (first, _) in itertools.pairwise(spans))


def test_bytes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with Spool(path, Bounds(max_bytes=200_000)) as spool:
        for first in range(0, 8_000, 100):
            spool.append([{"text": "x" * 50, **row} for row in rows(100, first)])
            assert spool.size_bytes <= 210_000
        assert "bytes" in str(of_kind(spool, "dropped")[-1]["reason"])
    assert path.stat().st_size < 1_000_000


def test_age_counts_while_the_device_runs_whatever_the_wall_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day_s = 86_400.0
    now = {"boot": "first", "s": 100.0}
    monkeypatch.setattr(bounds, "_boot_id", lambda: now["boot"])
    monkeypatch.setattr(bounds.time, "clock_gettime", lambda clock: now["s"])
    with Spool(tmp_path / "s", Bounds(max_age_s=day_s)) as spool:
        spool.append(rows(1))
        now["s"] += 0.9 * day_s
        spool.append(rows(1, 1))
        now.update(boot="second", s=60.0)
        spool.append(rows(1, 2))
        assert latencies(spool) == [0, 1, 2]
        now["s"] += 0.2 * day_s
        spool.append(rows(1, 3))
        assert latencies(spool) == [1, 2, 3]
        assert "age" in str(of_kind(spool, "dropped")[0]["reason"])


def test_a_clock_never_goes_back() -> None:
    later = RunningClock(50.0, bounds._boot_id(), 1e12).now()
    assert later.total_s == 50.0


def test_bounds_stay_for_those_who_open_it_without(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", Bounds(max_records=10)), Spool(tmp_path / "s") as other:
        other.append(rows(30))
        assert other.depth() <= 10


def old_layout(path: Path, count: int, gone: int) -> str:
    """A spool as the first runner made it, with its oldest records acknowledged."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("BEGIN")
    db.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL)")
    db.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    db.executemany("INSERT INTO facts VALUES (?, ?)", [("uuid", "old-uuid"), ("dropped", "4")])
    db.executemany("INSERT INTO records (line) VALUES (?)", [(json.dumps(row),) for row in rows(count)])
    db.execute("DELETE FROM records WHERE seq <= ?", (gone,))
    db.execute("COMMIT")
    db.close()
    return "old-uuid"


@pytest.mark.parametrize(("count", "gone"), [(0, 0), (1200, 0), (1200, 700), (9, 9)])
def test_the_older_layout_keeps_its_records_numbers_and_name(tmp_path: Path, count: int, gone: int) -> None:
    name = old_layout(tmp_path / "s", count, gone)
    with Spool(tmp_path / "s") as spool:
        assert (spool.uuid, spool.dropped, spool.depth()) == (name, 4, count - gone)
        assert [row["seq"] for row in spool.since(0)] == list(range(gone + 1, count + 1))
        assert latencies(spool) == list(range(gone, count))
        assert spool.append(rows(1)) == count + 1


def test_a_newer_layout_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "s")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(DeviceFault, match="layout 9"):
        Spool(tmp_path / "s")


def test_a_spool_that_was_set_back_gives_its_records_another_name(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(rows(3))
        before = spool.uuid
        assert spool.acknowledge(50) == 0
        assert spool.uuid != before
        assert latencies(spool) == [0, 1, 2]
        (event,) = of_kind(spool, "spool")
        assert (event["previous"], event["acknowledged"]) == (before, 50)


APPEND = """
import sys
from greenup_runtime.spool import Spool
from pathlib import Path
with Spool(Path(sys.argv[1])) as spool:
    for n in range(40):
        spool.append([{"who": sys.argv[2], "n": n}, {"who": sys.argv[2], "n": n}])
"""


def test_several_processes_append_at_once_from_the_first_moment_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPEND, str(tmp_path / "s")]
    writers = [subprocess.Popen([*command, str(who)]) for who in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    with Spool(tmp_path / "s") as spool:
        found = spool.since(0)
    assert [row["seq"] for row in found] == list(range(1, 241))
    for who in range(3):
        assert [row["n"] for row in found if row["who"] == str(who)] == sorted(2 * list(range(40)))
