"""Periods as they pass: reads the meter at their edges, settles them later, and hands their records on.

edges     │        │        │        │ now
settled   ▇▇▇▇▇▇▇▇▇          │← hold →│
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from greenup_runtime.clock import Clock
from greenup_runtime.recording.forms import EachNth, Form, Minutes, Names, WallClock, idle_record, lost_record
from greenup_runtime.recording.keeper import Keeper
from greenup_runtime.recording.ledger import Ledger, Settled
from greenup_runtime.recording.requests import Served
from greenup_runtime.sampling import Sampler
from greenup_runtime.settings import RecordSettings
from greenup_runtime.spool import Block, of_records
from greenup_runtime.trial import MeterFacts

# While nothing is served a period becomes this long, so that an idle device fills no spool.
IDLE_PERIOD_S = 60.0
# A period holds at least so many of a meter's updates.
_LEAST_UPDATES = 10
# So often a counter is read in a period: idle shows between requests only if it is read there.
_READINGS = 25


def period_s(settings: RecordSettings, meter: MeterFacts | None) -> float:
    """How long a period is with this meter."""
    return max(settings.period_s, _LEAST_UPDATES * meter.update_s if meter else 0.0)


def beat_s(settings: RecordSettings, meter: MeterFacts | None) -> float:
    """How often a counter is read."""
    return max(period_s(settings, meter) / _READINGS, meter.update_s if meter else 0.0)


class Book:
    """One recorder's accounts; without a thread of its own. `turn` is called now and then, `finish` once."""

    def __init__(
        self,
        settings: RecordSettings,
        device: str,
        sampler: Sampler,
        meter: MeterFacts | None,
        why_none: str,
        clock: Clock,
        keeper: Keeper,
    ) -> None:
        self.run = uuid.uuid4().hex[:16]
        self.period_s = period_s(settings, meter)
        self._form: Form = (
            Minutes() if settings.mode == "minute" else EachNth(settings.every if settings.mode == "every" else 1)
        )
        self._device = device
        self._sampler = sampler
        self._meter = meter
        self._clock = clock
        self._keeper = keeper
        self._ledger = Ledger(meter, why_none, self.period_s)
        self._edges = [sampler.begin()]
        self._busy = False
        self._wall = WallClock.now(clock.now())
        self._joules: dict[tuple[str, str], float] = {}
        self._idle_j = self._unassigned_j = 0.0

    def turn(self, served: Sequence[Served], missed: int = 0) -> None:
        """Take over what was served; `missed` more were, but are not there."""
        self._take(served, missed)
        since_s = self._clock.now() - self._edges[-1][0]
        if since_s >= (self.period_s if self._busy else IDLE_PERIOD_S):
            self._edges.append(self._sampler.begin())
            self._busy = False
        due_s = self._clock.now() - self._ledger.hold_s
        self._settle(lambda edge_s: edge_s <= due_s)

    def finish(self, served: Sequence[Served], missed: int = 0) -> None:
        """Settle all, now."""
        self._take(served, missed)
        if self._clock.now() > self._edges[-1][0]:
            self._edges.append(self._sampler.begin())
        if self._meter is not None:
            # A reading shows power of before it, and a counter needs one behind the edge.
            self._clock.sleep(min(0.5, 2 * (self._meter.update_s + self._meter.lag_s)))
            self._sampler.begin()
        self._settle(lambda edge_s: True, last=True)
        self._keeper.close()

    def joules(self) -> dict[tuple[str, str], float]:
        """Joules so far by bundle and variant."""
        return dict(self._joules)

    def facts(self) -> dict[str, Any]:
        """Joules so far of requests, of idle, and unassigned; requests whose energy is not settled yet."""
        metered = self._meter is not None
        return {
            # Unknown without a meter, which is not 0.
            "served_joules_total": sum(self.joules().values()) if metered else None,
            "idle_joules_total": self._idle_j if metered else None,
            "unassigned_joules_total": self._unassigned_j if metered else None,
            "records_pending": len(self._ledger),
        }

    def _take(self, served: Sequence[Served], missed: int) -> None:
        self._ledger.add(served)
        if served and not self._busy:
            self._end_idle(min(each[2] for each in served))
        self._busy = self._busy or bool(served)
        if missed:
            self._keeper.miss(missed, "the recorder could not keep up")

    def _end_idle(self, began_s: float) -> None:
        """A long idle period ends shortly before the first request: in its noise a short request would drown."""
        edge_s = self._sampler.before(began_s - self.period_s / 2)
        if edge_s - self._edges[-1][0] > self.period_s:
            self._edges.append((edge_s, None))

    def _settle(self, due: Callable[[float], bool], *, last: bool = False) -> None:
        blocks: list[Block] = []
        while len(self._edges) > 1 and due(self._edges[1][0]):
            (start_s, fault), (end_s, end_fault) = self._edges[:2]
            self._wall = WallClock.now(self._clock.now(), self._wall)
            settled = self._ledger.settle(
                self._sampler.trace(),
                (start_s, end_s),
                fault or end_fault,
                last=last and len(self._edges) == 2,
            )
            del self._edges[0]
            self._count(settled)
            names = self._names()
            blocks += self._form.blocks(settled, names, self._wall)
            blocks += of_records([idle_record(settled, names, self._wall)])
            self._sampler.cut(end_s - self._margin_s())
        if last:
            blocks += self._form.flush(self._names(), self._wall)
        if blocks or last:
            self._keeper.keep(blocks, self._lost)

    def _count(self, settled: Settled) -> None:
        closed, keys = settled.closed, self._ledger.keys
        known = closed.known
        sums = np.bincount(closed.key[known], weights=closed.energy_j[known], minlength=len(keys))
        counts = np.bincount(closed.key[known], minlength=len(keys))
        for key, energy_j, count in zip(keys, sums, counts, strict=True):
            if count:
                self._joules[key] = self._joules.get(key, 0.0) + float(energy_j)
        self._idle_j += settled.idle.energy_j or 0.0
        self._unassigned_j += settled.unassigned_j

    def _margin_s(self) -> float:
        """How much of the trace before a period still counts: what a reading there may show."""
        meter = self._meter
        return 0.1 + (4 * (meter.update_s + meter.lag_s) + meter.clock_error_s if meter else 0.0)

    def _names(self) -> Names:
        return Names(self._device, self.run, self._meter, self._ledger.keys, self._ledger.reasons)

    def _lost(self, count: int, reason: str) -> dict[str, Any]:
        return lost_record(self._names(), self._wall, self._clock.now(), count, reason)
