"""A disk that is full, read-only or lies; a clock that jumps: serving goes on, and records say what happened."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenup_runtime.clock import FakeClock
from greenup_runtime.errors import SpoolFault
from greenup_runtime.meters.fake import FakeMeter
from greenup_runtime.recording import forms, keeper
from greenup_runtime.recording.book import Book
from greenup_runtime.recording.keeper import Keeper
from greenup_runtime.sampling import Sampler
from greenup_runtime.settings import RecordSettings
from greenup_runtime.spool import Spool, of_records


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"r{number}", "text": "x" * 200} for number in range(first, first + count)]


def ids(spool: Spool) -> list[str]:
    return [row["id"] for row in spool.since(0, 10**6) if str(row.get("id", "")).startswith("r")]


def append_until_full(spool: Spool, kept: int) -> SpoolFault:
    for first in range(kept, kept + 100_000, 10):
        try:
            spool.append(rows(10, first))
        except SpoolFault as fault:
            return fault
    raise AssertionError("the disk is never full")


def test_a_full_disk_costs_what_did_not_fit_and_nothing_else(small_disk: Path) -> None:
    with Spool(small_disk / "spool.sqlite") as spool:
        kept = spool.append(rows(100))
        filler = fill_up(small_disk)
        fault = append_until_full(spool, kept)
        assert (fault.message, "room" in str(fault.hint)) == ("the disk is full", True)
        kept = spool.depth()
        assert ids(spool) == [f"r{number}" for number in range(kept)]
        filler.unlink()
        assert spool.append(rows(10, kept)) == kept + 10
        assert ids(spool) == [f"r{number}" for number in range(kept + 10)]


def test_a_full_disk_still_takes_what_fits_where_acknowledged_records_lay(small_disk: Path) -> None:
    with Spool(small_disk / "spool.sqlite") as spool:
        kept = spool.append(rows(6000))
        spool.acknowledge(kept)
        fill_up(small_disk)
        for _ in range(20):
            kept = spool.append(rows(100, kept))
            spool.acknowledge(kept - 50)
        assert ids(spool) == [f"r{number}" for number in range(kept - 50, kept)]


def test_an_acknowledgement_that_a_full_disk_refuses_may_be_given_again(small_disk: Path) -> None:
    with Spool(small_disk / "spool.sqlite") as spool:
        append_until_full(spool, 0)
        kept = spool.depth()
        with pytest.raises(SpoolFault, match="full"):
            spool.acknowledge(kept)
        assert spool.depth() == kept
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        assert spool.acknowledge(kept) == kept


def test_a_disk_without_any_room_at_the_start(small_disk: Path) -> None:
    filler = fill_up(small_disk)
    with pytest.raises(SpoolFault):
        Spool(small_disk / "spool.sqlite")
    filler.unlink()
    with Spool(small_disk / "spool.sqlite") as spool:
        assert spool.append(rows(1)) == 1


def test_a_read_only_file_system_is_a_fault_until_it_is_writable_again(small_disk: Path) -> None:
    with Spool(small_disk / "spool.sqlite") as spool:
        spool.append(rows(3))
    remount(small_disk, "ro")
    with pytest.raises(SpoolFault, match="cannot be written"):
        Spool(small_disk / "spool.sqlite")
    remount(small_disk, "rw")
    with Spool(small_disk / "spool.sqlite") as spool:
        assert spool.append(rows(1, 3)) == 4


def lost_record(count: int, reason: str) -> dict[str, Any]:
    return {"kind": "lost", "count": count, "reason": reason}


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_what_the_recorder_could_not_keep_is_kept_later_or_counted(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(keeper, "MAX_WAITING", 40)
    keeps = Keeper(lambda: Spool(small_disk / "spool.sqlite"))
    assert keeps.keep(list(of_records(rows(10))), lost_record)
    filler = fill_up(small_disk)
    with Spool(small_disk / "spool.sqlite") as spool:
        append_until_full(spool, 1000)
        crowd = spool.depth() - 10
    if fault == "read-only":
        keeps.close()
        remount(small_disk, "ro")
    for turn in range(1, 9):
        assert not keeps.keep(list(of_records(rows(10, 10 * turn))), lost_record)
    assert (keeps.facts()["records_lost_total"], bool(keeps.facts()["spool_fault"])) == (40, True)
    if fault == "read-only":
        remount(small_disk, "rw")
    filler.unlink()
    assert keeps.keep(list(of_records(rows(10, 90))), lost_record), keeps.fault
    keeps.close()
    with Spool(small_disk / "spool.sqlite") as spool:
        found = ids(spool)
        (told,) = [row for row in spool.since(0, 10**6) if row.get("kind") == "lost"]
    assert found[:10] + found[10 + crowd :] == [f"r{number}" for number in (*range(10), *range(50, 100))]
    assert told["count"] == 40
    assert "full" in told["reason"] or "cannot be written" in told["reason"]


def some_spool(path: Path) -> int:
    with Spool(path) as spool:
        for first in range(0, 300, 10):
            spool.append(rows(10, first))
        spool.acknowledge(55)
    return path.stat().st_size // 4096


def test_a_damaged_page_costs_what_lay_on_it_at_most(memory: Path) -> None:
    pages, noise = some_spool(memory / "whole.sqlite"), np.random.default_rng(5)
    whole = (memory / "whole.sqlite").read_bytes()
    least = 245
    for page in range(pages):
        path = memory / f"{page}.sqlite"
        data = bytearray(whole)
        data[page * 4096 + 16 : page * 4096 + 2000] = noise.bytes(1984)
        path.write_bytes(data)
        with Spool(path) as spool:
            spool.check()
            spool.append([{"id": "new"}])
            found = spool.since(0, 10**6)
        kept = [row["id"] for row in found if str(row["id"]).startswith("r")]
        assert kept == sorted(set(kept), key=lambda each: int(each[1:]))
        assert set(kept) <= {f"r{number}" for number in range(55, 300)}
        assert found[-1]["id"] == "new"
        events = [row for row in found if row.get("kind") == "spool"]
        if events:
            (event,) = events
            assert path.read_bytes()[page * 4096 : page * 4096 + 4096] == data[page * 4096 : page * 4096 + 4096]
            assert (event["event"], event["damaged_file"]) == ("damaged", path.name)
            assert event["saved"] == len(kept)
            assert event["reason"]
            assert (memory / f"{page}.2.sqlite").exists()
        else:
            assert len(kept) == 245
        # The first page describes the file, the second to fourth are the tables' roots: without them all is lost.
        least = min(least, len(kept)) if page > 4 else least
    assert least >= 195


@pytest.mark.parametrize("damage", ["no database", "half", "nothing"])
def test_a_damaged_file_stays_and_a_new_spool_begins(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "spool.sqlite"
    some_spool(path)
    with Spool(path) as spool:
        before = spool.uuid
    size = path.stat().st_size
    os.truncate(path, {"no database": size, "half": size // 2, "nothing": 0}[damage])
    if damage == "no database":
        path.write_bytes(os.urandom(size))
    with Spool(path) as spool:
        assert spool.append([{"id": "new"}])
        assert spool.uuid != before
        events = [row for row in spool.since(0, 10**6) if row.get("kind") == "spool"]
    assert len(events) == (damage != "nothing")
    with Spool(path) as again:
        assert again.since(0, 10**6)[-1]["id"] == "new"


def test_damage_that_comes_while_it_is_open_is_met_by_all_who_have_it_open(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    some_spool(path)
    with Spool(path) as first, Spool(path) as second:
        before = first.uuid
        data = bytearray(path.read_bytes())
        for page in range(1, len(data) // 4096):
            data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
        path.write_bytes(data)
        first.append([{"id": "one"}])
        assert first.uuid != before
        second.append([{"id": "two"}])
        assert second.uuid == first.uuid
        assert [row["id"] for row in first.since(0)][-2:] == ["one", "two"]


def test_only_a_few_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    for number in range(1, 8):
        file = path if number == 1 else tmp_path / f"spool.{number}.sqlite"
        with Spool(path) as spool:
            spool.append(rows(1))
        file.write_bytes(b"garbage" * 1000)
    with Spool(path) as spool:
        spool.append(rows(1))
    assert sorted(file.name for file in tmp_path.glob("spool*.sqlite")) == [
        f"spool.{number}.sqlite" for number in (5, 6, 7, 8)
    ]


def test_another_process_that_holds_the_spool_is_waited_for(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as first:
        first._connection().execute("BEGIN IMMEDIATE")
        done: list[int] = []

        def append() -> None:
            with Spool(tmp_path / "s") as second:
                done.append(second.append(rows(1)))

        thread = threading.Thread(target=append)
        thread.start()
        thread.join(0.3)
        assert not done
        first._connection().execute("ROLLBACK")
        thread.join()
        assert done == [1]


@pytest.mark.parametrize("step_s", [-86_400.0, 1e9])
def test_a_clock_that_is_set_changes_no_duration_and_no_joule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    clock, wall = FakeClock(), {"step_s": 0.0}
    monkeypatch.setattr(forms.time, "time", lambda: 1.7e9 + clock.now() + wall["step_s"])
    meter = FakeMeter(clock, 2.0, 3.0)
    keeps = Keeper(lambda: Spool(tmp_path / "spool.sqlite"))
    with Sampler(meter, clock, beat_s=0.02) as sampler:
        book = Book(RecordSettings(), "board", sampler, meter.facts, "", clock, keeps)
        for turn in range(100):
            began_s = clock.now()
            clock.work(0.04)
            book.turn([("bundle", "int8", began_s, clock.now(), 1, turn)])
            clock.sleep(0.06)
            wall["step_s"] = step_s if turn >= 50 else 0.0
        book.finish([])
    with Spool(tmp_path / "spool.sqlite") as spool:
        found = spool.since(0, 10**6)
    served = [row for row in found if row["kind"] == "inference"]
    assert len(served) == 100
    assert all(row["latency_s"] == pytest.approx(0.04) for row in served)
    assert all(row["energy_j"] == pytest.approx(0.04 * 5.0, rel=0.25) for row in served)
    idle = [row for row in found if row["kind"] == "idle"]
    assert sum(row["period_s"] for row in idle) == pytest.approx(clock.now())
    steps = [row["clock_step_s"] for row in idle if "clock_step_s" in row]
    assert steps == [pytest.approx(step_s)]
