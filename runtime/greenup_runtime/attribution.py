"""Joules of single requests out of a meter that watched the period in which they ran; idle is a record of its own.

A request that ran alone and long enough is measured by itself: `counter` (50 of the meter's ticks or more) or
`trace` (20 updates wholly inside or more). All others are `apportioned`: what is left of the period's energy, less
idle, is shared out by busy time; where two run at once they share that time. Nothing is 0 or below for lack of
data: a request without energy has `none` and a reason. The records and idle together are the period's energy.

      meter     ├───────────────── period: metered as a whole ─────────────────┤
      requests      ▇▇▇▇▇▇▇▇▇▇▇▇          ▇▇  ▇▇▇     ▇
                    trace                 apportioned             the rest is idle
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup_runtime.energy import WindowEnergy, window_energy
from greenup_runtime.trial import FloatArray, MeterFacts

COUNTER_TICKS = 50
TRACE_UPDATES = 20
# Idle power is read from stretches without a request that hold so many updates.
IDLE_UPDATES = 5
# The longest of them say enough; a busy second may hold thousands.
_MOST_GAPS = 32
METHODS = ("none", "counter", "trace", "apportioned")
OUTSIDE = "the request lies outside the metered period"
_LEAST = {"counter": COUNTER_TICKS, "trace": TRACE_UPDATES}
Span = tuple[float, float]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """Joules of one request, or of idle, with the 95 % interval; or None, method `none`, and the reason.

    `coverage` is the share of its metered window that readings vouch for; for `apportioned` that of the period.
    """

    energy_j: float | None
    method: str
    reason: str | None = None
    low_j: float | None = None
    high_j: float | None = None
    coverage: float = 0.0

    def to_record(self, meter: MeterFacts | None) -> dict[str, Any]:
        """The energy fields of a record."""
        if self.energy_j is None or meter is None:
            return {"energy_j": None, "method": "none", "reason": self.reason}
        return {
            "energy_j": self.energy_j,
            "energy_low_j": self.low_j,
            "energy_high_j": self.high_j,
            "coverage": self.coverage,
            "method": self.method,
            "source": meter.source,
            "scope": meter.scope,
            "update_s": meter.update_s,
            "estimated": meter.estimated,
            "simulated": meter.simulated,
        }


@dataclass(frozen=True)
class Attribution:
    """A share per request in their order, what idle took, and the period's metered energy."""

    requests: tuple[Share, ...]
    idle: Share
    period: WindowEnergy


@dataclass(frozen=True)
class Parts:
    """The same for many requests, as columns with the shape [requests]; nan where there is no energy.

    `method` counts in METHODS; `idle_w` is the mean power of idle where the period shows it.
    """

    energy_j: FloatArray
    low_j: FloatArray
    high_j: FloatArray
    coverage: FloatArray
    method: IntArray
    idle: Share
    period: WindowEnergy
    idle_w: float | None = None

    def share(self, index: int) -> Share:
        """One request's share."""
        method = METHODS[self.method[index]]
        if method == "none":
            return Share(None, "none", self.period.reason or OUTSIDE)
        low_j, high_j = float(self.low_j[index]), float(self.high_j[index])
        return Share(float(self.energy_j[index]), method, None, low_j, high_j, float(self.coverage[index]))


def attribute(
    trace: FloatArray, meter: MeterFacts | None, requests: Sequence[Span], period: Span, why_none: str = "no meter"
) -> Attribution:
    """Share out the energy of a period among requests, given as (start, end) in seconds of the trace's clock.

    `trace` has the shape [samples, 2]. Requests may overlap; the part of one outside the period does not count.
    """
    parts = share_out(trace, meter, _columns(requests), period, why_none)
    return Attribution(tuple(parts.share(index) for index in range(len(requests))), parts.idle, parts.period)


def share_out(
    trace: FloatArray,
    meter: MeterFacts | None,
    spans: FloatArray,
    period: Span,
    why_none: str = "no meter",
    idle_w: float | None = None,
) -> Parts:
    """What `attribute` does, for requests as columns [requests, 2]: well under a microsecond each.

    `idle_w` is the power of idle as it was seen last; it counts where this period shows none.
    """
    if meter is None:
        return _without(len(spans), WindowEnergy(None, 0.0, why_none))
    whole = window_energy(trace, meter, *period, steady=False)
    if whole.energy_j is None:
        return _without(len(spans), whole)
    weights_s = busy_seconds(spans, period)
    parts = _measured_alone(trace, meter, spans, weights_s, whole)
    alone = parts.method > 0
    idle_s = max(0.0, period[1] - period[0] - float(weights_s.sum()))
    left_j = whole.energy_j - float(parts.energy_j[alone].sum())
    if left_j <= 0:
        # Single requests add up to more than the whole: their windows are too short for this meter. The period's
        # energy by time alone is the same power for work and idle.
        alone[:] = False
        rest = _Rest(whole, whole.energy_j, float(weights_s.sum()), idle_s, None)
    else:
        seen_w = idle_power_w(trace, meter, spans, period)
        rest = _Rest(whole, left_j, float(weights_s[~alone].sum()), idle_s, idle_w if seen_w is None else seen_w)
        parts = replace(parts, idle_w=seen_w)
    return rest.share_out(parts, weights_s, alone)


