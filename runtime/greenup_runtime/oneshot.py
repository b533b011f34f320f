"""Classify one recording outside any trial: its windows one after the other, a meter read around them.

Each window is a request of its own. What a meter cannot tell apart is shared out or left out with the reason, by
attribution.py, as for any other request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenup_runtime.attribution import Share, attribute
from greenup_runtime.clock import Clock
from greenup_runtime.engine import Engine, Float32
from greenup_runtime.meters import Chosen
from greenup_runtime.records import single
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import MeterFacts


@dataclass(frozen=True)
class Classified:
    """Probabilities [windows, classes], and each window's latency in seconds and share of the energy."""

    probabilities: Float32
    latency_s: tuple[float, ...]
    shares: tuple[Share, ...]
    meter: MeterFacts | None

    def records(self, bundle: str, variant: str, device_id: str) -> Iterator[dict[str, Any]]:
        """One record per window."""
        for latency_s, share in zip(self.latency_s, self.shares, strict=True):
            yield {**single(bundle, variant, device_id, latency_s), **share.to_record(self.meter)}


def classify(engine: Engine, windows: Float32, chosen: Chosen, clock: Clock) -> Classified:
    """Run windows [cases, channels, length] one by one while the chosen meter, if there is one, is read."""
    spans, answers = [], []
    with Sampler(chosen.meter, clock) as sampler:
        begin_s, fault = sampler.begin()
        for index in range(len(windows)):
            start_s = clock.now()
            answers.append(engine.infer(windows[index : index + 1]))
            spans.append((start_s, clock.now()))
        end_s, end_fault = sampler.end(idle=True)
        trace = sampler.trace()
    reason = fault or end_fault or "; ".join(chosen.reasons) or "no meter here"
    facts = chosen.meter.facts if chosen.meter is not None and not (fault or end_fault) else None
    shared = attribute(trace, facts, spans, (begin_s, end_s), reason)
    return Classified(np.concatenate(answers), tuple(end - start for start, end in spans), shared.requests, facts)
