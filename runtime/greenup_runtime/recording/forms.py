"""Settled periods as blocks of the spool: a record each, one of every n, or one a minute."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from greenup_runtime.attribution import METHODS, Share
from greenup_runtime.recording.histogram import Latencies
from greenup_runtime.recording.ledger import Settled
from greenup_runtime.recording.requests import Requests
from greenup_runtime.spool import Block, Column, of_columns, of_records
from greenup_runtime.spool.state import RECORD_SCHEMA
from greenup_runtime.trial import FloatArray, MeterFacts

MINUTE_S = 60.0


@dataclass(frozen=True)
class Names:
    """What stands in every record: the device, this run of the recorder, the meter; and what places mean."""

    device: str
    run: str
    meter: MeterFacts | None
    keys: list[tuple[str, str]]
    reasons: list[str]


@dataclass(frozen=True)
class WallClock:
    """Wall clock time of an instant of the monotonic clock, as it is known now.

    `step_s` is how far the wall clock was set since it was last looked at.
    """

    offset_s: float
    utc_offset_s: float
    step_s: float = 0.0

    @classmethod
    def now(cls, monotonic_s: float, before: WallClock | None = None) -> WallClock:
        """Read now, when the monotonic clock shows so much."""
        offset_s = time.time() - monotonic_s
        step_s = offset_s - before.offset_s if before else 0.0
        return cls(offset_s, float(time.localtime().tm_gmtoff), step_s if abs(step_s) > 0.5 else 0.0)

    def text(self, monotonic_s: float) -> str:
        """As it stands in a record."""
        return datetime.fromtimestamp(monotonic_s + self.offset_s).astimezone().isoformat(timespec="milliseconds")


class Form(Protocol):
    """Which requests get a record of their own."""

    def blocks(self, settled: Settled, names: Names, wall: WallClock) -> Iterator[Block]:
        """Records of the requests that closed in a period."""

    def flush(self, names: Names, wall: WallClock) -> Iterator[Block]:
        """Records of what is still held back."""


class EachNth:
    """One record for every n-th request, which stands for n."""

    def __init__(self, every: int = 1) -> None:
        self._every = every

    def blocks(self, settled: Settled, names: Names, wall: WallClock) -> Iterator[Block]:
        """Records of the requests that closed in a period."""
        closed = settled.closed
        if self._every > 1:
            closed = closed.pick(closed.number % self._every == 0)
        for which in _alike(closed):
            yield from _block(which, names, wall, self._every)

    def flush(self, names: Names, wall: WallClock) -> Iterator[Block]:
        """Nothing is held back."""
        return iter(())


class Minutes:
    """One record a minute for each bundle and variant: sums, means, percentiles of latency."""

    def __init__(self) -> None:
        self._sums: dict[int, _Sum] = {}
        self._began_s = math.inf

    def blocks(self, settled: Settled, names: Names, wall: WallClock) -> Iterator[Block]:
        """Records of the minute that is over, when one is."""
        # By the monotonic clock: a wall clock that is set makes no minute longer.
        if settled.period[0] - self._began_s >= MINUTE_S:
            yield from self.flush(names, wall)
        if not self._sums:
            self._began_s = settled.period[0]
        for key in np.unique(settled.closed.key):
            these = settled.closed.pick(settled.closed.key == key)
            self._sums.setdefault(int(key), _Sum()).add(these)

    def flush(self, names: Names, wall: WallClock) -> Iterator[Block]:
        """Records of the minute so far."""
        records = [total.record(names, key, wall) for key, total in self._sums.items()]
        self._sums.clear()
        yield from of_records(records)


class _Sum:
    """What one minute holds of one variant; of fixed size, however many requests there were."""

    def __init__(self) -> None:
        self._latencies = Latencies()
        self._windows = 0
        self._first_s, self._last_s = np.inf, -np.inf
        self._energies = np.zeros(3)
        self._covered_s = self._metered_s = 0.0
        self._methods = np.zeros(len(METHODS), dtype=np.int64)
        self._reason = 0

    def add(self, requests: Requests) -> None:
        known = requests.known
        self._latencies.add(requests.latency_s)
        self._windows += int(requests.windows.sum())
        self._first_s = min(self._first_s, float(requests.began_s.min()))
        self._last_s = max(self._last_s, float(requests.ended_s.max()))
        self._energies += [column[known].sum() for column in (requests.energy_j, requests.low_j, requests.high_j)]
        self._covered_s += float(requests.covered_s[known].sum())
        self._metered_s += float(requests.latency_s[known].sum())
        self._methods += np.bincount(requests.method, minlength=len(METHODS))
        if not known.all():
            self._reason = int(requests.reason[~known][0])

    def record(self, names: Names, key: int, wall: WallClock) -> dict[str, Any]:
        bundle, variant = names.keys[key]
        with_energy = int(self._methods[1:].sum())
        coverage = self._covered_s / self._metered_s if self._metered_s > 0 else 0.0
        energy_j, low_j, high_j = map(float, self._energies)
        share = Share(None, "none", names.reasons[self._reason])
        if with_energy:
            weakest = next(
                name for name in ("apportioned", "trace", "counter") if self._methods[METHODS.index(name)]
            )
            share = Share(energy_j, weakest, None, low_j, high_j, coverage)
        latencies = self._latencies
        return {
            **_common(names, "aggregate"),
            "id": uuid.uuid4().hex,
            "time": wall.text(self._first_s),
            "bundle": bundle,
            "variant": variant,
            "period_s": self._last_s - self._first_s,
            "stands_for": latencies.count,
            "windows": self._windows,
            "latency_s": latencies.sum_s / latencies.count,
            "latency_sum_s": latencies.sum_s,
            "latency_p50_s": latencies.quantile(0.50),
            "latency_p99_s": latencies.quantile(0.99),
            "latency_max_s": latencies.max_s,
            "energy_count": with_energy,
            **share.to_record(names.meter),
        }


def idle_record(settled: Settled, names: Names, wall: WallClock) -> dict[str, Any]:
    """The record of a period's idle, which also says what the meter saw in the whole period."""
    start_s, end_s = settled.period
    record = {
        **_common(names, "idle"),
        "id": uuid.uuid4().hex,
        "time": wall.text(start_s),
        "bundle": None,
        "variant": None,
        "period_s": end_s - start_s,
        "requests": settled.busy,
        "metered_j": settled.metered.energy_j,
        "metered_low_j": settled.metered.low_j,
        "metered_high_j": settled.metered.high_j,
        "unassigned_j": settled.unassigned_j if names.meter else None,
        **settled.idle.to_record(names.meter),
    }
    return {**record, "clock_step_s": wall.step_s} if wall.step_s else record


