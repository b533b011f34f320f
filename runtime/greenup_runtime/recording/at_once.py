"""Joules of a request the moment it ends, where a counter was read right before and right after it.

It pays for long requests that run alone: two readings cost some tens of microseconds, and with another request
beside it nobody knows yet how the joules are shared. The readings stay in the trace, so that the record, which is
written later, is made of the same ones.
"""

from __future__ import annotations

import threading

from greenup_runtime.attribution import COUNTER_TICKS
from greenup_runtime.clock import Clock
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import MeterFacts

# Below it two readings would cost more than a share of the request's own time.
SHORTEST_S = 0.005


class AtOnce:
    """Knows which requests are under way, if it is told of their beginnings."""

    def __init__(self, sampler: Sampler, meter: MeterFacts | None, clock: Clock) -> None:
        self._sampler = sampler
        self._clock = clock
        counts = meter is not None and meter.kind == "counter"
        self._least_s = max(SHORTEST_S, COUNTER_TICKS * meter.update_s) if meter and counts else float("inf")
        self._lock = threading.Lock()
        self._running = 0
        self._alone: float | None = None
        self._worth = False

    def began(self) -> float:
        """A request begins: the time, in seconds of the monotonic clock."""
        with self._lock:
            self._running += 1
            self._alone = self._sampler.mark() if self._worth and self._running == 1 else None
        return self._clock.now()

    def ended(self, latency_s: float) -> float | None:
        """A request ended that took so long: its joules, or None where they are not known yet."""
        with self._lock:
            alone, self._alone = self._alone, None
            self._running = max(0, self._running - 1)
            # What requests like this one take is what the last one took.
            self._worth = latency_s >= self._least_s
            after_j = self._sampler.mark() if alone is not None and self._worth else None
        return after_j - alone if alone is not None and after_j is not None and after_j > alone else None
