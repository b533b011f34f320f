"""GPS-UP from raw bursts: ratios, intervals, categories, and what is withheld and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from greenup.gpsup import CATEGORIES, NO_CHANGE, categorize, compare, point_ratios
from greenup.intervals import median_interval, ratio_interval, t_interval, wilson
from greenup.result import Interval
from greenup_runtime.errors import DataFault, UsageFault
from greenup_runtime.trial import Burst, MeterFacts, Trial

COUNTER = MeterFacts("rapl", "counter", "package", "RAPL, 1 package zone", 1e-3)
POWER = MeterFacts("ina", "power", "board", "INA226 at 0x40", 0.01)
ESTIMATE = replace(COUNTER, name="estimate", scope="process", source="CPU time × 2.5 W", estimated=True)
IDLE_W = 2.0


def make_trial(
    time_s: Mapping[str, float],
    power_w: Mapping[str, float],
    meter: MeterFacts | None = COUNTER,
    rounds: int = 10,
    noise: float = 0.004,
    seed: int = 0,
    inferences: int = 20,
    drift: float = 0.0,
) -> Trial:
    """A trial of the given times and powers; noise is the standard deviation of a burst's log time and power."""
    rng = np.random.default_rng(seed)
    bursts, samples, joules, now_s = [], [(0.0, 0.0)], 0.0, 1000.0
    for index in range(rounds):
        slower = math.exp(drift * index)
        for name in rng.permutation([*time_s, "idle"]).tolist():
            each_s = time_s.get(name, next(iter(time_s.values()))) * slower
            latency_s = each_s * np.exp(rng.normal(0, 0.02, inferences) + rng.normal(0, noise))
            end_s = now_s + float(latency_s.sum())
            watts = power_w.get(name, IDLE_W) * math.exp(rng.normal(0, noise))
            if meter is not None and meter.kind == "power":
                samples += [(float(at), watts) for at in np.linspace(now_s, end_s, 12)]
            elif meter is not None:
                samples.append((now_s, joules))
                joules += watts * (end_s - now_s)
                samples.append((end_s, joules))
            taken = latency_s if name != "idle" else np.empty(0)
            bursts.append(Burst(index, None if name == "idle" else name, now_s, end_s, end_s - now_s, taken))
            now_s = end_s + 0.01
    return Trial(
        id="5b1e0c77a90d4f22",
        bundle="ab" * 32,
        device_id="board-1",
        started_at="2025-03-01T10:00:00+00:00",
        variants=tuple(time_s),
        bursts=tuple(bursts),
        meter=meter,
        meter_reason=None if meter else "rapl: no powercap zone",
        trace=np.array(samples[1:]).reshape(-1, 2),
        facts={"governor": "performance"},
    )


def edit(trial: Trial, chosen: Mapping[str, Any], variant: str | None, rounds: range) -> Trial:
    """The trial with fields of one variant's bursts changed in some rounds."""
    bursts = [
        replace(burst, **chosen) if burst.variant == variant and burst.round in rounds else burst
        for burst in trial.bursts
    ]
    return replace(trial, bursts=tuple(bursts))


def around(value: float, share: float = 0.05) -> Interval:
    return Interval(value, value / (1 + share), value * (1 + share))


@pytest.mark.parametrize(("t1", "e1", "expected", "number"), [(25, 10e3, (4, 2, 2), 3), (50, 5e3, (2, 4, 0.5), 1)])
def test_worked_example_of_the_article(t1: float, e1: float, expected: tuple[float, ...], number: int) -> None:
    ratios = point_ratios(100, 20e3, t1, e1)
    assert ratios == pytest.approx(expected)
    assert categorize(*(around(value) for value in ratios))[0] == number


def test_a_ratio_of_nothing_is_refused() -> None:
    with pytest.raises(DataFault, match="above zero"):
        point_ratios(1, 1, 1, 0)


@pytest.mark.parametrize(
    ("number", "speedup", "powerup"),
    [(1, 2, 0.5), (2, 2, 1), (3, 2, 1.5), (4, 0.5, 0.25), (5, 2, 3), (6, 0.5, 0.75), (7, 0.5, 1), (8, 0.5, 2)],
)
def test_every_category(number: int, speedup: float, powerup: float) -> None:
    found, verdict = categorize(around(speedup), around(speedup / powerup), around(powerup))
    assert found == number
    assert verdict == f"category {number}, {CATEGORIES[number].colour}: {CATEGORIES[number].meaning}"
    assert CATEGORIES[number].colour == ("green" if speedup / powerup > 1 else "red")


