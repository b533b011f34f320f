"""Collect a meter's samples while bursts run.

A counter is read at each edge of a burst, right after one of its ticks, so that sampling costs the measured
work nothing; between edges only so often that it cannot wrap unseen. A power meter is read beside the work at
its own rate. What it has not renewed is skipped and counted; a meter that went away is opened again.

        counter   │← start: wait for a tick, read          end: stamp, then read at the next tick →│
        power     .   .   .   .   .   .   .   .   .   .   .   (a beat of the clock, absolute deadlines)
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

from greenup_runtime.clock import Clock, Repeated
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import Meter, StaleReading
from greenup_runtime.trial import FloatArray

# A 32-bit counter of microjoules wraps after 18 s at 240 W.
COUNTER_BEAT_S = 5.0
# Ticks shorter than the first need no waiting for, ticks longer than the second would cost too much of it.
_TICK_S = (1e-4, 1.0)
_REOPEN_S = 0.5
_KEPT_GAPS = 100
Reopen = Callable[[], Meter]


class Sampler:
    """Samples of one meter on one clock; with no meter it only tells the time.

    `reopen` opens the same meter again after it went away (a USB sensor, a driver that was loaded anew). `beat_s`
    is how often a counter is read between edges.
    """

    def __init__(
        self, meter: Meter | None, clock: Clock, reopen: Reopen | None = None, beat_s: float = COUNTER_BEAT_S
    ) -> None:
        self._meter = meter
        self._clock = clock
        self._reopen = reopen
        self._beat_s = beat_s
        self._times = array("d")
        self._values = array("d")
        self._base = 0.0
        self._lost_s: float | None = None
        self._retry_s = 0.0
        self._stale = 0
        self._gaps: list[float] = []
        self._faults: Counter[str] = Counter()
        # A counter is read by the beat and at edges; on a fake clock one of them may set off the other.
        self._lock = threading.RLock()
        self._repeated: Repeated | None = None

    def __enter__(self) -> Sampler:
        if self._meter is not None:
            facts = self._meter.facts
            period_s = facts.update_s if facts.kind == "power" else self._beat_s
            self._repeated = self._clock.repeat(period_s, self._beat)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._repeated is not None:
            self._repeated.stop()
        if self._meter is not None:
            self._meter.close()

    def begin(self) -> tuple[float, str | None]:
        """The time at the start of a burst, and why a counter could not be read there, if it could not."""
        fault = self._edge(idle=True)
        return self._clock.now(), fault

    def end(self, *, idle: bool) -> tuple[float, str | None]:
        """The time at the end of a burst, and why a counter could not be read after it.

        Until the counter's next tick an idle burst is idle and a busy one busy, so that the energy up to the
        tick can be shared out by time.
        """
        now_s = self._clock.now()
        return now_s, self._edge(idle=idle)

    def trace(self) -> FloatArray:
        """All samples so far, with the shape [samples, 2]: seconds, and joules or watts."""
        with self._lock:
            return np.column_stack([np.array(self._times), np.array(self._values)])

    def mark(self) -> float | None:
        """Read the meter once, now; its value stays in the trace. None where it cannot be read."""
        with self._lock:
            return None if self._sample() else self._values[-1]

    def before(self, at_s: float) -> float:
        """An instant, the given one or earlier, at which energy so far is known best: a counter's last reading."""
        if self._meter is None or self._meter.facts.kind == "power":
            return at_s
        with self._lock:
            place = bisect_right(self._times, at_s)
            return self._times[place - 1] if place else at_s

    def cut(self, before_s: float) -> None:
        """Forget samples of before an instant, all but the last of them: a trace that never ends stays small."""
        with self._lock:
            first = max(0, bisect_left(self._times, before_s) - 1)
            # A counter that is opened again goes on from the last value that was read.
            while first > 0 and not any(map(math.isfinite, self._values[first:])):
                first -= 1
            del self._times[:first]
            del self._values[:first]
            del self._gaps[:-_KEPT_GAPS]

    @property
    def lost(self) -> bool:
        """Whether the meter could not be read when it was last tried."""
        return self._lost_s is not None

    def facts(self) -> dict[str, Any]:
        """What happened while sampling: readings, stale ones skipped, faults by message, gaps in seconds."""
        return {
            "readings": len(self._times),
            "stale": self._stale,
            "faults": dict(self._faults),
            "gaps_s": [round(gap, 6) for gap in self._gaps],
        }

    def _edge(self, *, idle: bool) -> str | None:
        if self._meter is None or self._meter.facts.kind == "power":
            return None
        with self._lock:
            fault = self._sample()
            tick_s = self._meter.facts.update_s
            if fault is None and _TICK_S[0] <= tick_s <= _TICK_S[1]:
                fault = self._await_tick(tick_s, idle=idle)
            return fault

    def _await_tick(self, tick_s: float, *, idle: bool) -> str | None:
        """Read until the counter moves, for three ticks at most; the last reading stays, the others do not.

        Of a counter that stands still the first one stays too: it is the one at the edge, and as true.
        """
        first_s, first, start_s = self._times[-1], self._values[-1], self._clock.now()
        while self._values[-1] == first:
            before_s = self._clock.now()
            if before_s - start_s > 3 * tick_s:
                if self._times[-1] > first_s:
                    self._times.insert(len(self._times) - 1, first_s)
                    self._values.append(first)
                return None
            if idle:
                self._clock.sleep(tick_s / 20)
            self._drop_last()
            if fault := self._sample():
                return fault
            if self._clock.now() == before_s:
                self._clock.sleep(tick_s / 20)
        return None

    def _drop_last(self) -> None:
        self._times.pop()
        self._values.pop()

    def _beat(self) -> None:
        self._sample()

    def _sample(self) -> str | None:
        """Take one reading; the fault's message where there was none."""
        with self._lock:
            before_s = self._clock.now()
            try:
                meter = self._present(before_s)
                value = meter.read()
            except StaleReading:
                self._stale += 1
                return None
            except MeterFault as fault:
                self._faults[fault.message] += 1
                self._lost_s = before_s if self._lost_s is None else self._lost_s
                return fault.message
            after_s = self._clock.now()
            if self._lost_s is not None:
                self._gaps.append(before_s - self._lost_s)
                self._lost_s = None
            # A power sensor latches its value somewhere during the read; a counter's edge is the moment after.
            self._times.append((before_s + after_s) / 2 if meter.facts.kind == "power" else after_s)
            self._values.append(self._base + value)
            return None

    def _present(self, now_s: float) -> Meter:
        """The meter, opened again if it has been away for a while. Raises MeterFault where it stays away."""
        assert self._meter is not None
        if (
            self._lost_s is None
            or self._reopen is None
            or now_s - self._lost_s < _REOPEN_S
            or now_s < self._retry_s
        ):
            return self._meter
        self._retry_s = now_s + _REOPEN_S
        again = self._reopen()
        self._meter.close()
        self._meter = again
        if again.facts.kind == "counter" and len(self._values):
            # What was used while it was away is unknown: no window may reach across.
            self._base = float(np.array(self._values)[np.isfinite(self._values)][-1])
            self._times.append(now_s)
            self._values.append(np.nan)
        return again
