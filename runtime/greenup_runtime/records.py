"""One inference as logged: when, which bundle and variant, latency, energy or why there is none."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from greenup_runtime.attribution import Share
from greenup_runtime.energy import WindowEnergy, burst_energy
from greenup_runtime.spool.state import RECORD_SCHEMA as SCHEMA
from greenup_runtime.trial import Burst, Trial

MAX_PER_BURST = 20


def single(bundle: str, variant: str, device_id: str, latency_s: float) -> dict[str, Any]:
    """A record of one inference outside any trial; its energy, or why there is none, is the caller's to add."""
    return {
        "schema": SCHEMA,
        "kind": "inference",
        "id": uuid.uuid4().hex,
        "device": device_id,
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "bundle": bundle,
        "variant": variant,
        "latency_s": latency_s,
        "stands_for": 1,
    }


def of_trial(trial: Trial) -> Iterator[dict[str, Any]]:
    """Records of a trial's inferences: an even sample of each burst, each saying how many it stands for.

    An inference's energy is its burst's energy shared out by time (`apportioned`), with the burst's interval and
    coverage.
    """
    for number, burst in enumerate(trial.bursts):
        if burst.variant is not None and burst.inferences:
            yield from _of_burst(trial, number, burst)


def _of_burst(trial: Trial, number: int, burst: Burst) -> Iterator[dict[str, Any]]:
    window = burst_energy(trial, burst)
    picked = np.unique(np.linspace(0, burst.inferences - 1, MAX_PER_BURST).round().astype(int))
    ends_s = np.cumsum(burst.latency_s)
    began = datetime.fromisoformat(trial.started_at)
    weights = np.diff(np.append(picked, burst.inferences))
    first_s = trial.bursts[0].start_s
    for index, weight in zip(picked, weights, strict=True):
        at = began + timedelta(seconds=burst.start_s - first_s + float(ends_s[index]))
        latency_s = float(burst.latency_s[index])
        share = latency_s / float(ends_s[-1])
        yield {
            "schema": SCHEMA,
            "kind": "inference",
            "id": f"{trial.id}-{number}-{index}",
            "device": trial.device_id,
            "time": at.isoformat(timespec="milliseconds"),
            "bundle": trial.bundle,
            "variant": burst.variant,
            "trial": trial.id,
            "latency_s": latency_s,
            "stands_for": int(weight),
            **_share(window, share).to_record(trial.meter),
        }


def _share(window: WindowEnergy, part: float) -> Share:
    """A part of a burst's energy; what is uncertain about the burst is so about its parts."""
    if window.energy_j is None or window.low_j is None or window.high_j is None:
        return Share(None, "none", window.reason)
    low_j, high_j = part * window.low_j, part * window.high_j
    return Share(part * window.energy_j, "apportioned", None, low_j, high_j, window.coverage)
