"""GPS-UP: what a variant costs against the baseline, in time, energy and power.

    Speedup = T0 / T1      Greenup = E0 / E1      Powerup = P1 / P0 = Speedup / Greenup      (P = E / T)

with 0 the baseline and 1 the variant (Abdulsalam, Zong, Gu, Qiu, IGSC 2015, DOI 10.1109/IGCC.2015.7393699).
In each round of a trial every variant ran once, so a round gives one paired ratio; the interval is Student's t
on their logarithms. `docs/gps-up.md` says why, and lists the categories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from greenup.intervals import MIN_VALUES, median_interval, ratio_interval, t_interval
from greenup.result import Energy, Interval
from greenup.rounds import Round, Rounds, idle_power, rounds_of
from greenup_runtime.energy import NO_ENERGY_SEEN, burst_energy
from greenup_runtime.errors import DataFault, UsageFault
from greenup_runtime.trial import MeterFacts, Trial

NEEDS_METER = "needs a meter"
NO_CHANGE = "no significant change"


class Category(NamedTuple):
    """One of the eight categories: `green` saves energy, `red` wastes it."""

    colour: str
    meaning: str


CATEGORIES = {
    1: Category("green", "faster at less power, saves energy"),
    2: Category("green", "faster at the same power, saves energy"),
    3: Category("green", "faster at more power, saves energy"),
    4: Category("green", "slower at less power, saves energy"),
    5: Category("red", "faster at more power, wastes energy"),
    6: Category("red", "slower at less power, wastes energy"),
    7: Category("red", "slower at the same power, wastes energy"),
    8: Category("red", "slower at more power, wastes energy"),
}


class Ratios(NamedTuple):
    """Speedup, Greenup and Powerup of one pair of runs."""

    speedup: float
    greenup: float
    powerup: float


@dataclass(frozen=True)
class Comparison:
    """One variant's figures per inference, and its ratios to the baseline.

    A ratio that cannot be stated is None, and `reason` says why. The baseline has no ratios.
    """

    latency_s: Interval | None
    energy: Energy | None
    speedup: Interval | None
    greenup: Interval | None
    powerup: Interval | None
    category: int | None
    verdict: str
    reason: str | None


_Pairs = Sequence[tuple[Round, Round]]


def point_ratios(t0: float, e0: float, t1: float, e1: float) -> Ratios:
    """The three ratios of a baseline (time, energy) and a variant. Raises DataFault unless all are positive."""
    if min(t0, e0, t1, e1) <= 0:
        raise DataFault("a ratio needs times and energies above zero", "measure longer bursts")
    return Ratios(t0 / t1, e0 / e1, (e1 / t1) / (e0 / t0))


def categorize(speedup: Interval, greenup: Interval, powerup: Interval) -> tuple[int | None, str]:
    """The category (1 to 8, or None) and a verdict in plain words; "=1" means that the interval holds 1.

    The sides of Speedup and Greenup come first. Where they differ, Powerup = Speedup / Greenup lies on a known
    side by its point estimate, and stays there even if its own, wider interval holds 1 (categories 4 and 5).
    """
    if greenup.holds(1):
        return None, NO_CHANGE
    saves = greenup.value > 1
    if speedup.holds(1):
        return None, f"power only: same time, {'saves' if saves else 'wastes'} energy"
    number = _number(speedup.value > 1, saves, powerup)
    return number, f"category {number}, {CATEGORIES[number].colour}: {CATEGORIES[number].meaning}"


def compare(trial: Trial, baseline: str = "fp32") -> dict[str, Comparison]:
    """Every variant of a trial against the baseline, in the trial's order.

    Only bursts that were not discarded count, and a ratio only rounds in which both bursts do. From a meter
    that estimates, no Greenup is stated: it would repeat Speedup. Raises UsageFault for an unknown baseline.
    """
    if baseline not in trial.variants:
        raise UsageFault(
            f"the trial has no variant {baseline!r} to compare with", f"it has {', '.join(trial.variants)}"
        )
    idle = idle_power(trial)
    rounds = {name: rounds_of(trial, name, idle) for name in trial.variants}
    base_energy = _energy(trial.meter, rounds[baseline], True)
    net = base_energy is not None and base_energy.net is not None
    return {
        name: _baseline(trial, own, base_energy)
        if name == baseline
        else _against(trial, rounds[baseline], own, net)
        for name, own in rounds.items()
    }


def _number(faster: bool, saves: bool, powerup: Interval) -> int:
    if faster != saves:
        return 5 if faster else 4
    side = 1 if powerup.holds(1) else 0 if powerup.value < 1 else 2
    return (1, 2, 3)[side] if faster else (6, 7, 8)[side]


def _energy(meter: MeterFacts | None, rounds: Rounds, net_allowed: bool) -> Energy | None:
    """Mean energy per inference over the rounds; no net energy where its interval reaches zero."""
    slack_j = float(np.mean([each.slack_j for each in rounds.values()])) if rounds else 0.0
    gross = t_interval([each.gross_j for each in rounds.values() if math.isfinite(each.gross_j)], slack_j)
    if meter is None or gross is None:
        return None
    # Idle power is read with the same steps, so net energy can be off by two of them.
    net = t_interval([each.net_j for each in rounds.values() if math.isfinite(each.net_j)], 2 * slack_j)
    shown = net if net_allowed and net is not None and net.low > 0 else None
    return Energy(gross, shown, meter.source, meter.scope, meter.estimated, meter.simulated)


def _baseline(trial: Trial, own: Rounds, energy: Energy | None) -> Comparison:
    reason = "the baseline itself"
    if energy is None:
        reason += f"; no energy: {trial.meter_reason or 'too few rounds have one'}"
    return Comparison(_latency(own), energy, None, None, None, None, "baseline", reason)


def _against(trial: Trial, base: Rounds, own: Rounds, net_allowed: bool) -> Comparison:
    pairs = [(base[index], own[index]) for index in sorted(base.keys() & own.keys())]
    energy = _energy(trial.meter, own, net_allowed)
    speedup = ratio_interval([math.log(zero.time_s / one.time_s) for zero, one in pairs])
    metered = [pair for pair in pairs if math.isfinite(pair[0].gross_j + pair[1].gross_j)]
    if withheld := _why_no_greenup(trial, pairs, metered):
        return Comparison(_latency(own), energy, speedup, None, None, None, *withheld)
    greenup, powerup = _energy_ratios(metered)
    assert speedup is not None
    assert greenup is not None
    assert powerup is not None
    category, verdict = categorize(speedup, greenup, powerup)
    simulated = trial.meter is not None and trial.meter.simulated
    verdict += " (simulated)" if simulated else ""
    return Comparison(_latency(own), energy, speedup, greenup, powerup, category, verdict, None)


def _latency(rounds: Rounds) -> Interval | None:
    return median_interval([each.latency_s for each in rounds.values()])


def _energy_ratios(metered: _Pairs) -> tuple[Interval | None, Interval | None]:
    """Greenup and Powerup over the rounds with both energies, widened by the meter's resolution.

    A step coarser than the noise gives the same wrong reading in every round, which no spread shows.
    """
    slack = float(np.mean([zero.slack_j / zero.gross_j + one.slack_j / one.gross_j for zero, one in metered]))
    ratios = [point_ratios(zero.time_s, zero.gross_j, one.time_s, one.gross_j) for zero, one in metered]
    greenup = ratio_interval([math.log(ratio.greenup) for ratio in ratios], slack)
    return greenup, ratio_interval([math.log(ratio.powerup) for ratio in ratios], slack)


def _why_no_greenup(trial: Trial, pairs: _Pairs, metered: _Pairs) -> tuple[str, str] | None:
    """Verdict and reason where no Greenup can be stated, else None."""
    few = f"{len(pairs)} rounds hold valid bursts of both, {MIN_VALUES} are needed"
    if trial.meter is None or trial.meter.estimated:
        reason = NEEDS_METER if trial.meter else trial.meter_reason or NEEDS_METER
        return f"—, {NEEDS_METER}", f"{reason}; {few}" if len(pairs) < MIN_VALUES else reason
    if len(pairs) < MIN_VALUES:
        return "—, too few rounds", few
    if not metered and _first_fault(trial) == f": {NO_ENERGY_SEEN}":
        return "—, meter too coarse", f"{NO_ENERGY_SEEN}: measure longer bursts"
    if len(metered) < MIN_VALUES:
        return "—, too few rounds", f"energy of both in {len(metered)} of {len(pairs)} rounds{_first_fault(trial)}"
    return None


def _first_fault(trial: Trial) -> str:
    faults = (burst_energy(trial, burst).reason for burst in trial.bursts)
    return next((f": {fault}" for fault in faults if fault), "")