def test_no_significant_change_even_where_time_changed() -> None:
    assert categorize(around(2), around(1.01), around(1.98)) == (None, NO_CHANGE)


@pytest.mark.parametrize(("greenup", "word"), [(1.4, "saves"), (0.7, "wastes")])
def test_power_only(greenup: float, word: str) -> None:
    number, verdict = categorize(around(1), around(greenup), around(1 / greenup))
    assert number is None
    assert verdict == f"power only: same time, {word} energy"


@pytest.mark.parametrize(("speedup", "greenup", "number"), [(0.9, 1.1, 4), (1.1, 0.9, 5)])
def test_a_wide_powerup_does_not_contradict_the_other_two(speedup: float, greenup: float, number: int) -> None:
    powerup = Interval(speedup / greenup, 0.5, 2)
    assert categorize(around(speedup), around(greenup), powerup)[0] == number


@pytest.mark.parametrize("meter", [COUNTER, POWER])
def test_compare_recovers_the_truth(meter: MeterFacts) -> None:
    trial = make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 7.5}, meter, noise=0.002)
    found = compare(trial)["int8"]
    assert found.speedup is not None
    assert found.greenup is not None
    assert found.powerup is not None
    assert found.energy is not None
    assert found.speedup.value == pytest.approx(2, rel=0.02)
    assert found.greenup.value == pytest.approx(4 / 3, rel=0.02)
    assert found.powerup.value == pytest.approx(1.5, rel=0.02)
    assert found.powerup.value == pytest.approx(found.speedup.value / found.greenup.value)
    assert found.energy.gross.value == pytest.approx(7.5e-3, rel=0.02)
    assert found.energy.net is not None
    assert found.energy.net.value == pytest.approx(5.5e-3, rel=0.03)
    assert (found.energy.source, found.energy.scope) == (meter.source, meter.scope)
    assert (found.category, found.reason) == (3, None)


def test_latency_is_the_median_of_burst_medians() -> None:
    trial = make_trial({"fp32": 2e-3, "int8": 1e-3}, {}, None, rounds=9)
    medians = [float(np.median(burst.latency_s)) for burst in trial.bursts if burst.variant == "int8"]
    found = compare(trial)["int8"].latency_s
    assert found == Interval(float(np.median(medians)), sorted(medians)[1], sorted(medians)[7])


def test_the_baseline_has_no_ratios() -> None:
    found = compare(make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 5.0}))["fp32"]
    assert (found.speedup, found.greenup, found.powerup, found.category) == (None, None, None, None)
    assert (found.verdict, found.reason) == ("baseline", "the baseline itself")


def test_an_estimate_gives_speedup_but_no_greenup() -> None:
    trial = make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 5.0}, ESTIMATE)
    found = compare(trial)["int8"]
    assert found.energy is not None
    assert found.energy.estimated
    assert found.speedup is not None
    assert (found.greenup, found.powerup, found.category) == (None, None, None)
    assert (found.reason, found.verdict) == ("needs a meter", "—, needs a meter")


def test_no_meter_says_why() -> None:
    found = compare(make_trial({"fp32": 2e-3, "int8": 1e-3}, {}, None))
    assert found["int8"].energy is None
    assert found["int8"].speedup is not None
    assert (found["int8"].reason, found["int8"].verdict) == ("rapl: no powercap zone", "—, needs a meter")
    assert found["fp32"].reason == "the baseline itself; no energy: rapl: no powercap zone"


def test_simulated_energy_is_marked() -> None:
    meter = replace(COUNTER, simulated=True)
    found = compare(make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 4.0}, meter))["int8"]
    assert found.energy is not None
    assert found.energy.simulated
    assert found.verdict.endswith("(simulated)")


def test_discarded_bursts_drop_their_round() -> None:
    times = {"fp32": 2e-3, "int8": 1e-3}
    trial = make_trial(times, {"fp32": 5.0, "int8": 5.0}, rounds=8)
    spoilt = edit(trial, {"latency_s": np.full(20, 1.0), "discarded": "throttled"}, "int8", range(3))
    kept = [burst for burst in trial.bursts if burst.round >= 3]
    found, expected = compare(spoilt)["int8"], compare(replace(trial, bursts=tuple(kept)))["int8"]
    assert (found.speedup, found.greenup, found.energy) == (expected.speedup, expected.greenup, expected.energy)
    few = compare(edit(trial, {"discarded": "throttled"}, "fp32", range(6)))["int8"]
    assert (few.speedup, few.greenup, few.verdict) == (None, None, "—, too few rounds")
    assert few.reason == "2 rounds hold valid bursts of both, 3 are needed"


