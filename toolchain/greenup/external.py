"""Energy from a meter beside the board: a CSV of a bench or USB meter, laid onto a trial by its load pattern.

The trial played a known on/off pattern before its first and after its last round (`greenup measure
--external-hz`). Where the CSV follows the pattern best gives the offset of the two clocks; the two together
give their drift. What is left of error stands in the meter's facts and is cut off at each burst's edges.

    board   ▇▇▇_▇_ pattern   ▇▇▇ ___ ▇▇▇ … bursts … ▇▇▇ ___   pattern ▇▇▇_▇_
    CSV     . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . .
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from greenup import meter_csv
from greenup_runtime.errors import DataFault, UsageFault
from greenup_runtime.trial import FloatArray, MeterFacts, Trial

MIN_CORRELATION = 0.6
_STEPS_PER_CHIP = 8


@dataclass(frozen=True)
class Alignment:
    """How the meter's clock lies on the device's: device time = `offset_s` + (1 + `drift`) × CSV time.

    `error_s` is how far that can be off with 95 %; `correlation` of pattern and power, head and tail.
    """

    offset_s: float
    drift: float
    error_s: float
    correlation: tuple[float, float]


def apply(trial: Trial, path: Path, live: dict[str, Any] | None = None) -> Trial:
    """The trial with the CSV's readings as its meter. Raises UsageFault or DataFault where that cannot be.

    `live` says of readings that were stamped as they came in where they came from (`source`), and how many.
    """
    pattern = trial.facts.get("pattern")
    if not pattern or not {"head", "tail"} <= pattern.keys():
        raise UsageFault(
            f"trial {trial.id} played no load pattern by which a meter could be aligned",
            "measure with `greenup measure OUT --external-hz RATE` while the meter records",
        )
    record = meter_csv.read(path)
    samples = record.samples
    power = _as_power(samples) if record.kind == "counter" else samples
    found = align(power, pattern)
    update_s = float(np.median(np.diff(samples[:, 0])))
    origin_name = live["source"] if live else path.name
    facts = MeterFacts(
        name="external",
        kind=record.kind,
        scope="supply",
        source=f"{origin_name} ({record.said()}), aligned by load pattern to ± {1e3 * found.error_s:.2g} ms",
        update_s=update_s * (1 + found.drift),
        resolution=_step(samples[:, 1]) if record.kind == "power" else 0.0,
        lag_s=update_s,
        clock_error_s=found.error_s,
    )
    times = found.offset_s + (1 + found.drift) * samples[:, 0]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = {"trial": measured_as(trial), "file": path.name, "sha256": digest, "columns": record.columns}
    if live:
        origin["live"] = live
    return replace(
        trial,
        # Part of the digest, so that another record of the same trial does not take this one's place.
        id=f"{measured_as(trial)}-external-{digest[:8]}",
        meter=facts,
        meter_reason=None,
        trace=np.column_stack([times, samples[:, 1]]),
        bursts=tuple(replace(burst, meter_fault=None) for burst in trial.bursts),
        facts={**trial.facts, "external": {**origin, **asdict(found)}},
    )


def measured_as(trial: Trial) -> str:
    """The id under which a trial's rounds were run: a copy with an external meter's energy names its origin."""
    return str(trial.facts.get("external", {}).get("trial", trial.id))


def align(power: FloatArray, pattern: dict[str, Any]) -> Alignment:
    """Find where the two patterns lie in samples [n, 2] of seconds and watts.

    Raises DataFault where the power does not follow them.
    """
    dt_s = float(np.median(np.diff(power[:, 0])))
    coarse_s, _ = _search(power, pattern["head"], pattern["chip_s"])
    head = _refine(power, pattern["head"], coarse_s, pattern["chip_s"], dt_s)
    # Ordinary clocks differ by a few hundred parts in a million, so the tail is near where the head puts it.
    reach_s = 2 * pattern["chip_s"] + 1e-3 * (pattern["tail"][-1][1] - pattern["head"][0][0])
    guess_s, _ = _search(power, pattern["tail"], pattern["chip_s"], around_s=head.shift_s, reach_s=reach_s)
    tail = _refine(power, pattern["tail"], guess_s, pattern["chip_s"], dt_s)
    if min(head.correlation, tail.correlation) < MIN_CORRELATION:
        raise DataFault(
            "the load pattern is not in the meter's record: "
            f"correlation {head.correlation:.2f} at the start, {tail.correlation:.2f} at the end",
            "let the meter record from before the trial until after it, as often as --external-hz says",
        )
    # At its middle each pattern says: device time − CSV time = shift.
    middles = [(spans[0][0] + spans[-1][1]) / 2 for spans in (pattern["head"], pattern["tail"])]
    csv_s = [middle - each.shift_s for middle, each in zip(middles, (head, tail), strict=True)]
    drift = (middles[1] - middles[0]) / (csv_s[1] - csv_s[0]) - 1
    offset_s = middles[0] - (1 + drift) * csv_s[0]
    error_s = max(head.error_s, tail.error_s)
    return Alignment(offset_s, drift, error_s, (head.correlation, tail.correlation))


@dataclass(frozen=True)
class _Fit:
    shift_s: float
    error_s: float
    correlation: float


def _search(
    power: FloatArray,
    spans: Sequence[Sequence[float]],
    chip_s: float,
    around_s: float | None = None,
    reach_s: float = 0.0,
) -> tuple[float, float]:
    """The shift (device time − CSV time) with the best correlation, to an eighth of a chip."""
    step_s = chip_s / _STEPS_PER_CHIP
    start_s, end_s = spans[0][0], spans[-1][1]
    grid = np.arange(power[0, 0], power[-1, 0], step_s)
    watts = np.interp(grid, power[:, 0], power[:, 1])
    wanted = _load(np.arange(start_s, end_s, step_s, dtype=np.float64), spans, step_s)
    wanted -= wanted.mean()
    if watts.size < wanted.size:
        recorded_s = power[-1, 0] - power[0, 0]
        raise DataFault(
            f"the meter recorded {recorded_s:.0f} s, the pattern alone takes {end_s - start_s:.0f} s",
            "let the meter record from before the trial until after it",
        )
    score = np.correlate(watts, wanted, mode="valid")
    ones = np.ones(wanted.size)
    mean = np.correlate(watts, ones, mode="valid") / wanted.size
    square = np.correlate(watts**2, ones, mode="valid") / wanted.size
    score = score / (
        np.sqrt(np.maximum(square - mean**2, 1e-12)) * np.sqrt(wanted @ wanted) * math.sqrt(wanted.size)
    )
    shifts = start_s - grid[: score.size]
    if around_s is not None:
        score = np.where(np.abs(shifts - around_s) <= reach_s, score, -1.0)
    best = int(np.argmax(score))
    return float(shifts[best]), float(score[best])


def _refine(
    power: FloatArray, spans: Sequence[Sequence[float]], coarse_s: float, chip_s: float, dt_s: float
) -> _Fit:
    """The shift by least squares around a coarse one, its error from the curvature and what is left over."""
    shifts = coarse_s + np.linspace(-chip_s / 2, chip_s / 2, 401)
    left = np.array([_misfit(power, spans, shift, dt_s)[0] for shift in shifts])
    best_s = float(shifts[int(np.argmin(left))])
    misfit, count, gain_w, correlation = _misfit(power, spans, best_s, dt_s)
    near = max(dt_s / 10, float(shifts[1] - shifts[0]))
    curvature = sum(_misfit(power, spans, best_s + side, dt_s)[0] for side in (near, -near)) - 2 * misfit
    noise = misfit / max(1, count - 3)
    spread_s = math.sqrt(2 * noise / (curvature / near**2)) if curvature > 0 and gain_w > 0 else math.inf
    return _Fit(best_s, 2 * spread_s + float(shifts[1] - shifts[0]) + dt_s / 10, correlation)


def _misfit(
    power: FloatArray, spans: Sequence[Sequence[float]], shift_s: float, dt_s: float
) -> tuple[float, int, float, float]:
    """Sum of squares left by power = base + gain × load, samples, gain and correlation, at one shift."""
    times = power[:, 0] + shift_s
    inside = slice(*np.searchsorted(times, [spans[0][0] - 2 * dt_s, spans[-1][1] + 2 * dt_s]))
    load, watts = _load(times[inside] - dt_s / 2, spans, dt_s), power[inside, 1]
    if watts.size < 4 or np.ptp(load) == 0 or np.ptp(watts) == 0:
        return math.inf, int(watts.size), 0.0, 0.0
    centred, other = load - load.mean(), watts - watts.mean()
    gain_w = float(centred @ other / (centred @ centred))
    left = float(np.sum((other - gain_w * centred) ** 2))
    return left, int(watts.size), gain_w, float(np.corrcoef(load, watts)[0, 1])


def _load(at_s: Any, spans: Sequence[Sequence[float]], width_s: float) -> FloatArray:
    """The share of work in a window of some width around each instant: what an averaging meter would show."""
    edges = np.ravel(np.array(spans, dtype=np.float64))
    worked = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.arange(edges.size - 1) % 2 == 0))])
    low, high = at_s - width_s / 2, at_s + width_s / 2
    return np.asarray((np.interp(high, edges, worked) - np.interp(low, edges, worked)) / width_s)


def _as_power(samples: FloatArray) -> FloatArray:
    middles = (samples[1:, 0] + samples[:-1, 0]) / 2
    return np.column_stack([middles, np.diff(samples[:, 1]) / np.diff(samples[:, 0])])


def _step(values: FloatArray) -> float:
    """The smallest difference that the values show more than once: the meter's step, or 0."""
    steps, counts = np.unique(np.round(np.diff(np.unique(values)), 9), return_counts=True)
    repeated = steps[counts > max(1, 0.02 * values.size)]
    return float(repeated[0]) if repeated.size else 0.0
