"""Time contenders side by side: one interleaved trial, and the rows that come out of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from contenders import Contender, Failure, usable

from greenup.gpsup import Comparison, compare
from greenup.intervals import wilson
from greenup.loop import Progress
from greenup.result import Interval
from greenup_runtime import meters
from greenup_runtime.bundle import BASELINE
from greenup_runtime.clock import SystemClock
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen, MeterOptions
from greenup_runtime.trial import Trial
from greenup_runtime.trials import conditions

SPEED_ONLY = Chosen(None, ("speed only",))


def run_conditions() -> dict[str, Any]:
    """What stands beside the figures of this run; a negative `nice` means that other work was put aside."""
    return {**conditions(Path("/")), "nice": os.nice(0)}


def timed(
    field: Mapping[str, Contender | Failure], report: Progress, chosen: Chosen = SPEED_ONLY, quick: bool = False
) -> Trial:
    """One trial of all contenders that could be made: one burst of each in every round, in random order."""
    calls = {label: each.call for label, each in usable(field).items()}
    plan = Plan(variants=tuple(calls), burst_s=0.2, warmup_s=2.0, pilot_rounds=8, max_rounds=20)
    if quick:
        plan = Plan(variants=tuple(calls), burst_s=0.05, warmup_s=0.5, pilot_rounds=4, max_rounds=4)
    facts = {"bundle": "none", "device_id": "here"}
    return run_trial(plan, calls, chosen, SystemClock(), lambda *step: report("time", *step), facts)


def real_meter(order: tuple[str, ...]) -> Chosen:
    """The first meter that measures; an estimate is none, since Greenup would only repeat Speedup."""
    names = [name for name in order if name != "estimate"]
    return meters.choose("auto", names, MeterOptions())


def rows(
    field: Mapping[str, Contender | Failure], trial: Trial, over: tuple[str, ...] = (BASELINE,)
) -> list[dict[str, Any]]:
    """One row per contender: time, ratios to each of `over` from the same rounds, and test accuracy.

    `right` holds a digit per test case, so that variants can be compared case by case later.
    """
    compared = {base: compare(trial, base) for base in over if base in trial.variants}
    return [
        {"contender": label, "failed": each.reason}
        if isinstance(each, Failure)
        else _row(label, each, trial, compared)
        for label, each in field.items()
    ]


def _row(
    label: str, each: Contender, trial: Trial, compared: Mapping[str, Mapping[str, Comparison]]
) -> dict[str, Any]:
    own = compared[BASELINE][label]
    return {
        "contender": label,
        "variant": each.variant,
        "latency_s": plain(own.latency_s),
        "speedup": plain(own.speedup),
        "over": {base: plain(found[label].speedup) for base, found in compared.items()},
        "greenup": plain(own.greenup),
        "greenup_missing": None if own.greenup else own.reason,
        "test_accuracy": plain(wilson(int(each.right.sum()), len(each.right))),
        "right": "".join(map(str, np.asarray(each.right, dtype=int))),
        "rounds": trial.rounds,
    }


def plain(figure: Interval | None) -> dict[str, float] | None:
    """As a JSON object."""
    return asdict(figure) if figure else None
