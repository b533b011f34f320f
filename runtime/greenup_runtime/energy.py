"""From a meter's trace to the joules of one window of time, with the interval that they are known to.

Power of a steady burst: the mean of the samples wholly inside times the length. It has no bias, while
interpolated edges pull net energy towards idle (−1/(3n) at n samples). A sample counts for the time around it:
what keeps a sampler waiting takes power too, so that samples come thinner where there is more of it. A reading
shows power from up to `update_s` (it may be that old) plus `lag_s` (on-chip averaging) before it, so that much is
left out at the start.

      power                ┌────── burst ──────┐
      samples   .  .  .  . │ x  .  .  .  .  .  │ .  .  .
                           start_s           end_s

Power of any other window: integration, with interpolated edges. Counters are differenced between the readings
around the edges. The interval holds what this meter leaves open (noise, steps, edges, gaps); what shifts every
reading alike (shunt, gain) it cannot show, and that cancels in ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from greenup_runtime.student import t95
from greenup_runtime.trial import Burst, FloatArray, MeterFacts, Trial

# Fewer than this say too little of how far they themselves can be off (a sensor may beat with the load).
MIN_POWER_SAMPLES = 5
# A steady burst is like itself in a gap, any other window is not.
MIN_COVERAGE = {"steady": 0.5, "any": 0.8}
# Readings further apart than so many periods have a gap between them.
GAP_PERIODS = 2.5
# Noise of half a step shows as this many steps in readings that are rounded: √(1/4 + 1/12). Below it rounding does
# not average out, and half a step stays as an error that every reading shares.
QUIET_STEPS = math.sqrt(1 / 3)
# In so many readings, noise of a third of a step shows a third one.
MANY_READINGS = 50
# No device that this is for draws a megawatt: such a reading is garbage and counts as missing.
MAX_PLAUSIBLE_W = 1e6
NO_ENERGY_SEEN = "the meter saw no energy in the window: it is too coarse for it"


@dataclass(frozen=True)
class WindowEnergy:
    """Joules in a window, or None and the reason.

    `updates` counts the meter's updates inside; `coverage` is the share of the window that readings vouch for;
    the truth lies between `low_j` and `high_j` with 95 %; `slack_j` is the part of that interval that every
    repetition shares (the meter's steps), so that no spread shows it.
    """

    energy_j: float | None
    updates: float
    reason: str | None = None
    coverage: float = 0.0
    low_j: float | None = None
    high_j: float | None = None
    slack_j: float = 0.0


def window_energy(
    trace: FloatArray, meter: MeterFacts, start_s: float, end_s: float, *, steady: bool = True
) -> WindowEnergy:
    """Energy between two instants of the trace's own clock.

    `trace` has the shape [samples, 2] (seconds; joules or watts). `steady` says that one thing ran all the time.
    A window that the readings do not vouch for has no energy but a reason: nothing is ever invented, and no
    energy is 0 or below for lack of data.
    """
    if not end_s > start_s:
        return WindowEnergy(None, 0.0, "the window has no length")
    if meter.kind == "counter":
        return _counted(trace, meter, start_s, end_s)
    usable = np.abs(trace[:, 1]) < MAX_PLAUSIBLE_W
    samples = trace if usable.all() else trace[usable]
    return (_steady if steady else _integrated)(samples, meter, start_s, end_s)


def burst_energy(trial: Trial, burst: Burst) -> WindowEnergy:
    """Gross energy of one burst of a trial."""
    if trial.meter is None:
        return WindowEnergy(None, 0.0, trial.meter_reason)
    if burst.meter_fault is not None:
        # Interpolating over a failed reading would spread a neighbour's joules over this burst.
        return WindowEnergy(None, 0.0, burst.meter_fault)
    return window_energy(trial.trace, trial.meter, burst.start_s, burst.end_s, steady=not burst.paced)


def _found(energy_j: float, half_j: float, slack_j: float, updates: float, coverage: float) -> WindowEnergy:
    if not energy_j > 0:
        return WindowEnergy(None, updates, NO_ENERGY_SEEN, coverage)
    low_j, high_j = max(0.0, energy_j - half_j - slack_j), energy_j + half_j + slack_j
    return WindowEnergy(energy_j, updates, None, coverage, low_j, high_j, slack_j)


def _steady(samples: FloatArray, meter: MeterFacts, start_s: float, end_s: float) -> WindowEnergy:
    first_s, last_s = start_s + _trim_s(meter), end_s - meter.clock_error_s
    inside = slice(*np.searchsorted(samples[:, 0], [first_s, np.nextafter(last_s, np.inf)]))
    times, values = samples[inside, 0], samples[inside, 1]
    if values.size < MIN_POWER_SAMPLES:
        return WindowEnergy(None, values.size, f"{values.size} samples wholly inside the window")
    coverage = _vouched(times, meter, first_s, last_s)
    if coverage < MIN_COVERAGE["steady"]:
        return WindowEnergy(None, values.size, _too_little(coverage, "steady"), coverage)
    length_s = end_s - start_s
    spread_w = float(values.std(ddof=1))
    weights = _weights(times, meter, first_s, last_s)
    independent = max(2.0, _independent(values) / (values.size * float(weights @ weights)))
    # What was left out at the edges and in gaps is taken to be like the rest, as far as the rest is alike.
    unseen = 1 - coverage * (last_s - first_s) / length_s
    # Equal readings of a meter with steps do not show that there is no noise below a step.
    noise_w = max(spread_w, meter.resolution / math.sqrt(12))
    half_w = t95(independent - 1) * noise_w / math.sqrt(independent) + unseen * noise_w
    slack_w = meter.resolution / 2 if spread_w < QUIET_STEPS * meter.resolution else 0.0
    mean_w = _mean_w(values, weights, meter.resolution)
    return _found(mean_w * length_s, half_w * length_s, slack_w * length_s, values.size, coverage)


def _weights(times: FloatArray, meter: MeterFacts, first_s: float, last_s: float) -> FloatArray:
    """The share of the time that each sample is nearest to; of a long gap its edges take no more than a part."""
    middles = (times[1:] + times[:-1]) / 2
    most_s = GAP_PERIODS * _period_s(times, meter)
    before_s = np.minimum(times - np.concatenate([[first_s], middles]), most_s)
    after_s = np.minimum(np.concatenate([middles, [last_s]]) - times, most_s)
    spans_s = before_s + after_s
    return np.asarray(spans_s / spans_s.sum())


def _mean_w(values: FloatArray, weights: FloatArray, step_w: float) -> float:
    """The mean, or where many readings know two neighbouring steps only, half-way from it to their border.

    With noise that fills a step the mean is right. With none the truth lies at the border, whatever share of the
    readings is above it. Which of the two holds cannot be seen in two steps; half-way is off by half at most.
    """
    mean_w, low_w, high_w = float(weights @ values), float(values.min()), float(values.max())
    neighbours = step_w > 0 and math.isclose(high_w - low_w, step_w, rel_tol=0.01)
    if values.size < MANY_READINGS or not neighbours or not np.isin(values, (low_w, high_w)).all():
        return mean_w
    return (mean_w + (low_w + high_w) / 2) / 2


def _integrated(samples: FloatArray, meter: MeterFacts, start_s: float, end_s: float) -> WindowEnergy:
    # A reading stands for the middle of the time that it may show.
    times, values = samples[:, 0] - (meter.update_s + meter.lag_s) / 2, samples[:, 1]
    first, last = np.searchsorted(times, [start_s, end_s])
    around = slice(max(0, first - 1), last + 1)
    coverage = _vouched(times[around], meter, start_s, end_s)
    inside = times[first:last]
    if inside.size < MIN_POWER_SAMPLES:
        return WindowEnergy(None, inside.size, f"{inside.size} samples inside the window", coverage)
    if coverage < MIN_COVERAGE["any"]:
        return WindowEnergy(None, inside.size, _too_little(coverage, "any"), coverage)
    at_s = np.concatenate([[start_s], inside, [end_s]])
    watts = np.interp(at_s, times, values)
    energy_j = float(np.sum((watts[1:] + watts[:-1]) / 2 * np.diff(at_s)))
    reach_s = (meter.update_s + meter.lag_s) / 2 + meter.clock_error_s
    edges_j = reach_s * (_edge_step_w(times, values, start_s, meter) + _edge_step_w(times, values, end_s, meter))
    # How old readings are is a guess that all share: a later trace has the end's power where the start's was.
    shift_j = reach_s * abs(float(watts[-1] - watts[0]))
    steps_w, length_s = np.diff(values[around]), end_s - start_s
    # Between two readings the power may have changed at any moment; noise of the readings shows alike.
    inner_j = 2 * math.sqrt(float(np.sum((steps_w * np.diff(times[around])) ** 2)) / 2)
    gap_j = (1 - coverage) * length_s * float(np.ptp(values[around]))
    quiet = float(np.median(np.abs(steps_w))) < QUIET_STEPS * meter.resolution
    slack_j = meter.resolution / 2 * length_s if quiet else 0.0
    return _found(energy_j, edges_j + shift_j + inner_j + gap_j, slack_j, inside.size, coverage)


def _counted(trace: FloatArray, meter: MeterFacts, start_s: float, end_s: float) -> WindowEnergy:
    times, values = trace[:, 0], trace[:, 1]
    updates = (end_s - start_s) / meter.update_s if meter.update_s > 0 else float(times.size)
    if times.size < 2 or times[0] > start_s or times[-1] < end_s:
        return WindowEnergy(None, updates, "the trace does not cover the window")
    low = int(np.searchsorted(times, start_s, side="right")) - 1
    high = int(np.searchsorted(times, end_s, side="left"))
    if not np.isfinite(values[low : high + 1]).all():
        return WindowEnergy(None, updates, "the meter went away within the window")
    if (np.diff(values[low : high + 1]) < 0).any():
        return WindowEnergy(None, updates, "the counter went backwards")
    first_j, last_j = np.interp([start_s, end_s], times[low : high + 1], values[low : high + 1])
    energy_j = float(last_j - first_j)
    if energy_j > MAX_PLAUSIBLE_W * (end_s - start_s):
        return WindowEnergy(None, updates, "the counter jumped further than any board can take it")
    # A reading may be a tick old, so each edge is known to a tick at the mean power; between readings the
    # power is not known at all, so what is interpolated could be all or nothing.
    tick_j = energy_j / (end_s - start_s) * min(meter.update_s, end_s - start_s)
    open_j = _open_j(times, values, low, start_s) + _open_j(times, values, high - 1, end_s)
    return _found(energy_j, tick_j + open_j, meter.resolution, updates, 1.0)


def _open_j(times: FloatArray, values: FloatArray, left: int, at_s: float) -> float:
    """How far interpolation between two readings of a counter can be off at an instant between them."""
    gap_s = float(times[left + 1] - times[left])
    share = (at_s - float(times[left])) / gap_s if gap_s > 0 else 0.0
    # All that lies on the shorter side may really belong to the other one.
    return min(share, 1 - share) * float(values[left + 1] - values[left])


def _trim_s(meter: MeterFacts) -> float:
    return meter.update_s + meter.lag_s + meter.clock_error_s


def _vouched(times: FloatArray, meter: MeterFacts, first_s: float, last_s: float) -> float:
    """Share of the time between two instants that no gap between readings leaves open."""
    if times.size == 0 or last_s <= first_s:
        return 0.0
    period_s = _period_s(times, meter)
    gaps = np.diff(np.clip(np.concatenate([[first_s], times, [last_s]]), first_s, last_s))
    return float(np.where(gaps > GAP_PERIODS * period_s, period_s, gaps).sum()) / (last_s - first_s)


def _period_s(times: FloatArray, meter: MeterFacts) -> float:
    return max(meter.update_s, float(np.median(np.diff(times)))) if times.size > 2 else meter.update_s


def _independent(values: FloatArray) -> float:
    """How many independent readings so many correlated ones are worth (first-order autoregression)."""
    centred = values - values.mean()
    power = float(centred @ centred)
    if power == 0:
        return float(values.size)
    # From n values a correlation is estimated low by about 1/n, and known to about 1/√n: a slow beat between
    # sensor and load hides in few readings.
    size = values.size
    rho = min(0.99, max(0.0, float(centred[1:] @ centred[:-1]) / power + 1 / size + 1 / math.sqrt(size)))
    return max(2.0, values.size * (1 - rho) / (1 + rho))


def _edge_step_w(times: FloatArray, values: FloatArray, at_s: float, meter: MeterFacts) -> float:
    """How much the power changes around an instant: an edge's place is not known better than a reading's."""
    reach_s = 1.5 * meter.update_s + meter.lag_s + meter.clock_error_s
    near = slice(*np.searchsorted(times, [at_s - reach_s, at_s + reach_s]))
    return float(np.ptp(values[near])) if values[near].size else 0.0


def _too_little(coverage: float, window: str) -> str:
    needed = 100 * MIN_COVERAGE[window]
    return f"readings vouch for {100 * coverage:.0f} % of the window, {needed:.0f} % are needed"
