"""Trials on a clock that a test moves: rounds, energies and the number of rounds are known beforehand."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from greenup_runtime import records
from greenup_runtime import trial as trials
from greenup_runtime.clock import FakeClock, SystemClock
from greenup_runtime.energy import burst_energy, window_energy
from greenup_runtime.errors import IntegrityFault, MeterFault, UsageFault
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.meters.fake import FakeMeter
from greenup_runtime.trial import MeterFacts, Trial

IDLE_W, ACTIVE_W = 2.0, 3.0
LATENCY_S = {"fp32": 0.004, "pruned": 0.001}
FACTS = {"bundle": "b" * 64, "device_id": "d"}


def simulate(noise: float = 0.0, meter: object = "fake", **plan: object) -> Trial:
    clock = FakeClock()
    rng = random.Random(7)
    engines = {
        name: (lambda mean=mean: clock.work(mean * (1 + noise * rng.uniform(-1, 1))))
        for name, mean in LATENCY_S.items()
    }
    chosen = Chosen(FakeMeter(clock, IDLE_W, ACTIVE_W) if meter == "fake" else meter, ("none here",))  # type: ignore[arg-type]
    settings = {"burst_s": 0.1, "max_rounds": 30, **plan}
    return run_trial(
        Plan(variants=tuple(LATENCY_S), **settings),  # type: ignore[arg-type]
        engines,
        chosen,
        clock,
        lambda *_: None,
        FACTS,
    )


def test_every_round_has_each_variant_and_idle_once_in_changing_order() -> None:
    measured = simulate()
    orders = []
    for index in range(measured.rounds):
        names = [burst.variant for burst in measured.bursts if burst.round == index]
        assert Counter(names) == Counter(["fp32", "pruned", None])
        orders.append(tuple(names))
    assert len(set(orders)) > 1


def test_energy_of_a_burst_is_what_the_simulated_machine_used() -> None:
    measured = simulate()
    for burst in measured.bursts:
        expected = IDLE_W * burst.duration_s + ACTIVE_W * burst.cpu_s
        assert burst_energy(measured, burst).energy_j == pytest.approx(expected)


def test_idle_bursts_use_idle_power_only() -> None:
    measured = simulate()
    idle = [burst for burst in measured.bursts if burst.variant is None]
    for burst in idle:
        energy_j = burst_energy(measured, burst).energy_j
        assert energy_j == pytest.approx(IDLE_W * 0.1)
        assert burst.inferences == 0


def test_rounds_are_fixed_by_the_spread_of_the_pilot() -> None:
    assert simulate(noise=0.0, pilot_rounds=8).rounds == 8
    assert simulate(noise=0.9, pilot_rounds=8, precision=1e-4).rounds == 30


def test_no_more_rounds_than_asked_for() -> None:
    assert simulate(noise=0.9, pilot_rounds=8, max_rounds=3, precision=1e-4).rounds == 3


def test_latencies_are_those_of_the_inferences() -> None:
    for burst in simulate().bursts:
        if burst.variant:
            assert np.allclose(burst.latency_s, LATENCY_S[burst.variant])
            assert burst.inferences == pytest.approx(0.1 / LATENCY_S[burst.variant], abs=1)


def test_without_a_meter_there_is_time_and_a_reason_but_no_joule() -> None:
    measured = simulate(meter=None)
    assert measured.meter is None
    assert measured.meter_reason == "none here"
    window = burst_energy(measured, measured.bursts[0])
    assert window.energy_j is None
    assert window.reason == "none here"


class FailingMeter(FakeMeter):
    """Fails at its sixth reading, then works again; the third and fourth are an empty burst's."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self._reads = 0

    def read(self) -> float:
        self._reads += 1
        if self._reads == 6:
            raise MeterFault("the sensor went away")
        return super().read()


def test_a_failed_reading_costs_one_burst_its_energy_and_nothing_else() -> None:
    clock = FakeClock()
    measured = run_trial(
        Plan(variants=("fp32",), burst_s=0.1, warmup_s=0.0),
        {"fp32": lambda: clock.work(0.01)},
        Chosen(FailingMeter(clock), ()),
        clock,
        lambda *_: None,
        FACTS,
    )
    without = [burst for burst in measured.bursts if burst_energy(measured, burst).energy_j is None]
    assert [burst.meter_fault for burst in without] == ["the sensor went away"]


class SteadyPowerMeter:
    """5 W, read by the background sampler."""

    facts = MeterFacts("steady", "power", "board", "a test", update_s=0.01, simulated=True)

    def read(self) -> float:
        return 5.0

    def close(self) -> None:
        pass


