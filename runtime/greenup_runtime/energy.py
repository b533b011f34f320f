"""From a meter's trace to the joules of one window of time.

Counters are differenced, with the reading at each edge interpolated between the samples around it.
For power the mean of the samples wholly inside the window times its length is used: for steady bursts it
is unbiased, while interpolated edges pull net energy towards idle (−1/(3n) at n samples).

      power                ┌────── burst ──────┐
      samples   .  .  .  . │ .  .  .  .  .  .  │ .  .  .
                           start_s           end_s
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenup_runtime.trial import Burst, FloatArray, MeterFacts, Trial

MIN_POWER_SAMPLES = 2


@dataclass(frozen=True)
class WindowEnergy:
    """Joules in a window, or None and the reason; `updates` counts the meter's updates inside it."""

    energy_j: float | None
    updates: float
    reason: str | None = None


def window_energy(trace: FloatArray, meter: MeterFacts, start_s: float, end_s: float) -> WindowEnergy:
    """Energy between two instants of the trace's own clock.

    `trace` has the shape [samples, 2] (seconds; joules or watts). A window that the trace does not cover, or
    that a power meter saw fewer than two samples of, has no energy but a reason: nothing is ever invented.
    """
    times, values = trace[:, 0], trace[:, 1]
    inside = (times >= start_s) & (times <= end_s)
    if meter.kind == "power":
        count = int(inside.sum())
        if count < MIN_POWER_SAMPLES:
            return WindowEnergy(None, count, f"{count} samples inside the window")
        return WindowEnergy(float(values[inside].mean()) * (end_s - start_s), count)
    updates = (end_s - start_s) / meter.update_s if meter.update_s > 0 else float(inside.sum())
    if times.size < 2 or times[0] > start_s or times[-1] < end_s:
        return WindowEnergy(None, updates, "the trace does not cover the window")
    first, last = np.interp([start_s, end_s], times, values)
    if last < first:
        return WindowEnergy(None, updates, "the counter went backwards")
    return WindowEnergy(float(last - first), updates)


def burst_energy(trial: Trial, burst: Burst) -> WindowEnergy:
    """Gross energy of one burst of a trial."""
    if trial.meter is None:
        return WindowEnergy(None, 0.0, trial.meter_reason)
    if burst.meter_fault is not None:
        # Interpolating over a failed reading would spread a neighbour's joules over this burst.
        return WindowEnergy(None, 0.0, burst.meter_fault)
    return window_energy(trial.trace, trial.meter, burst.start_s, burst.end_s)
