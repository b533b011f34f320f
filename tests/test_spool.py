"""The spool keeps records until they are acknowledged, and counts those it had to drop."""

from __future__ import annotations

from pathlib import Path

from greenup_runtime.spool import Spool


def rows(count: int) -> list[dict[str, object]]:
    return [{"latency_s": index} for index in range(count)]


def test_records_keep_their_order_and_keys(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(rows(3))
        first = spool.since(0)
        assert [row["seq"] for row in first] == [1, 2, 3]
        assert {row["spool"] for row in first} == {spool.uuid}
        assert [row["latency_s"] for row in spool.since(2)] == [2]


def test_sequence_numbers_are_never_used_twice(tmp_path: Path) -> None:
    with Spool(tmp_path / "s") as spool:
        spool.append(rows(3))
        assert spool.acknowledge(3) == 3
    with Spool(tmp_path / "s") as again:
        again.append(rows(1))
        assert [row["seq"] for row in again.since(0)] == [4]


def test_a_new_file_is_a_new_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "a") as first, Spool(tmp_path / "b") as second:
        assert first.uuid != second.uuid


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    with Spool(tmp_path / "s", max_records=5) as spool:
        spool.append(rows(3))
        spool.append(rows(4))
        assert [row["seq"] for row in spool.since(0)] == [3, 4, 5, 6, 7]
        assert spool.dropped == 2
