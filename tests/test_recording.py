"""Records of served requests: each has its energy or a reason, and with idle they are what the meter saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenup_runtime import recording
from greenup_runtime.clock import FakeClock, SystemClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import Chosen
from greenup_runtime.meters.base import Meter
from greenup_runtime.meters.fake import FakeMeter
from greenup_runtime.recorder import NoRecorder
from greenup_runtime.recording.book import Book
from greenup_runtime.recording.histogram import Latencies
from greenup_runtime.recording.keeper import Keeper
from greenup_runtime.recording.requests import Served
from greenup_runtime.sampling import Sampler
from greenup_runtime.settings import RecordSettings
from greenup_runtime.spool import Spool
from greenup_runtime.store import Store
from greenup_runtime.trial import MeterFacts

IDLE_W, ACTIVE_W = 2.0, 3.0
Row = dict[str, Any]


class PowerMeter:
    """Watts of the simulated machine: the mean since the last reading, as a sensor with averaging gives."""

    def __init__(self, clock: FakeClock, update_s: float = 0.01) -> None:
        self._counter = FakeMeter(clock, IDLE_W, ACTIVE_W)
        self._clock = clock
        self._last = (clock.now(), 0.0)
        self.away = False
        self.facts = MeterFacts("p", "power", "board", "a test", update_s, simulated=True)

    def read(self) -> float:
        if self.away:
            raise MeterFault("the sensor is gone")
        before, self._last = self._last, (self._clock.now(), self._counter.read())
        passed_s = self._last[0] - before[0]
        return (self._last[1] - before[1]) / passed_s if passed_s > 0 else IDLE_W

    def close(self) -> None:
        """Nothing is held open."""


class Bench:
    """A book on a simulated machine, with a real spool."""

    def __init__(self, path: Path, meter: Callable[[FakeClock], Meter] | None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.meter = meter(self.clock) if meter else None
        self.path = path / "spool.sqlite"
        self.sampler = Sampler(self.meter, self.clock, lambda: self.meter)  # type: ignore[arg-type, return-value]
        self.sampler.__enter__()
        facts = self.meter.facts if self.meter else None
        keeper = Keeper(lambda: Spool(self.path, None, "board"))
        self.book = Book(
            RecordSettings(**settings), "board", self.sampler, facts, "no meter here", self.clock, keeper
        )
        self._number = 0

    def request(self, busy_s: float, windows: int = 1, variant: str = "int8") -> Served:
        began_s = self.clock.now()
        self.clock.work(busy_s)
        return self.span(began_s, self.clock.now(), windows, variant)

    def span(self, began_s: float, ended_s: float, windows: int = 1, variant: str = "int8") -> Served:
        self._number += 1
        return ("bundle", variant, began_s, ended_s, windows, self._number)

    def rows(self, kind: str | None = None) -> list[Row]:
        with Spool(self.path) as spool:
            return [row for row in spool.since(0, 10**6) if kind in (None, row["kind"])]


def counter(clock: FakeClock) -> Meter:
    return FakeMeter(clock, IDLE_W, ACTIVE_W)


def total_j(rows: list[Row]) -> tuple[float, float]:
    """Energy of records with idle and what is unassigned; and what the meter saw."""
    parts = sum(row["energy_j"] or 0.0 for row in rows) + sum(row.get("unassigned_j") or 0.0 for row in rows)
    return parts, sum(row.get("metered_j") or 0.0 for row in rows)


@pytest.mark.parametrize("meter", [counter, PowerMeter])
def test_records_and_idle_are_what_the_meter_saw(tmp_path: Path, meter: Callable[[FakeClock], Meter]) -> None:
    bench, random = Bench(tmp_path, meter), np.random.default_rng(1)
    served = 0
    for _ in range(300):
        batch = []
        for _ in range(int(random.integers(0, 12))):
            batch.append(bench.request(float(random.uniform(0.001, 0.09)), variant=str(random.choice(["a", "b"]))))
            bench.clock.sleep(float(random.uniform(0, 0.02)))
        served += len(batch)
        bench.book.turn(batch)
        bench.clock.sleep(0.05)
    bench.book.finish([])
    rows = bench.rows()
    requests = [row for row in rows if row["kind"] == "inference"]
    assert len(requests) == served == len({row["id"] for row in requests})
    assert all(
        row["energy_j"] > 0 and row["energy_low_j"] <= row["energy_j"] <= row["energy_high_j"] for row in requests
    )
    parts_j, metered_j = total_j(rows)
    assert parts_j == pytest.approx(metered_j, rel=1e-6)
    idle = [row for row in rows if row["kind"] == "idle"]
    low_j, high_j = sum(row["metered_low_j"] for row in idle), sum(row["metered_high_j"] for row in idle)
    assert low_j <= IDLE_W * bench.clock.now() + ACTIVE_W * bench.clock.cpu() <= high_j
    facts = bench.book.facts()
    assert facts["served_joules_total"] + facts["idle_joules_total"] == pytest.approx(parts_j, rel=1e-6)
    assert facts["served_joules_total"] == pytest.approx(sum(bench.book.joules().values()))
    assert facts["records_pending"] == 0


def test_a_request_across_an_edge_has_a_part_in_both_periods(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PowerMeter)
    quiet = bench.request(0.2)
    bench.clock.sleep(0.6)
    bench.book.turn([quiet])
    began_s = bench.clock.now()
    bench.clock.work(0.3)
    # The period ends while it runs: nobody knows of it yet.
    bench.book.turn([])
    bench.clock.work(0.5)
    bench.book.turn([bench.span(began_s, bench.clock.now(), windows=4)])
    bench.clock.sleep(1.0)
    bench.book.finish([])
    first, second = bench.rows("inference")
    assert first["energy_j"] == pytest.approx(0.2 * (IDLE_W + ACTIVE_W), rel=0.05)
    assert second["energy_j"] == pytest.approx(0.8 * (IDLE_W + ACTIVE_W), rel=0.05)
    assert (second["windows"], second["latency_s"], second["method"]) == (4, pytest.approx(0.8), "trace")
    assert [row["requests"] for row in bench.rows("idle")] == [2, 1]


def test_a_request_longer_than_what_is_held_back_has_a_reason_and_the_next_one_its_energy(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PowerMeter)
    bench.book.turn([bench.request(0.1)])
    for expected in ("none", "trace"):
        began_s = bench.clock.now()
        for _ in range(60):
            bench.clock.work(0.1)
            bench.book.turn([bench.request(1e-4)])
        bench.book.turn([bench.span(began_s, bench.clock.now(), variant="long")])
        for _ in range(2):
            bench.clock.sleep(20.0)
            bench.book.turn([])
        row = [row for row in bench.rows("inference") if row["variant"] == "long"][-1]
        if expected == "none":
            assert (row["energy_j"], row["method"]) == (None, "none")
            assert "settled before it ended" in row["reason"]
        else:
            assert row["energy_j"] is not None
    bench.book.finish([])
    rows = bench.rows()
    parts_j, metered_j = total_j(rows)
    assert parts_j == pytest.approx(metered_j, rel=1e-6)
    assert sum(row["unassigned_j"] for row in rows if row["kind"] == "idle") > 0


def test_requests_at_once_share_what_was_used(tmp_path: Path) -> None:
    bench = Bench(tmp_path, counter)
    bench.clock.sleep(0.2)
    bench.clock.work(0.4)
    bench.book.turn([bench.span(0.2, 0.5), bench.span(0.2, 0.6), bench.span(0.3, 0.6)])
    bench.clock.sleep(2.0)
    bench.book.finish([])
    energies = [row["energy_j"] for row in bench.rows("inference")]
    parts_j, metered_j = total_j(bench.rows())
    assert parts_j == pytest.approx(metered_j, rel=1e-6)
    assert energies[1] > energies[0]
    assert energies[1] > energies[2]


def test_without_a_meter_each_record_says_why(tmp_path: Path) -> None:
    bench = Bench(tmp_path, None)
    bench.book.turn([bench.request(0.01) for _ in range(3)])
    bench.book.finish([])
    rows = bench.rows()
    assert {(row["energy_j"], row["method"], row["reason"]) for row in rows} == {(None, "none", "no meter here")}
    assert [row["kind"] for row in rows] == ["inference"] * 3 + ["idle"]
    assert rows[-1]["unassigned_j"] is None
    joules = {name: told for name, told in bench.book.facts().items() if "joules" in name}
    assert (set(joules.values()), bench.book.joules()) == ({None}, {})


def test_a_meter_that_goes_and_returns_leaves_reasons_and_never_a_zero(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PowerMeter)
    assert isinstance(bench.meter, PowerMeter)
    for away in (False, True, True, True, False, False):
        bench.meter.away = away
        for _ in range(20):
            bench.book.turn([bench.request(0.06)])
            bench.clock.sleep(0.04)
    bench.book.finish([])
    rows = bench.rows("inference")
    assert len(rows) == 120
    gone = [row for row in rows if row["energy_j"] is None]
    assert 50 <= len(gone) <= 80
    assert all(row["reason"] and row["method"] == "none" for row in gone)
    assert all(row["energy_j"] is None or row["energy_j"] > 0.2 for row in rows)
    assert rows[0]["energy_j"] is not None
    assert rows[-1]["energy_j"] is not None
    parts_j, metered_j = total_j(bench.rows())
    assert parts_j == pytest.approx(metered_j, rel=1e-6)


def test_the_trace_stays_small_however_long_it_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PowerMeter)
    longest = 0
    for _ in range(120):
        bench.clock.sleep(1.0)
        bench.book.turn([bench.request(0.001)])
        longest = max(longest, len(bench.sampler.trace()))
    assert longest < 600


def test_an_idle_device_writes_one_record_a_minute(tmp_path: Path) -> None:
    bench = Bench(tmp_path, counter)
    for _ in range(600):
        bench.clock.sleep(1.0)
        bench.book.turn([])
    bench.book.finish([])
    rows = bench.rows()
    assert len(rows) == 10
    assert all(row["energy_j"] == pytest.approx(IDLE_W * row["period_s"], rel=1e-3) for row in rows)


@pytest.mark.parametrize("meter", [counter, PowerMeter])
def test_a_long_pause_ends_shortly_before_the_next_request(
    tmp_path: Path, meter: Callable[[FakeClock], Meter]
) -> None:
    bench = Bench(tmp_path, meter)
    for _ in range(300):
        bench.clock.sleep(0.1)
        bench.book.turn([])
    bench.book.turn([bench.request(0.02)])
    bench.clock.sleep(3.0)
    bench.book.finish([])
    pause, busy, *_ = bench.rows("idle")
    assert (pause["requests"], busy["requests"]) == (0, 1)
    assert 25 <= pause["period_s"] < 30
    assert busy["period_s"] < 7
    (row,) = bench.rows("inference")
    assert row["energy_j"] == pytest.approx(0.02 * (IDLE_W + ACTIVE_W), rel=0.5)
    parts_j, metered_j = total_j(bench.rows())
    assert parts_j == pytest.approx(metered_j, rel=1e-6)


def test_every_nth_record_stands_for_n(tmp_path: Path) -> None:
    bench = Bench(tmp_path, counter, mode="every", every=10)
    bench.book.turn([bench.request(0.001) for _ in range(95)])
    bench.book.finish([])
    rows = bench.rows("inference")
    assert [row["stands_for"] for row in rows] == [10] * 9
    assert rows[0]["energy_j"] == pytest.approx(0.001 * (IDLE_W + ACTIVE_W), rel=0.02)


def test_a_minute_in_one_record(tmp_path: Path) -> None:
    bench, random = Bench(tmp_path, counter, mode="minute"), np.random.default_rng(2)
    latencies = random.lognormal(-6, 0.5, 4000)
    for part in np.split(latencies, 40):
        bench.book.turn([bench.request(float(latency_s), windows=2) for latency_s in part])
        bench.clock.sleep(2.0)
    bench.book.finish([])
    rows = bench.rows("aggregate")
    assert 2 <= len(rows) <= 3
    assert sum(row["stands_for"] for row in rows) == sum(row["energy_count"] for row in rows) == 4000
    assert sum(row["windows"] for row in rows) == 8000
    assert sum(row["latency_sum_s"] for row in rows) == pytest.approx(float(latencies.sum()))
    assert all(row["latency_p50_s"] <= row["latency_p99_s"] <= row["latency_max_s"] for row in rows)
    parts_j, metered_j = total_j(bench.rows())
    assert parts_j == pytest.approx(metered_j, rel=1e-6)


def test_percentiles_are_known_to_one_percent() -> None:
    values = np.random.default_rng(3).lognormal(-7, 1, 20_000)
    latencies = Latencies()
    for part in np.split(values, 10):
        latencies.add(part)
    for share in (0.01, 0.5, 0.99, 1.0):
        expected = float(np.quantile(values, share, method="inverted_cdf"))
        assert latencies.quantile(share) == pytest.approx(expected, rel=0.0101)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def recorder(store: Store, **settings: Any) -> recording.LiveRecorder:
    clock = SystemClock()
    chosen = Chosen(FakeMeter(clock, IDLE_W, ACTIVE_W), ())
    return recording.LiveRecorder(RecordSettings(**{"period_s": 0.05, **settings}), store, chosen, clock)


def test_threads_that_serve_at_once_lose_no_record_and_no_joule(store: Store) -> None:
    live = recorder(store)
    ids: list[str] = []

    def serve() -> None:
        for _ in range(400):
            began_s = time.perf_counter()
            sum(range(200))
            ids.append(live.served("bundle", "int8", began_s, time.perf_counter(), 1).id)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live.close()
    with store.spool() as spool:
        rows = spool.since(0, 10**6)
    assert {row["id"] for row in rows if row["kind"] == "inference"} == set(ids)
    parts_j, metered_j = total_j(rows)
    assert parts_j == pytest.approx(metered_j, rel=1e-6)
    facts = live.facts()
    assert (facts["records_lost_total"], facts["records_pending"], facts["records_queued"]) == (0, 0, 0)
    assert (facts["meter_state"], facts["meter_simulated"]) == ("ok", True)


def test_a_recorder_that_cannot_keep_up_counts_what_it_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording.live, "MAX_QUEUED", 100)
    monkeypatch.setattr(recording.live, "_TURN_S", 60.0)
    live = recorder(store)
    for _ in range(150):
        now_s = time.perf_counter()
        live.served("bundle", "int8", now_s - 1e-4, now_s, 1)
    live.close()
    assert live.facts()["records_lost_total"] == 50
    with store.spool() as spool:
        rows = spool.since(0)
    assert len([row for row in rows if row["kind"] == "inference"]) == 100
    (lost,) = [row for row in rows if row["kind"] == "lost"]
    assert (lost["count"], lost["reason"]) == (50, "the recorder could not keep up")


def test_no_record_is_left_behind_at_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, counter)
    bench.book.turn([bench.request(0.1)])
    now_s = bench.clock.now()
    bench.book.turn([bench.span(now_s - 0.05, now_s + 9.0), bench.span(now_s + 8.0, now_s + 9.0)])
    bench.clock.sleep(0.5)
    bench.book.finish([])
    rows = bench.rows("inference")
    assert [row["energy_j"] is not None for row in sorted(rows, key=lambda row: int(row["id"].split("-")[1]))] == [
        *(True, False, False)
    ]
    assert {row["reason"] for row in rows if row["energy_j"] is None} > {"the recorder was closed before it ended"}
    parts_j, metered_j = total_j(bench.rows())
    assert parts_j == pytest.approx(metered_j, rel=1e-6)


def test_a_receipt_names_the_record_to_come(store: Store) -> None:
    live = recorder(store)
    receipt = live.served("bundle", "int8", time.perf_counter() - 0.001, time.perf_counter(), 1)
    live.close()
    assert (receipt.method, receipt.energy_j) == ("pending", None)
    with store.spool() as spool:
        (row,) = [row for row in spool.since(0) if row["kind"] == "inference"]
    assert row["id"] == receipt.id
    assert row["device"] == store.device_id


def test_a_long_request_that_ran_alone_knows_its_energy_at_once(store: Store) -> None:
    live = recorder(store)
    receipts = []
    for seconds in (0.02, 0.04, 0.04):
        began_s = live.began()
        while time.perf_counter() - began_s < seconds:
            sum(range(500))
        receipts.append(live.served("bundle", "int8", began_s, time.perf_counter(), 1))
    first, other = live.began(), live.began()
    shared = [live.served("bundle", "int8", began_s, time.perf_counter(), 1) for began_s in (first, other)]
    live.began()
    live.gave_up()
    live.close()
    # Only after the first one it is known that requests are long here.
    assert [receipt.method for receipt in receipts] == ["pending", "counter", "counter"]
    assert [receipt.method for receipt in shared] == ["pending", "pending"]
    with store.spool() as spool:
        rows = {row["id"]: row for row in spool.since(0)}
    for receipt in receipts[1:]:
        row = rows[receipt.id]
        assert receipt.energy_j is not None
        assert row["energy_j"] == pytest.approx(receipt.energy_j, rel=0.2)


def test_recording_can_be_off_or_without_a_meter(store: Store) -> None:
    assert isinstance(recording.open_recorder(RecordSettings(mode="off"), store), NoRecorder)
    bare = recording.open_recorder(RecordSettings(meter="none"), store)
    receipt = bare.served("bundle", "int8", 0.0, 0.1, 1)
    bare.close()
    assert (receipt.method, receipt.reason) == ("none", "no meter: none was asked for")


def test_a_named_meter_that_is_not_there_is_a_fault_at_the_start(store: Store) -> None:
    with pytest.raises(MeterFault, match="there is no meter 'ina9'"):
        recording.open_recorder(RecordSettings(meter="ina9"), store)