def busy_seconds(requests: Sequence[Span] | FloatArray, period: Span) -> FloatArray:
    """Each request's own time in seconds: where several run at once, each has its part of it."""
    spans = np.clip(_columns(requests), *period)
    edges = np.sort(spans, axis=None)
    middles, lengths_s = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    starts, ends = np.sort(spans[:, 0]), np.sort(spans[:, 1])
    at_once = np.searchsorted(starts, middles, side="right") - np.searchsorted(ends, middles, side="right")
    each_s = np.concatenate([[0.0], np.cumsum(lengths_s / np.maximum(1, at_once))])
    if edges.size == 0:
        return np.zeros(len(spans))
    return np.asarray(np.interp(spans[:, 1], edges, each_s) - np.interp(spans[:, 0], edges, each_s))


def idle_power_w(trace: FloatArray, meter: MeterFacts, spans: FloatArray, period: Span) -> float | None:
    """Mean power in the stretches of a period without a request; None where no stretch is long enough."""
    energy_j = length_s = 0.0
    shortest_s = (IDLE_UPDATES + 1) * meter.update_s + meter.lag_s
    gaps = _gaps(spans, period)
    if meter.kind == "counter":
        # Interpolation over the work around a gap would take its power for that of idle.
        gaps, shortest_s = _between_readings(trace, gaps), COUNTER_TICKS * meter.update_s
    lengths_s = gaps[:, 1] - gaps[:, 0]
    usable = lengths_s >= max(shortest_s, 1e-12)
    longest = np.flatnonzero(usable)
    for index in longest[np.argsort(-lengths_s[longest])][:_MOST_GAPS]:
        window = window_energy(trace, meter, float(gaps[index, 0]), float(gaps[index, 1]))
        if window.energy_j is not None:
            energy_j += window.energy_j
            length_s += float(lengths_s[index])
    return energy_j / length_s if length_s > 0 else None