def test_a_failed_reading_drops_the_round_from_energy_only() -> None:
    trial = make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 5.0}, rounds=8)
    found = compare(edit(trial, {"meter_fault": "read timed out"}, "int8", range(4)))["int8"]
    assert found.speedup == compare(trial)["int8"].speedup
    assert found.greenup is not None
    assert found.greenup != compare(trial)["int8"].greenup
    few = compare(edit(trial, {"meter_fault": "read timed out"}, "int8", range(6)))["int8"]
    assert few.speedup is not None
    assert few.greenup is None
    assert few.reason == "energy of both in 2 of 8 rounds: read timed out"


def test_a_counter_that_stands_still_gives_no_greenup() -> None:
    found = compare(make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 0.0}))["int8"]
    assert (found.greenup, found.verdict) == (None, "—, meter too coarse")


def test_net_energy_is_withheld_where_it_reaches_zero() -> None:
    powers = {"fp32": 5.0, "int8": IDLE_W, "pruned": 6.0}
    trial = make_trial({"fp32": 2e-3, "int8": 1e-3, "pruned": 1e-3}, powers)
    found = {name: each.energy for name, each in compare(trial).items()}
    assert found["int8"] is not None
    assert found["pruned"] is not None
    assert found["int8"].net is None
    assert found["pruned"].net is not None
    by_idle_baseline = compare(trial, baseline="int8")["pruned"].energy
    assert by_idle_baseline is not None
    assert by_idle_baseline.net is None


def test_a_coarse_meter_widens_energy_but_not_time() -> None:
    trial = make_trial({"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 5.0}, POWER)
    coarse = replace(trial, meter=replace(POWER, resolution=0.5))
    fine, wide = compare(trial)["int8"], compare(coarse)["int8"]
    assert wide.speedup == fine.speedup
    assert fine.greenup is not None
    assert wide.greenup is not None
    extra = math.log(wide.greenup.high / fine.greenup.high)
    assert extra == pytest.approx(0.25 / 5 + 0.25 / 5, rel=0.05)


def test_without_spread_the_interval_is_a_point() -> None:
    assert t_interval([0.5] * 4) == Interval(0.5, 0.5, 0.5)
    assert ratio_interval([0.0] * 3) == Interval(1, 1, 1)
    assert t_interval([1, 2]) is None


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(UsageFault, match="no variant 'fp16'"):
        compare(make_trial({"fp32": 1e-3}, {"fp32": 5.0}), baseline="fp16")


def test_wilson_agrees_with_scipy() -> None:
    for right, n in [(0, 20), (7, 20), (20, 20), (93, 100)]:
        found = wilson(right, n)
        expected = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert (found.value, found.n) == (right / n, n)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert found.low <= found.value <= found.high
    with pytest.raises(DataFault, match="no cases"):
        wilson(0, 0)


def test_median_interval_of_few_and_many_values() -> None:
    assert median_interval([1.0, 2.0]) is None
    assert median_interval([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) == Interval(3.5, 1.0, 6.0)
    few = median_interval([1.0, 1.1, 1.3])
    assert few is not None
    assert few.low < 1.0 < 1.3 < few.high
    for n in range(6, 60):
        found = median_interval([float(value) for value in range(1, n + 1)])
        assert found is not None
        assert stats.binom.cdf(found.low - 1, n, 0.5) <= 0.025 < stats.binom.cdf(found.low, n, 0.5)


TRIALS = 300
# Holds with a probability of more than 0.9998 if each interval covers with exactly 95 %.
FEWEST, MOST = stats.binom.ppf([1e-4, 1 - 1e-4], TRIALS, 0.95)


def test_coverage_under_drift() -> None:
    held = {"speedup": 0, "greenup": 0, "powerup": 0}
    for seed in range(TRIALS):
        trial = make_trial(
            {"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 6.0}, seed=seed, noise=0.01, rounds=8, drift=0.01
        )
        found = compare(trial)["int8"]
        for name, truth in {"speedup": 2.0, "greenup": 10 / 6, "powerup": 1.2}.items():
            held[name] += getattr(found, name).holds(truth)
    assert all(FEWEST <= count <= MOST for count in held.values()), held


def test_two_equal_variants_rarely_look_different() -> None:
    verdicts = []
    for seed in range(TRIALS):
        trial = make_trial({"fp32": 2e-3, "copy": 2e-3}, {"fp32": 5.0, "copy": 5.0}, seed=seed, noise=0.01)
        verdicts.append(compare(trial)["copy"].verdict)
    assert FEWEST <= verdicts.count(NO_CHANGE) <= MOST