def lost_record(names: Names, wall: WallClock, now_s: float, count: int, reason: str) -> dict[str, Any]:
    """Records that never came into the spool, and why."""
    return {
        **_common(names, "lost"),
        "id": uuid.uuid4().hex,
        "time": wall.text(now_s),
        "count": count,
        "reason": reason,
    }


def _common(names: Names, kind: str) -> dict[str, Any]:
    return {"schema": RECORD_SCHEMA, "kind": kind, "device": names.device}


def _alike(requests: Requests) -> Iterator[Requests]:
    """Requests in groups that share bundle, variant, method and reason; mostly there is one."""
    if not len(requests):
        return
    codes = (requests.key << 32) + (requests.reason << 8) + requests.method
    if (codes == codes[0]).all():
        yield requests
        return
    for code in np.unique(codes):
        yield requests.pick(codes == code)


def _block(requests: Requests, names: Names, wall: WallClock, every: int) -> Iterator[Block]:
    """Requests that are alike, as columns; a column of equal values is said once."""
    bundle, variant = names.keys[int(requests.key[0])]
    known = bool(requests.known[0])
    common: dict[str, Any] = {
        **_common(names, "inference"),
        "bundle": bundle,
        "variant": variant,
        "stands_for": every,
    }
    if not known:
        common |= Share(None, "none", names.reasons[int(requests.reason[0])]).to_record(None)
    columns: list[tuple[str, str, FloatArray]] = [
        ("id", "number", requests.number.astype(np.float64)),
        ("time", "time", requests.ended_s + wall.offset_s),
        ("latency_s", "float", requests.latency_s),
        ("windows", "whole", requests.windows.astype(np.float64)),
    ]
    if known:
        facts = Share(0.0, METHODS[int(requests.method[0])]).to_record(names.meter)
        columns += [
            ("energy_j", "float", requests.energy_j),
            ("energy_low_j", "float", requests.low_j),
            ("energy_high_j", "float", requests.high_j),
            ("coverage", "float", np.minimum(1.0, requests.covered_s / requests.latency_s)),
        ]
        common |= {name: value for name, value in facts.items() if name not in {each[0] for each in columns}}
    kept = []
    for name, kind, values in columns:
        if name in {"windows", "coverage"} and (values == values[0]).all():
            common[name] = int(values[0]) if kind == "whole" else float(values[0])
        else:
            kept.append(Column(name, kind, values.tobytes()))
    yield from of_columns(common, kept, names.run, wall.utc_offset_s)