@dataclass(frozen=True)
class _Rest:
    """What is shared out: the period's energy less what was measured by itself, over busy and idle time."""

    whole: WindowEnergy
    left_j: float
    busy_s: float
    idle_s: float
    idle_w: float | None

    @property
    def idle_j(self) -> float:
        """What idle took: by its own power where that is known and fits, else by time."""
        if self.busy_s == 0:
            return self.left_j
        by_time_j = self.left_j * self.idle_s / (self.busy_s + self.idle_s)
        # Work never takes less than idle does in the same time.
        return by_time_j if self.idle_w is None else min(by_time_j, self.idle_w * self.idle_s)

    def share_out(self, parts: Parts, weights_s: FloatArray, alone: BoolArray) -> Parts:
        """Requests that were not measured alone share the rest by their busy time."""
        by_time = (weights_s > 0) & ~alone if self.busy_s > 0 else np.zeros(len(weights_s), dtype=bool)
        part = np.where(by_time, weights_s / (self.busy_s or 1.0), 0.0)
        energy_j, low_j, high_j = self._interval(part * (self.left_j - self.idle_j), part)
        none = ~by_time & ~alone
        return replace(
            parts,
            energy_j=_pick(by_time, energy_j, parts.energy_j, none),
            low_j=_pick(by_time, low_j, parts.low_j, none),
            high_j=_pick(by_time, high_j, parts.high_j, none),
            coverage=_pick(by_time, np.full(len(part), self.whole.coverage), parts.coverage, none),
            method=np.where(by_time, METHODS.index("apportioned"), np.where(alone, parts.method, 0)),
            idle=self._idle(),
            period=self.whole,
        )

    def _idle(self) -> Share:
        """Idle as a record of its own."""
        if self.idle_s <= 0 or self.idle_j <= 0:
            return Share(None, "none", "the period holds no idle time")
        values = self._interval(np.array([self.idle_j]), np.ones(1))
        energy_j, low_j, high_j = (float(value[0]) for value in values)
        return Share(energy_j, "apportioned", None, low_j, high_j, self.whole.coverage)

    def _interval(self, energy_j: FloatArray, part: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Shares with what they have of the whole's uncertainty."""
        whole = self.whole
        assert whole.energy_j is not None
        assert whole.low_j is not None
        assert whole.high_j is not None
        low_j = np.maximum(0.0, energy_j - part * (whole.energy_j - whole.low_j))
        return energy_j, low_j, energy_j + part * (whole.high_j - whole.energy_j)


def _measured_alone(
    trace: FloatArray, meter: MeterFacts, spans: FloatArray, weights_s: FloatArray, whole: WindowEnergy
) -> Parts:
    """What was measured by itself, having run alone and long enough for the meter; elsewhere nan and method 0."""
    columns = np.full((4, len(spans)), np.nan)
    methods = np.zeros(len(spans), dtype=np.int64)
    method = "counter" if meter.kind == "counter" else "trace"
    for index in np.flatnonzero(_long_enough(trace, meter, spans, weights_s)):
        window = window_energy(trace, meter, float(spans[index, 0]), float(spans[index, 1]))
        if window.energy_j is None or window.updates < _LEAST[method]:
            continue
        columns[:, index] = window.energy_j, window.low_j, window.high_j, window.coverage
        methods[index] = METHODS.index(method)
    energy_j, low_j, high_j, coverage = columns
    return Parts(energy_j, low_j, high_j, coverage, methods, Share(None, "none"), whole)


def _long_enough(trace: FloatArray, meter: MeterFacts, spans: FloatArray, weights_s: FloatArray) -> BoolArray:
    """Which requests ran alone and hold enough of the meter's updates to be looked at by themselves."""
    starts, ends = spans[:, 0], spans[:, 1]
    lengths_s = ends - starts
    alone = (lengths_s > 0) & (np.abs(weights_s - lengths_s) <= 1e-9 * np.maximum(1.0, ends))
    if meter.kind == "power":
        readings = np.searchsorted(trace[:, 0], ends, side="right") - np.searchsorted(trace[:, 0], starts)
        return np.asarray(alone & (readings >= TRACE_UPDATES))
    return np.asarray(alone & _read_at_edges(trace, meter, spans) & (lengths_s >= COUNTER_TICKS * meter.update_s))


def _read_at_edges(trace: FloatArray, meter: MeterFacts, spans: FloatArray) -> BoolArray:
    """Where a counter was read close enough to both edges: a tick's worth of the window between them."""
    allowed_s = np.maximum(2 * meter.update_s, (spans[:, 1] - spans[:, 0]) / COUNTER_TICKS)
    starts_s, ends_s = (_nearest_s(trace[:, 0], spans[:, edge]) for edge in (0, 1))
    return np.asarray((starts_s <= allowed_s) & (ends_s <= allowed_s))


def _between_readings(trace: FloatArray, gaps: FloatArray) -> FloatArray:
    """Each gap from its first reading to its last, with the shape [gaps, 2]; no length where there is none."""
    times = trace[:, 0]
    first = np.minimum(np.searchsorted(times, gaps[:, 0]), times.size - 1)
    last = np.maximum(np.searchsorted(times, gaps[:, 1], side="right") - 1, 0)
    return np.column_stack([times[first], times[last]])


def _nearest_s(times: FloatArray, at_s: FloatArray) -> FloatArray:
    """How far the nearest reading is from each instant, in seconds."""
    after = np.clip(np.searchsorted(times, at_s), 1, max(1, times.size - 1))
    before_s = np.abs(at_s - times[after - 1])
    return np.asarray(np.minimum(before_s, np.abs(times[np.minimum(after, times.size - 1)] - at_s)))


def _gaps(spans: FloatArray, period: Span) -> FloatArray:
    """The stretches of a period in which no request ran, with the shape [gaps, 2]."""
    order = np.argsort(spans[:, 0])
    starts = np.append(spans[order, 0], period[1]).clip(*period)
    until = np.maximum.accumulate(np.insert(spans[order, 1], 0, period[0])).clip(*period)
    return np.column_stack([until, starts])[starts > until]


def _pick(by_time: BoolArray, shared: FloatArray, alone: FloatArray, none: BoolArray) -> FloatArray:
    return np.where(none, np.nan, np.where(by_time, shared, alone))


def _columns(requests: Sequence[Span] | FloatArray) -> FloatArray:
    return np.asarray(requests, dtype=np.float64).reshape(-1, 2)


def _without(count: int, whole: WindowEnergy) -> Parts:
    nothing = np.full(count, np.nan)
    methods = np.zeros(count, dtype=np.int64)
    return Parts(nothing, nothing, nothing, np.zeros(count), methods, Share(None, "none", whole.reason), whole)