def test_power_is_sampled_beside_the_bursts() -> None:
    clock = SystemClock()
    measured = run_trial(
        Plan(variants=("fp32",), max_burst_s=0.2, burst_s=0.1, warmup_s=0.0, pilot_rounds=3, max_rounds=3),
        {"fp32": lambda: clock.sleep(0.001)},
        Chosen(SteadyPowerMeter(), ()),
        clock,
        lambda *_: None,
        FACTS,
    )
    # A busy machine may hold the sampler up; such a burst has a reason instead.
    windows = [(burst_energy(measured, burst), burst.duration_s) for burst in measured.bursts]
    assert all(window.reason or window.energy_j == pytest.approx(5.0 * length) for window, length in windows)
    assert any(window.energy_j for window, _ in windows)


def test_a_trial_survives_its_folder(tmp_path: Path) -> None:
    measured = simulate(noise=0.2)
    trials.save(measured, tmp_path)
    loaded = trials.load(tmp_path)
    assert loaded.facts == measured.facts
    assert loaded.meter == measured.meter
    assert np.array_equal(loaded.trace, measured.trace)
    for before, after in zip(measured.bursts, loaded.bursts, strict=True):
        assert np.array_equal(before.latency_s, after.latency_s)
        assert (before.variant, before.start_s, before.end_s) == (after.variant, after.start_s, after.end_s)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trial.json", "cannot be read"),
        ("bursts.jsonl.gz", "bursts.* changed after"),
        ("raw.npz", "raw.* changed after"),
    ],
)
def test_a_trial_with_a_missing_or_damaged_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    trials.save(simulate(), tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(IntegrityFault, match=message):
        trials.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(IntegrityFault, match=f"lacks {name}"):
        trials.load(tmp_path)


def test_an_edited_trial_is_refused(tmp_path: Path) -> None:
    trials.save(simulate(), tmp_path)
    assert trials.load(tmp_path).meter is not None
    head = (tmp_path / "trial.json").read_text()
    (tmp_path / "trial.json").write_text(head.replace('"simulated": true', '"simulated": false'))
    with pytest.raises(IntegrityFault, match=r"trial\.json changed after the measurement"):
        trials.load(tmp_path)


def test_a_plan_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(UsageFault, match="burst_minutes"):
        Plan.from_json({"variants": ["fp32"], "burst_minutes": 3})


def test_a_window_that_the_trace_does_not_cover_has_no_energy() -> None:
    counter = MeterFacts("c", "counter", "board", "a test", update_s=0.1)
    trace = np.array([[0.0, 0.0], [1.0, 5.0]])
    assert window_energy(trace, counter, 0.2, 0.6).energy_j == pytest.approx(2.0)
    assert window_energy(trace, counter, 0.5, 1.5).energy_j is None
    assert window_energy(np.empty((0, 2)), counter, 0.0, 1.0).energy_j is None


def test_a_reading_counts_where_all_that_it_shows_is_inside() -> None:
    power = MeterFacts("p", "power", "board", "a test", update_s=0.5, lag_s=0.5)
    times = np.arange(0, 8, 0.5)
    trace = np.column_stack([times, np.where(times < 1.4, 2.0, 8.0)])
    # The readings at 0.5 and 1.0 show power of before the window, so the mean is that of the rest.
    assert window_energy(trace, power, 0.4, 6.1).energy_j == pytest.approx(8.0 * 5.7)
    window = window_energy(trace, power, 0.6, 3.6)
    assert (window.energy_j, window.reason) == (None, "4 samples wholly inside the window")


def test_records_stand_for_every_inference_and_share_out_the_energy() -> None:
    measured = simulate()
    rows = list(records.of_trial(measured))
    inferences = sum(burst.inferences for burst in measured.bursts)
    assert sum(row["stands_for"] for row in rows) == inferences
    metered_j = sum(burst_energy(measured, b).energy_j or 0 for b in measured.bursts if b.variant)
    assert sum(row["stands_for"] * row["energy_j"] for row in rows) == pytest.approx(metered_j)
    assert {row["method"] for row in rows} == {"apportioned"}
    assert all(row["simulated"] for row in rows)


def test_records_without_a_meter_carry_the_reason() -> None:
    rows = list(records.of_trial(simulate(meter=None)))
    assert {(row["energy_j"], row["method"], row["reason"]) for row in rows} == {(None, "none", "none here")}
