"""What a variant saves at the rate at which windows really come, idle included.

A board that idles at 3 W and classifies one window a minute takes 3 W with any model. Greenup, the ratio of
bursts, does not say so; joules per day at the served rate do.

    P(rate) = P_idle + rate × E_net
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from greenup.intervals import t_interval
from greenup.result import Interval, Paced
from greenup.rounds import Round, Rounds, idle_power, rounds_of
from greenup_runtime.trial import Trial

DAY_S = 86400.0
WORTH_SHARE = 0.01
_Watts = Callable[[Round], float]


def paced_figures(trial: Trial, baseline: str) -> dict[str, Paced]:
    """Each variant's figures at the plan's `pace_hz`; empty without a rate or without a real meter.

    Where no window of that rate was run (the period is too long), idle power and net energy are added up.
    """
    rate_hz = trial.facts.get("plan", {}).get("pace_hz")
    if not rate_hz or trial.meter is None or trial.meter.estimated:
        return {}
    idle = idle_power(trial)
    bursts = {name: rounds_of(trial, name, idle) for name in trial.variants}
    windows = {name: rounds_of(trial, name, idle, paced=True) for name in trial.variants}
    measured = all(windows.values())
    rounds = windows if measured else bursts
    idle_w = float(idle.power_w.mean()) if idle.power_w.size else math.nan

    def watts(each: Round) -> float:
        return each.power_w if measured else idle_w + rate_hz * each.net_j

    slack_w = {name: _slack_w(own, rate_hz, measured) for name, own in rounds.items()}
    found = {}
    for name, own in rounds.items():
        day_j = _scaled(t_interval(_finite(watts(each) for each in own.values()), slack_w[name]), DAY_S)
        if day_j is None:
            continue
        saving_j = None
        if name != baseline:
            saving_j = _saving_j(rounds[baseline], own, watts, slack_w[baseline] + slack_w[name])
        found[name] = Paced(
            rate_hz=rate_hz,
            energy_j=_per_inference(own, day_j, rate_hz, measured),
            day_j=day_j,
            saving_j=saving_j,
            breakeven_hz=None if name == baseline else _breakeven_hz(bursts[baseline], bursts[name], idle_w),
            measured=measured,
            verdict=_verdict(saving_j, day_j, baseline=name == baseline),
        )
    return found


def _saving_j(base: Rounds, own: Rounds, watts: _Watts, slack_w: float) -> Interval | None:
    """Joules per day saved, by round."""
    saved = _finite(watts(base[index]) - watts(own[index]) for index in base.keys() & own.keys())
    return _scaled(t_interval(saved, slack_w), DAY_S)


def _breakeven_hz(base: Rounds, own: Rounds, idle_w: float) -> float | None:
    """The rate from which the saving is worth it; None where the net energies do not differ by enough."""
    pairs = [(base[index].net_j, own[index].net_j) for index in base.keys() & own.keys()]
    saved = t_interval(_finite(zero - one for zero, one in pairs))
    if saved is None or saved.low <= 0 or not idle_w > 0:
        return None
    net_j = float(np.mean(_finite(zero for zero, _ in pairs)))
    beyond_j = saved.value - WORTH_SHARE * net_j
    return WORTH_SHARE * idle_w / beyond_j if beyond_j > 0 else None


def _verdict(saving_j: Interval | None, day_j: Interval, *, baseline: bool) -> str:
    if baseline:
        return "baseline"
    if saving_j is None:
        return "too few rounds"
    if saving_j.holds(0):
        return "not worth it: at this rate no saving is to be seen"
    share = saving_j.value / (day_j.value + saving_j.value)
    return f"{'saves' if share > 0 else 'wastes'} {100 * abs(share):.1f} % at this rate"


def _per_inference(own: Rounds, day_j: Interval, rate_hz: float, measured: bool) -> Interval:
    """By the inferences that ran; a variant that is too slow for the rate makes fewer."""
    per_day = DAY_S * rate_hz
    if measured:
        per_day = DAY_S / float(np.mean([each.time_s for each in own.values()]))
    return Interval(day_j.value / per_day, day_j.low / per_day, day_j.high / per_day)


def _slack_w(own: Mapping[int, Round], rate_hz: float, measured: bool) -> float:
    if not own:
        return 0.0
    if measured:
        return float(np.mean([each.slack_j / each.time_s for each in own.values()]))
    # Net energy holds two readings with steps: the burst's and idle's.
    return float(np.mean([2 * rate_hz * each.slack_j for each in own.values()]))


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _scaled(interval: Interval | None, factor: float) -> Interval | None:
    return interval and Interval(factor * interval.value, factor * interval.low, factor * interval.high)
