"""From what a machine said to what a test asserts: meters and trials beside the plant's ledger."""

from __future__ import annotations

import base64
import io
import math
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from greenup_runtime import trial as trials
from greenup_runtime.energy import burst_energy, window_energy
from greenup_runtime.trial import MeterFacts, Trial
from lab import ledger


@dataclass(frozen=True)
class Compared:
    """A meter's joules in a window, the true ones, how many updates there were, whether the interval held."""

    metered_j: float
    true_j: float
    updates: float
    facts: MeterFacts
    inside: bool

    @property
    def error(self) -> float:
        """Relative error."""
        return self.metered_j / self.true_j - 1


def profile(outcome: dict[str, Any]) -> Compared:
    """The window of a profile: the runner's own arithmetic on one side, the ledger on the other."""
    facts = MeterFacts.from_json(outcome["facts"])
    start_s, end_s = outcome["start_s"], outcome["end_s"]
    found = window_energy(ledger.pairs(outcome["trace"]), facts, start_s, end_s, steady=False)
    assert found.energy_j is not None, found.reason
    assert found.low_j is not None
    assert found.high_j is not None
    true_j = ledger.energy_j(ledger.pairs(outcome["ledger"]), start_s, end_s)
    return Compared(found.energy_j, true_j, found.updates, facts, found.low_j <= true_j <= found.high_j)


def windows(outcome: dict[str, Any], count: int = 100) -> list[bool]:
    """For windows anywhere in a profile, of 20 updates or more: whether the truth lies in the stated interval."""
    facts = MeterFacts.from_json(outcome["facts"])
    trace, truth = ledger.pairs(outcome["trace"]), ledger.pairs(outcome["ledger"])
    begin_s, end_s = outcome["start_s"], outcome["end_s"]
    rng = np.random.default_rng(0)
    held = []
    for _ in range(count):
        length_s = rng.uniform(min(0.5, 25 * facts.update_s / (end_s - begin_s)), 0.9) * (end_s - begin_s)
        start_s = rng.uniform(begin_s, end_s - length_s)
        found = window_energy(trace, facts, start_s, start_s + length_s, steady=False)
        if found.low_j is not None and found.high_j is not None:
            held.append(found.low_j <= ledger.energy_j(truth, start_s, start_s + length_s) <= found.high_j)
    return held


def fetched(outcome: dict[str, Any], folder: Path) -> Trial:
    """The trial that a machine's runner sent."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(outcome["trial"]))) as archive:
        archive.extractall(folder, filter="data")
    return trials.load(folder)


def bursts(trial: Trial, outcome: dict[str, Any]) -> list[Compared]:
    """Every burst with an energy, idle ones too."""
    assert trial.meter is not None
    truth = ledger.pairs(outcome["ledger"])
    found = []
    for burst in trial.bursts:
        energy = burst_energy(trial, burst)
        if energy.energy_j is not None and energy.low_j is not None and energy.high_j is not None:
            true_j = ledger.energy_j(truth, burst.start_s, burst.end_s)
            inside = energy.low_j <= true_j <= energy.high_j
            found.append(Compared(energy.energy_j, true_j, energy.updates, trial.meter, inside))
    return found


def true_greenup(trial: Trial, outcome: dict[str, Any], variant: str, baseline: str = "fp32") -> float:
    """Greenup of a variant by the ledger: the geometric mean over rounds, as the report takes it."""
    truth = ledger.pairs(outcome["ledger"])
    per_inference_j: dict[tuple[int, str | None], float] = {
        (burst.round, burst.variant): ledger.energy_j(truth, burst.start_s, burst.end_s) / burst.inferences
        for burst in trial.bursts
        if burst.inferences
    }
    logs = [
        math.log(per_inference_j[index, baseline] / per_inference_j[index, variant])
        for index in range(trial.rounds)
    ]
    return math.exp(float(np.mean(logs)))
