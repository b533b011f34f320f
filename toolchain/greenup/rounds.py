"""A trial's bursts as one figure per inference and round: time, gross and net energy.

Idle power drifts with the board's temperature, so a burst's net energy takes the idle power at its own time,
between the idle bursts before and after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from greenup_runtime.energy import burst_energy
from greenup_runtime.trial import Burst, FloatArray, Trial


@dataclass(frozen=True)
class Round:
    """One burst per inference; energies are nan where there is none.

    `slack_j` is how far the meter's resolution alone can move the energy, `power_w` the burst's mean power.
    """

    time_s: float
    latency_s: float
    gross_j: float
    net_j: float
    slack_j: float
    power_w: float


Rounds = Mapping[int, Round]


@dataclass(frozen=True)
class IdlePower:
    """Idle power over time: `at_s` and `power_w` of the idle bursts that count, in order."""

    at_s: FloatArray
    power_w: FloatArray

    def near(self, at_s: float) -> float:
        """Watts at an instant, between the idle bursts around it; nan where there is none."""
        return float(np.interp(at_s, self.at_s, self.power_w)) if self.at_s.size else math.nan


def idle_power(trial: Trial) -> IdlePower:
    """The mean power of each idle burst that counts, at its middle."""
    found = []
    for burst in trial.bursts:
        if burst.variant is None and burst.discarded is None and burst.duration_s > 0:
            energy_j = burst_energy(trial, burst).energy_j
            if energy_j is not None:
                found.append((_middle_s(burst), energy_j / burst.duration_s))
    points = np.array(sorted(found), dtype=np.float64).reshape(-1, 2)
    return IdlePower(points[:, 0], points[:, 1])


def rounds_of(trial: Trial, name: str, idle: IdlePower, *, paced: bool = False) -> dict[int, Round]:
    """The bursts of a variant that count, by round; `paced` takes the windows at the plan's rate instead."""
    return {
        burst.round: _per_inference(trial, burst, idle.near(_middle_s(burst)))
        for burst in trial.bursts
        if burst.variant == name
        and burst.paced == paced
        and burst.discarded is None
        and burst.inferences
        and burst.duration_s > 0
    }


def _per_inference(trial: Trial, burst: Burst, idle_w: float) -> Round:
    window = burst_energy(trial, burst)
    gross_j = math.nan if window.energy_j is None else window.energy_j
    return Round(
        time_s=burst.duration_s / burst.inferences,
        latency_s=float(np.median(burst.latency_s)),
        gross_j=gross_j / burst.inferences,
        net_j=(gross_j - idle_w * burst.duration_s) / burst.inferences,
        slack_j=window.slack_j / burst.inferences,
        power_w=gross_j / burst.duration_s,
    )


def _middle_s(burst: Burst) -> float:
    return (burst.start_s + burst.end_s) / 2
