"""Compare variants of several trials, or against another baseline than the recipe's.

Within a trial a round pairs two variants. Across trials nothing pairs them, so the interval is Welch's on the
logarithms by round (Biometrika 34, 1947); what shifts one meter (shunt, gain, another sensor) does not cancel
there, and no interval shows it. So meters and scopes may differ only where that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from greenup import gpsup
from greenup.external import measured_as
from greenup.gpsup import NEEDS_METER, Comparison, categorize
from greenup.intervals import MIN_VALUES, welch_ratio
from greenup.result import Interval
from greenup.rounds import Round, idle_power, rounds_of
from greenup_runtime.errors import UsageFault
from greenup_runtime.trial import Trial

MIXED = "meters differ"


@dataclass(frozen=True)
class Row:
    """One variant of one trial against the baseline."""

    trial: str
    device: str
    variant: str
    comparison: Comparison


def compare_trials(trials: Sequence[Trial], baseline: str, *, mix_meters: bool = False) -> list[Row]:
    """Every variant of every trial against one variant of the first trial.

    Raises UsageFault for an unknown baseline, for one trial given twice, and where the meters differ and
    `mix_meters` is not set.
    """
    first = trials[0]
    _check_ids(trials)
    mixed = _check_meters(trials, mix_meters)
    rows = [Row(first.id, first.device_id, name, found) for name, found in gpsup.compare(first, baseline).items()]
    for trial in trials[1:]:
        own = gpsup.compare(trial, trial.variants[0])
        for name in trial.variants:
            found = _against(first, baseline, trial, name, own[name])
            rows.append(Row(trial.id, trial.device_id, name, _marked(found) if mixed else found))
    return rows


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as a program reads them."""
    return [
        {"trial": row.trial, "device": row.device, "variant": row.variant, **asdict(row.comparison)}
        for row in rows
    ]


def _check_ids(trials: Sequence[Trial]) -> None:
    """Raises UsageFault where a trial would be compared with itself: that is no second measurement.

    A copy with an external meter's energy has the rounds of the trial that it was made of.
    """
    for place, trial in enumerate(trials):
        if measured_as(trial) in {measured_as(other) for other in trials[:place]}:
            raise UsageFault(
                f"trial {measured_as(trial)} was given twice; its rounds are no second measurement",
                "name each trial once, with one meter's record; one trial alone is compared within itself",
            )


def _check_meters(trials: Sequence[Trial], mix_meters: bool) -> bool:
    """Whether meters or scopes differ. Raises UsageFault where they do and may not."""
    kinds = {_kind(trial): trial for trial in trials}
    if len(kinds) > 1 and not mix_meters:
        said = "; ".join(f"{_said(trial)} in {trial.id}" for trial in kinds.values())
        raise UsageFault(
            f"the trials were metered in different ways: {said}",
            "joules of different scopes differ in kind; --mix-meters compares them all the same, and says so",
        )
    return len(kinds) > 1


def _kind(trial: Trial) -> tuple[object, ...]:
    """What must be equal for two trials' joules to be of one kind; external meters differ by their columns."""
    meter = trial.meter
    if meter is None:
        return ()
    columns = tuple(trial.facts.get("external", {}).get("columns", {}).items())
    return (meter.name, meter.scope, meter.rails, meter.estimated, meter.simulated, columns)


def _said(trial: Trial) -> str:
    meter = trial.meter
    if meter is None:
        return "no meter"
    columns = ", ".join(trial.facts.get("external", {}).get("columns", {}))
    return f"{meter.name} ({meter.scope}{f'; {columns}' if columns else ''})"


def _against(first: Trial, baseline: str, trial: Trial, name: str, own: Comparison) -> Comparison:
    zero = list(rounds_of(first, baseline, idle_power(first)).values())
    one = list(rounds_of(trial, name, idle_power(trial)).values())
    speedup = welch_ratio([math.log(each.time_s) for each in zero], [math.log(each.time_s) for each in one])
    plain = replace(own, speedup=speedup, greenup=None, powerup=None, category=None)
    if any(each.meter is None or each.meter.estimated for each in (first, trial)):
        return replace(plain, verdict=f"—, {NEEDS_METER}", reason=NEEDS_METER)
    zero, one = _metered(zero), _metered(one)
    if speedup is None or min(len(zero), len(one)) < MIN_VALUES:
        return replace(plain, verdict="—, too few rounds", reason="too few rounds have an energy")
    greenup, powerup = _ratios(zero, one)
    category, verdict = categorize(speedup, greenup, powerup)
    simulated = any(each.meter is not None and each.meter.simulated for each in (first, trial))
    verdict += " (simulated)" if simulated else ""
    return replace(plain, greenup=greenup, powerup=powerup, category=category, verdict=verdict, reason=None)


def _metered(rounds: Sequence[Round]) -> list[Round]:
    return [each for each in rounds if math.isfinite(each.gross_j)]


def _ratios(zero: Sequence[Round], one: Sequence[Round]) -> tuple[Interval, Interval]:
    slack = float(sum(np.mean([each.slack_j / each.gross_j for each in side]) for side in (zero, one)))
    joules = [[math.log(each.gross_j) for each in side] for side in (zero, one)]
    watts = [[math.log(each.power_w) for each in side] for side in (zero, one)]
    greenup, powerup = welch_ratio(joules[0], joules[1], slack), welch_ratio(watts[1], watts[0], slack)
    assert greenup is not None
    assert powerup is not None
    return greenup, powerup


def _marked(found: Comparison) -> Comparison:
    return replace(found, verdict=f"{found.verdict} ({MIXED})")
