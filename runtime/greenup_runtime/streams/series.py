"""One series without long gaps, sample by sample: what `preprocess.to_windows` does, while the samples still come.

    raw    rows that wait until every channel has a later value; of what went on, the last known values are kept
    base   filled rows that the next points of the time base lie between
    ready  samples on the time base that belong to windows not yet full

The last bit of the batch's result comes out because every number is computed from the same neighbours by the same
functions. So no row leaves `raw` or `base` as long as a later number may be interpolated from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenup_runtime.preprocess import (
    Float32,
    Float64,
    InputPolicy,
    equalized,
    gaps_filled,
    grid_count,
    interpolated,
    known_rate,
)


@dataclass(frozen=True)
class Window:
    """One window [channels, length], and the times of its first and last sample (None without timestamps).

    `filled` counts its samples on the time base that rest on a missing value.
    """

    values: Float32
    start_s: float | None
    end_s: float | None
    filled: int


@dataclass
class Rows:
    """Samples: values [channels, n], their place on an axis [n], how many values are missing in each [n]."""

    values: Float64
    axis: Float64
    holes: Float64

    def __len__(self) -> int:
        return len(self.axis)

    def part(self, begin: int, end: int | None = None) -> Rows:
        """The rows from one index up to another."""
        return Rows(self.values[:, begin:end], self.axis[begin:end], self.holes[begin:end])

    def followed_by(self, later: Rows) -> Rows:
        """These rows and later ones."""
        if not len(self):
            return later
        return Rows(
            np.concatenate([self.values, later.values], axis=1),
            np.concatenate([self.axis, later.axis]),
            np.concatenate([self.holes, later.holes]),
        )


def no_rows(channels: int) -> Rows:
    """Nothing yet."""
    return Rows(np.empty((channels, 0)), np.empty(0), np.empty(0))


class Series:
    """Windows of one series. The `axis` of what is pushed is seconds, or the samples' numbers."""

    def __init__(self, policy: InputPolicy, *, timed: bool, first: float) -> None:
        self.policy = policy
        self.first = first
        self.samples = 0
        # Where each channel had its last value: on the axis, and as the sample's number in this series.
        self.last_known: Float64 = np.full(policy.channels, first)
        self.last_known_sample: Float64 = np.zeros(policy.channels)
        self._seen = np.zeros(policy.channels, dtype=bool)
        self._timed = timed
        self._resamples = policy.rate_hz is not None and (timed or policy.source_rate_hz != policy.rate_hz)
        self._raw, self._base, self._ready = (no_rows(policy.channels) for _ in range(3))
        self._released = 0
        self._point = 0
        self._skip = 0

    def push(self, values: Float64, axis: Float64) -> Iterator[Window]:
        """Windows that rows [channels, n] complete."""
        missing = np.isnan(values)
        self._remember_known(missing, axis)
        self.samples += values.shape[1]
        self._raw = self._raw.followed_by(Rows(values, axis, missing.sum(axis=0).astype(np.float64)))
        yield from self._release(self._complete(), final=False)

    def finish(self) -> Iterator[Window]:
        """Windows that waited for what now never comes: gaps at the end hold the last value."""
        if self._seen.all():
            yield from self._release(len(self._raw), final=True)

    def forget_waiting(self) -> int:
        """Drop the rows that wait for a value; returns how many."""
        waiting = len(self._raw) - self._released
        self._raw = self._raw.part(0, self._released)
        return waiting

    @property
    def waiting(self) -> int:
        """How many rows wait for a value."""
        return len(self._raw) - self._released

    def _remember_known(self, missing: npt.NDArray[np.bool_], axis: Float64) -> None:
        for channel, row in enumerate(missing):
            known = np.flatnonzero(~row)
            if len(known):
                self.last_known[channel] = axis[known[-1]]
                self.last_known_sample[channel] = self.samples + known[-1]
                self._seen[channel] = True

    def _complete(self) -> int:
        """How many rows of `raw` can be filled for good."""
        if not self._seen.all():
            return 0
        if not self._raw.holes.any():
            return len(self._raw)
        return min(self._last_known_rows(len(self._raw))) + 1

    def _last_known_rows(self, end: int) -> list[int]:
        """For each channel the last row before `end` that has a value, or row 0."""
        known = [np.flatnonzero(~np.isnan(row)) for row in self._raw.values[:, :end]]
        return [int(rows[-1]) if len(rows) else 0 for rows in known]

    def _release(self, end: int, *, final: bool) -> Iterator[Window]:
        if end <= self._released and not final:
            return
        rows = self._raw
        if end > self._released and rows.holes.any():
            rows = Rows(gaps_filled(rows.values, rows.axis), rows.axis, rows.holes)
        begin, kept = self._released, 0
        if end:
            kept = min(self._last_known_rows(end)) if rows.holes.any() else end - 1
        self._raw, self._released = self._raw.part(kept), end - kept
        yield from self._cut(self._on_time_base(rows.part(begin, end), final=final))

    def _on_time_base(self, rows: Rows, *, final: bool) -> Rows:
        rate_hz = self.policy.rate_hz
        if not self._resamples or rate_hz is None:
            return rows
        self._base = self._base.followed_by(Rows(rows.values, self._since_first(rows.axis), rows.holes))
        if not len(self._base):
            return self._base
        points = self._points(rate_hz, final=final)
        values = interpolated(self._base.values, self._base.axis, points)
        holes = self._base.holes
        if holes.any():
            holes = np.interp(points, self._base.axis, holes)
        made = Rows(values, self.first + points if self._timed else points, holes[: len(points)])
        if not holes.any():
            made.holes = np.zeros(len(points))
        self._point += len(points)
        before = int(np.searchsorted(self._base.axis, self._point / rate_hz, side="right")) - 1
        self._base = self._base.part(max(0, before))
        return made

    def _since_first(self, axis: Float64) -> Float64:
        return axis - self.first if self._timed else axis / known_rate(self.policy.source_rate_hz)

    def _points(self, rate_hz: float, *, final: bool) -> Float64:
        """The points of the time base that now have a row on both sides; at the end those that the span holds."""
        last_s = float(self._base.axis[-1])
        end = grid_count(last_s, rate_hz)
        points: Float64 = np.arange(self._point, end) / rate_hz
        return points if final else points[points <= last_s]

    def _cut(self, rows: Rows) -> Iterator[Window]:
        skipped = min(self._skip, len(rows))
        self._skip -= skipped
        self._ready = self._ready.followed_by(rows.part(skipped))
        size = self.policy.window or 1
        stride = self.policy.stride or size
        begin = 0
        while len(self._ready) - begin >= size:
            yield self._window(self._ready.part(begin, begin + size))
            begin += stride
        self._skip += max(0, begin - len(self._ready))
        self._ready = self._ready.part(min(begin, len(self._ready)))

    def _window(self, rows: Rows) -> Window:
        start_s, end_s = (float(rows.axis[0]), float(rows.axis[-1])) if self._timed else (None, None)
        return Window(equalized(rows.values, self.policy), start_s, end_s, int((rows.holes > 0).sum()))
