"""The runner's own share of a figure, by a variant that does nothing: time per call, and bursts under the meter.

An empty burst goes through the loop of every other burst, with the same sampler beside it. It stands in the
pilot rounds, between the others, at another place in each. What a call takes is part of every inference's time
and joules; nothing is subtracted, the reader is told how much it is.
"""

from __future__ import annotations

from typing import Any

from greenup_runtime import loops
from greenup_runtime.clock import Clock
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import MeterFacts


def why_no_bursts(meter: MeterFacts | None, *, beside: bool) -> str | None:
    """Why no empty burst can be metered, or None; `beside` says that a meter beside the board records."""
    if beside:
        return None
    if meter is None:
        return "no meter"
    return "the meter estimates from CPU time" if meter.estimated else None


def empty_burst(index: int, length_s: float, clock: Clock, sampler: Sampler) -> dict[str, Any]:
    """One burst of calls that do nothing: round, edges, calls, and why its energy does not count, if so."""
    start_s, fault = sampler.begin()
    calls = loops.empty(length_s, clock)
    end_s, end_fault = sampler.end(idle=False)
    return {
        "round": index,
        "start_s": start_s,
        "end_s": end_s,
        "calls": calls,
        "meter_fault": fault or end_fault,
    }
