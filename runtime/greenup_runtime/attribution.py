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
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenup_runtime.energy import WindowEnergy, window_energy
from greenup_runtime.trial import FloatArray, MeterFacts

COUNTER_TICKS = 50
TRACE_UPDATES = 20
# Idle power is read from stretches without a request that hold so many updates.
IDLE_UPDATES = 5
Span = tuple[float, float]


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


def attribute(
    trace: FloatArray, meter: MeterFacts | None, requests: Sequence[Span], period: Span, why_none: str = "no meter"
) -> Attribution:
    """Share out the energy of a period among requests, given as (start, end) in seconds of the trace's clock.

    `trace` has the shape [samples, 2]. Requests may overlap; the part of one outside the period does not count.
    """
    if meter is None:
        return _without(requests, WindowEnergy(None, 0.0, why_none))
    whole = window_energy(trace, meter, *period, steady=False)
    if whole.energy_j is None:
        return _without(requests, whole)
    weights_s = busy_seconds(requests, period)
    alone = [_measured(trace, meter, span, weight_s) for span, weight_s in zip(requests, weights_s, strict=True)]
    measured_j = sum(share.energy_j or 0.0 for share in alone if share)
    rest_s = float(sum(weight_s for weight_s, share in zip(weights_s, alone, strict=True) if share is None))
    idle_s = max(0.0, period[1] - period[0] - float(weights_s.sum()))
    idle_w = idle_power_w(trace, meter, requests, period)
    rest = _Rest(whole, whole.energy_j - measured_j, rest_s, idle_s, idle_w)
    if rest.left_j <= 0:
        # Single requests add up to more than the whole: their windows are too short for this meter.
        return _by_time(whole, weights_s, idle_s)
    shares = [share or rest.request(weight_s) for share, weight_s in zip(alone, weights_s, strict=True)]
    return Attribution(tuple(shares), rest.idle(), whole)


def _by_time(whole: WindowEnergy, weights_s: FloatArray, idle_s: float) -> Attribution:
    """The period's energy by time alone: the same power for work and idle."""
    assert whole.energy_j is not None
    rest = _Rest(whole, whole.energy_j, float(weights_s.sum()), idle_s, None)
    return Attribution(tuple(rest.request(float(weight_s)) for weight_s in weights_s), rest.idle(), whole)


def busy_seconds(requests: Sequence[Span], period: Span) -> FloatArray:
    """Each request's own time in seconds: where several run at once, each has its part of it."""
    spans = np.clip(np.array(requests, dtype=np.float64).reshape(-1, 2), *period)
    edges = np.unique(spans)
    middles, lengths_s = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    starts, ends = np.sort(spans[:, 0]), np.sort(spans[:, 1])
    at_once = np.searchsorted(starts, middles, side="right") - np.searchsorted(ends, middles, side="right")
    each_s = np.concatenate([[0.0], np.cumsum(lengths_s / np.maximum(1, at_once))])
    if edges.size == 0:
        return np.zeros(len(spans))
    return np.asarray(np.interp(spans[:, 1], edges, each_s) - np.interp(spans[:, 0], edges, each_s))


def idle_power_w(trace: FloatArray, meter: MeterFacts, requests: Sequence[Span], period: Span) -> float | None:
    """Mean power in the stretches of a period without a request; None where no stretch is long enough."""
    energy_j = length_s = 0.0
    shortest_s = (IDLE_UPDATES + 1) * meter.update_s + meter.lag_s
    for start_s, end_s in _gaps(requests, period):
        if end_s - start_s < shortest_s:
            continue
        window = window_energy(trace, meter, start_s, end_s)
        if window.energy_j is not None:
            energy_j += window.energy_j
            length_s += end_s - start_s
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

    def request(self, weight_s: float) -> Share:
        """One request's share by its busy time."""
        if weight_s <= 0 or self.busy_s <= 0:
            return Share(None, "none", "the request lies outside the metered period")
        return self._share((self.left_j - self.idle_j) * weight_s / self.busy_s, weight_s / self.busy_s)

    def idle(self) -> Share:
        """Idle as a record of its own."""
        if self.idle_s <= 0 or self.idle_j <= 0:
            return Share(None, "none", "the period holds no idle time")
        return self._share(self.idle_j, 1.0)

    def _share(self, energy_j: float, part: float) -> Share:
        whole = self.whole
        assert whole.energy_j is not None
        assert whole.low_j is not None
        assert whole.high_j is not None
        low_j = max(0.0, energy_j - part * (whole.energy_j - whole.low_j))
        return Share(
            energy_j,
            "apportioned",
            None,
            low_j,
            energy_j + part * (whole.high_j - whole.energy_j),
            whole.coverage,
        )


def _measured(trace: FloatArray, meter: MeterFacts, span: Span, weight_s: float) -> Share | None:
    """A request's own measurement, or None where it ran beside another or is too short for the meter."""
    length_s = span[1] - span[0]
    if not length_s > 0 or abs(weight_s - length_s) > 1e-9 * max(1.0, span[1]):
        return None
    window = window_energy(trace, meter, *span)
    least, method = (COUNTER_TICKS, "counter") if meter.kind == "counter" else (TRACE_UPDATES, "trace")
    if window.energy_j is None or window.updates < least or not _read_within(trace, meter, span):
        return None
    return Share(window.energy_j, method, None, window.low_j, window.high_j, window.coverage)


def _read_within(trace: FloatArray, meter: MeterFacts, span: Span) -> bool:
    """Whether a counter was read close enough to both edges: a tick's worth of its window."""
    if meter.kind == "power":
        return True
    allowed_s = max(2 * meter.update_s, (span[1] - span[0]) / COUNTER_TICKS)
    return all(float(np.abs(trace[:, 0] - at_s).min()) <= allowed_s for at_s in span)


def _gaps(requests: Sequence[Span], period: Span) -> list[Span]:
    """The stretches of a period in which no request ran."""
    gaps, at_s = [], period[0]
    for start_s, end_s in sorted(requests):
        if start_s > at_s:
            gaps.append((at_s, min(start_s, period[1])))
        at_s = max(at_s, end_s)
    return [*gaps, (at_s, period[1])] if at_s < period[1] else gaps


def _without(requests: Sequence[Span], whole: WindowEnergy) -> Attribution:
    none = Share(None, "none", whole.reason)
    return Attribution((none,) * len(requests), none, whole)
