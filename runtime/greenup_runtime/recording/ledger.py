"""Energy of served requests, period by period: pure accounting, without threads, meters or files.

A period is settled some time after its end (`hold_s`), when the requests that were under way at its edge have
ended and are known. A request that spans an edge has a part in each period and is closed with the last. One that
ran for longer than what is held back was not there when its first period was settled: it has no energy and a
reason, and what it took of later periods stands as `unassigned_j` beside idle. So it always holds that

      energy of requests + energy of idle + unassigned = metered energy of the periods
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from greenup_runtime.attribution import OUTSIDE, Share, Span, share_out
from greenup_runtime.energy import WindowEnergy
from greenup_runtime.recording.requests import Requests, Served, joined, of_served
from greenup_runtime.trial import FloatArray, MeterFacts

LONGEST_HOLD_S = 60.0
CUT = "the recorder was closed before it ended"
LATE = "it ran for longer than periods are held back, so that its beginning had been settled before it ended"


@dataclass(frozen=True)
class Settled:
    """One period: requests that ended in it, idle, and what the meter saw.

    `busy` counts the requests that had a part in it; `unassigned_j` is energy of requests that closed without one.
    """

    period: Span
    closed: Requests
    idle: Share
    metered: WindowEnergy
    busy: int
    unassigned_j: float


class Ledger:
    """What was served and is not settled yet."""

    def __init__(self, meter: MeterFacts | None, why_none: str, hold_s: float) -> None:
        self._meter = meter
        self._why_none = why_none
        self._open: Requests = of_served((), {})
        self._keys: dict[tuple[str, str], int] = {}
        self._reasons: dict[str, int] = {"": 0}
        self._idle_w: float | None = None
        self.hold_s = hold_s

    def __len__(self) -> int:
        return len(self._open)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Pairs of bundle and variant, by a request's `key`."""
        return list(self._keys)

    @property
    def reasons(self) -> list[str]:
        """Reasons why there is no energy, by a request's `reason`."""
        return list(self._reasons)

    def add(self, served: Sequence[Served]) -> None:
        """Take over what was served since the last call."""
        if not served:
            return
        more = of_served(served, self._keys)
        # Whoever waits for the longest requests seen so far sees the next ones like them whole.
        self.hold_s = min(LONGEST_HOLD_S, max(self.hold_s, 2 * float(more.latency_s.max())))
        self._open = joined(self._open, more)

    def settle(self, trace: FloatArray, period: Span, fault: str | None = None, *, last: bool = False) -> Settled:
        """Share out a period's energy; `fault` says why its edges were not read; after the `last` none is open."""
        there = (self._open.began_s < period[1]) | last
        now, later = self._open.pick(there), self._open.pick(~there)
        spans = np.clip(np.column_stack([now.began_s, now.ended_s]), *period)
        meter = self._meter if fault is None else None
        parts = share_out(trace, meter, spans, period, fault or self._why_none, self._idle_w)
        self._idle_w = self._idle_w if parts.idle_w is None else parts.idle_w
        late = now.fresh & (now.began_s < period[0])
        now.add(parts, spans[:, 1] - spans[:, 0], self._reason(parts.period.reason or OUTSIDE))
        if meter is not None:
            now.reason = np.where(late & (now.reason == 0), self._reason(LATE), now.reason)
        in_time = now.ended_s <= period[1]
        ended = in_time | last
        now.reason = np.where(ended & ~in_time & (now.reason == 0), self._reason(CUT), now.reason)
        closed = now.pick(ended)
        self._open = joined(now.pick(~ended), later)
        return Settled(
            period, closed, parts.idle, parts.period, len(now), float(closed.energy_j[~closed.known].sum())
        )

    def _reason(self, text: str) -> int:
        return self._reasons.setdefault(text, len(self._reasons))
