"""How a meter is read beside the work: deadlines, stale values, losses and returns, ticks; windows with gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenup_runtime.clock import FakeClock
from greenup_runtime.energy import window_energy
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import StaleReading
from greenup_runtime.sampling import Sampler
from greenup_runtime.student import t95
from greenup_runtime.trial import MeterFacts

POWER = MeterFacts("p", "power", "board", "a test", update_s=0.1)
COUNTER = MeterFacts("c", "counter", "package", "a test", update_s=0.001)


class ScriptedMeter:
    """Shows what a function of time says; a fault that it returns is raised."""

    def __init__(self, facts: MeterFacts, clock: FakeClock, script) -> None:  # type: ignore[no-untyped-def]
        self.facts = facts
        self._clock = clock
        self._script = script
        self.closed = False

    def read(self) -> float:
        value = self._script(self._clock.now())
        if isinstance(value, Exception):
            raise value
        return float(value)

    def close(self) -> None:
        self.closed = True


def test_power_is_read_at_its_own_rate_without_drift() -> None:
    clock = FakeClock()
    with Sampler(ScriptedMeter(POWER, clock, lambda now: 3.0), clock) as sampler:
        for _ in range(1000):
            clock.work(0.0337)
    times = sampler.trace()[:, 0]
    assert times == pytest.approx(np.arange(len(times)) * 0.1)
    assert len(times) in (337, 338)


def test_what_the_sensor_has_not_renewed_is_skipped_and_counted() -> None:
    clock = FakeClock()
    script = lambda now: StaleReading("nothing new") if round(now * 10) % 4 == 3 else 3.0  # noqa: E731
    with Sampler(ScriptedMeter(POWER, clock, script), clock) as sampler:
        clock.sleep(10.0)
    assert sampler.facts()["stale"] == 25
    assert len(sampler.trace()) == 76
    assert window_energy(sampler.trace(), POWER, 1.0, 9.0).energy_j == pytest.approx(24.0)


def test_a_meter_that_went_away_and_came_back_costs_coverage_not_the_burst() -> None:
    clock = FakeClock()
    gone = lambda now: MeterFault("unplugged") if 2.95 < now < 4.55 else 3.0  # noqa: E731
    with Sampler(ScriptedMeter(POWER, clock, gone), clock) as sampler:
        clock.sleep(10.0)
    facts = sampler.facts()
    assert facts["faults"] == {"unplugged": 16}
    assert facts["gaps_s"] == [pytest.approx(1.6)]
    window = window_energy(sampler.trace(), POWER, 0.5, 9.5)
    assert window.energy_j == pytest.approx(27.0)
    assert window.coverage == pytest.approx(1 - 1.6 / 8.9, abs=0.02)
    none = window_energy(sampler.trace(), POWER, 2.5, 5.0, steady=False)
    assert none.energy_j is None
    assert "% of the window" in str(none.reason)


def test_a_counter_that_was_opened_again_is_not_differenced_across_the_gap() -> None:
    clock = FakeClock()
    first = ScriptedMeter(COUNTER, clock, lambda now: MeterFault("gone") if now > 3 else 2 * now)
    second = ScriptedMeter(COUNTER, clock, lambda now: 2 * (now - 5))
    with Sampler(first, clock, reopen=lambda: second) as sampler:
        edges = []
        for _ in range(12):
            edges.append((sampler.begin(), clock.sleep(1.0), sampler.end(idle=True)))
    assert first.closed
    windows = []
    for (start_s, fault), _, (end_s, end_fault) in edges:
        if fault is None and end_fault is None:
            windows.append(window_energy(sampler.trace(), COUNTER, start_s, end_s))
    assert any(window.reason == "the meter went away within the window" for window in windows) or len(windows) < 12
    assert all(
        window.energy_j == pytest.approx(2.0, rel=0.02) for window in windows if window.energy_j is not None
    )
    assert sum(window.energy_j is not None for window in windows) >= 6


def test_a_counter_is_read_at_its_ticks() -> None:
    clock = FakeClock()
    ticking = ScriptedMeter(COUNTER, clock, lambda now: 5 * math.floor(now / 0.001) * 0.001)
    errors = []
    with Sampler(ticking, clock) as sampler:
        for turn in range(50):
            clock.sleep(0.01 + 0.00037 * turn)
            start_s, _ = sampler.begin()
            clock.work(0.02)
            end_s, _ = sampler.end(idle=False)
            errors.append(
                window_energy(sampler.trace(), COUNTER, start_s, end_s).energy_j / (5 * (end_s - start_s)) - 1
            )  # type: ignore[operator]
    # Unaligned, a tick at each edge would be 5 % of such a window.
    assert max(map(abs, errors)) < 0.005


def test_a_counter_is_read_before_it_can_wrap() -> None:
    clock = FakeClock()
    with Sampler(ScriptedMeter(COUNTER, clock, lambda now: now), clock) as sampler:
        clock.sleep(60.0)
    assert np.diff(sampler.trace()[:, 0]).max() <= 5.0


def test_the_interval_holds_steps_that_noise_does_not_show() -> None:
    coarse = MeterFacts("p", "power", "board", "a test", update_s=0.1, resolution=0.15)
    times = np.arange(0, 20, 0.1)
    window = window_energy(np.column_stack([times, np.full_like(times, 3.0)]), coarse, 2.0, 12.0)
    assert window.slack_j == pytest.approx(0.075 * 10)
    assert window.low_j is not None
    assert window.low_j <= 30 - 0.75
    noisy = np.column_stack([times, 3 + 0.3 * np.sin(9 * times)])
    assert window_energy(noisy, coarse, 2.0, 12.0).slack_j == 0


def test_a_reading_of_nothing_is_no_energy() -> None:
    times = np.arange(0, 20, 0.1)
    for value in (0.0, -0.4):
        window = window_energy(np.column_stack([times, np.full_like(times, value)]), POWER, 2.0, 12.0)
        assert window.energy_j is None
        assert "saw no energy" in str(window.reason)


def test_student_quantiles_agree_with_scipy() -> None:
    from scipy import stats

    for freedom in (1, 2, 3.5, 7, 10, 11, 25, 60, 500):
        assert t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.002 if freedom > 10 else 0.05)


value = st.one_of(st.floats(-1e3, 1e6), st.just(math.nan), st.floats(1e12, 1e300))


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(value, max_size=60),
    gaps=st.lists(st.floats(0.001, 5.0), min_size=60, max_size=60),
    start_s=st.floats(-1, 50),
    length_s=st.floats(-1, 50),
    kind=st.sampled_from([POWER, COUNTER]),
    steady=st.booleans(),
)
def test_no_trace_gives_an_energy_of_zero_or_less(
    values: list[float], gaps: list[float], start_s: float, length_s: float, kind: MeterFacts, steady: bool
) -> None:
    times = np.cumsum(gaps)[: len(values)]
    trace = np.column_stack([times, np.array(values)]) if values else np.empty((0, 2))
    window = window_energy(trace, kind, start_s, start_s + length_s, steady=steady)
    if window.energy_j is None:
        assert window.reason
    else:
        assert window.energy_j > 0
        assert window.low_j is not None
        assert window.high_j is not None
        assert 0 <= window.low_j <= window.energy_j <= window.high_j


STEP_W = 0.15


@pytest.mark.parametrize(
    ("count", "upper", "expected"),
    [
        (100, 0.1, (0.1 + 0.5) / 2),  # two steps only: half-way from the mean to their border
        (100, 0.5, 0.5),
        (100, 0.0, 0.0),
        (20, 0.1, 0.1),  # so few readings do not show a third step even where noise fills one
    ],
)
def test_two_neighbouring_steps_are_weighed_by_what_they_can_mean(
    count: int, upper: float, expected: float
) -> None:
    steps = 20 + (np.arange(count) < upper * count)
    trace = np.column_stack([np.arange(count) / 10, steps * STEP_W])
    meter = MeterFacts("ina", "power", "board", "a test", update_s=0.1, resolution=STEP_W)
    window = window_energy(trace, meter, -0.2, count / 10)
    mean = window.energy_j / STEP_W / (count / 10 + 0.2) - 20 if window.energy_j else 0
    assert mean == pytest.approx(expected, abs=0.03)
    assert window.slack_j == pytest.approx(STEP_W / 2 * (count / 10 + 0.2))


def test_samples_that_come_thinner_where_power_is_high_count_for_their_time() -> None:
    # 0.8 s at 2 W read every 10 ms, 0.2 s at 6 W read every 40 ms: what is busy keeps the sampler waiting.
    times = np.concatenate([np.arange(0.005, 0.8, 0.01), np.arange(0.82, 1.0, 0.04)])
    trace = np.column_stack([times, np.where(times < 0.8, 2.0, 6.0)])
    window = window_energy(trace, MeterFacts("ina", "power", "board", "a test", update_s=0.0), 0.0, 1.0)
    # A plain mean would be 2.2 J.
    assert window.energy_j == pytest.approx(0.8 * 2 + 0.2 * 6, rel=0.02)


def test_a_long_gap_gives_its_edges_no_more_than_a_part() -> None:
    times = np.concatenate([np.arange(0.005, 0.3, 0.01), np.arange(0.705, 1.0, 0.01)])
    values = np.full(times.size, 2.0)
    values[29] = 8.0
    meter = MeterFacts("ina", "power", "board", "a test", update_s=0.01)
    window = window_energy(np.column_stack([times, values]), meter, -0.01, 1.0)
    assert window.energy_j == pytest.approx(2.0 * 1.01 + 6.0 * 0.03 / 0.65, rel=0.01)


@pytest.mark.parametrize("age_s", [0.0, 0.01, 0.02])
@pytest.mark.parametrize("slope_w_per_s", [2.0, -2.0])
def test_the_interval_holds_what_the_age_of_readings_may_shift_on_a_ramp(
    age_s: float, slope_w_per_s: float
) -> None:
    meter = MeterFacts("ina", "power", "board", "a test", update_s=0.01, lag_s=0.01)
    times_s = np.arange(0.0, 3.0, 0.01)
    trace = np.stack([times_s, 8.0 + slope_w_per_s * (times_s - age_s)], axis=1)
    window = window_energy(trace, meter, 0.5, 2.5, steady=False)
    true_j = 2.0 * (8.0 + slope_w_per_s * 1.5)
    assert window.low_j is not None
    assert window.high_j is not None
    assert window.low_j <= true_j <= window.high_j
    assert window.high_j - window.low_j < 0.03 * true_j
