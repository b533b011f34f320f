"""Windows of a stream that comes in chunks of any size: those that `to_windows` makes of the whole.

    chunk → leave out what is late → cut at long gaps → series.py: fill, time base, windows

A stream is a row of series, cut where a gap is too long; each gives the windows that `preprocess.to_windows` gives
for it as a recording, to the last bit. What cuts is decided sample by sample, so it does not depend on the chunks:

- timestamps that jump by more than `longest_gap_s`, or fall by more than that (a clock that was set);
- a channel that has been missing for longer than that; the samples of such a gap are left out, and what follows
  begins with a whole sample;
- any missing value, where the policy refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from greenup_runtime.preprocess import Float64, InputPolicy, equalized, known_rate
from greenup_runtime.streams.series import Series, Window

# A gap is filled up to so many samples of the time base, however long a gap was allowed.
_MOST_FILLED = 1_000_000


@dataclass
class GapCounts:
    """What was amiss between samples, and what became of it."""

    missing_values: int = 0
    series: int = 0
    cut_by_jump: int = 0
    cut_by_clock: int = 0
    cut_by_missing: int = 0
    late_samples: int = 0
    left_out_samples: int = 0

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


class StreamWindows:
    """Cuts a stream into windows as a policy says. `push` chunks, then `finish`.

    `policy.window` must be set. `longest_gap_s` 0 means the length of one window; where neither timestamps nor a
    rate tell seconds, it is a window's number of samples. Raises DataFault where the policy asks for a rate and
    the stream has neither timestamps nor a known rate, and where a window does not fit the model's length.
    """

    def __init__(self, policy: InputPolicy, *, timed: bool, longest_gap_s: float = 0.0) -> None:
        if policy.window is None:
            raise ValueError("a stream needs a policy with a window")
        if policy.rate_hz is not None and not timed:
            known_rate(policy.source_rate_hz)
        equalized(np.zeros((policy.channels, policy.window)), policy)
        self.policy = policy
        self.counts = GapCounts()
        self.timed = timed
        self._limit_s = _longest_gap_s(policy, policy.window, longest_gap_s)
        self._gaps_timed = timed and math.isfinite(self._limit_s)
        self._limit_samples = _longest_gap_samples(policy, policy.window, self._limit_s)
        self._last_s = -math.inf
        self._awaits_whole = False
        self._series: Series | None = None

    def push(self, values: Float64, times_s: Float64 | None = None) -> Iterator[Window]:
        """Windows that a chunk [channels, n] completes; NaN is missing, `times_s` [n] are seconds."""
        if (times_s is not None) != self.timed:
            raise ValueError("a stream has timestamps or has none")
        cuts: list[int] = []
        if times_s is not None:
            values, times_s = self._in_order(values, times_s)
            cuts = self._cuts(times_s)
        self.counts.missing_values += int(np.isnan(values).sum())
        for begin, end in pairwise([0, *cuts, values.shape[1]]):
            if begin in cuts:
                yield from self.finish()
            piece = values[:, begin:end], None if times_s is None else times_s[begin:end]
            yield from (self._push_refusing(*piece) if self.policy.missing == "refuse" else self._fill(*piece))

    def finish(self) -> Iterator[Window]:
        """Windows that waited for more samples; the series ends."""
        if self._series is not None:
            yield from self._series.finish()
            self.counts.left_out_samples += self._series.waiting
            self._series = None
        self._awaits_whole = False

    def _in_order(self, values: Float64, times_s: Float64) -> tuple[Float64, Float64]:
        """Leave out what comes late by less than a gap; what is far behind is a clock that was set, and stays."""
        if (np.diff(times_s, prepend=self._last_s) > 0).all():
            return values, times_s
        kept, last_s = [], self._last_s
        for index, time_s in enumerate(times_s):
            if time_s > last_s or last_s - time_s > self._limit_s:
                kept.append(index)
                last_s = float(time_s)
        self.counts.late_samples += len(times_s) - len(kept)
        return values[:, kept], times_s[kept]

    def _cuts(self, times_s: Float64) -> list[int]:
        """Where a jump of the time begins another series."""
        if not len(times_s):
            return []
        steps = np.diff(times_s, prepend=self._last_s)
        self._last_s = float(times_s[-1])
        steps[np.isinf(steps)] = self._limit_s
        back, ahead = np.flatnonzero(steps <= 0), np.flatnonzero(steps > self._limit_s)
        self.counts.cut_by_clock += len(back)
        self.counts.cut_by_jump += len(ahead)
        return sorted(int(cut) for cut in (*back, *ahead))

    def _push_refusing(self, values: Float64, times_s: Float64 | None) -> Iterator[Window]:
        """Every sample with a missing value ends the series and is left out."""
        begin = 0
        for broken in np.flatnonzero(np.isnan(values).any(axis=0)):
            yield from self._extend(values, times_s, begin, int(broken))
            self.counts.left_out_samples += 1
            if self._series is not None:
                self.counts.cut_by_missing += 1
                yield from self.finish()
            begin = int(broken) + 1
        yield from self._extend(values, times_s, begin, values.shape[1])

    def _fill(self, values: Float64, times_s: Float64 | None) -> Iterator[Window]:
        """Let the series fill its gaps, and end it where one is too long."""
        begin = 0
        while begin < values.shape[1]:
            if self._awaits_whole:
                begin += self._skip_to_whole(values[:, begin:])
            cut = self._too_long(values[:, begin:], None if times_s is None else times_s[begin:])
            end = values.shape[1] if cut is None else begin + cut
            yield from self._extend(values, times_s, begin, end)
            if cut is not None and self._series is not None:
                self.counts.cut_by_missing += 1
                self.counts.left_out_samples += self._series.forget_waiting()
                yield from self.finish()
                self._awaits_whole = True
            begin = end

    def _skip_to_whole(self, values: Float64) -> int:
        """How many samples to leave out until one has every value."""
        whole = np.flatnonzero(~np.isnan(values).any(axis=0))
        self._awaits_whole = not len(whole)
        count = int(whole[0]) if len(whole) else values.shape[1]
        self.counts.left_out_samples += count
        return count

    def _too_long(self, values: Float64, times_s: Float64 | None) -> int | None:
        """The first sample at which some channel has been without a value for too long, or None."""
        missing = np.isnan(values)
        if not missing.any():
            return None
        # Without any rate a gap is counted in samples, even where these have times.
        axis = self._axis(values, times_s if self._gaps_timed else None)
        # Before a channel's first value a series counts from its first sample.
        known = np.full(len(values), axis[0])
        if self._series is not None:
            known = self._series.last_known if self._gaps_timed else self._series.last_known_sample
        since = np.maximum.accumulate(np.where(missing, known[:, None], axis), axis=1)
        limit = self._limit_s if self._gaps_timed else self._limit_samples
        late = np.flatnonzero((missing & (axis - since > limit)).any(axis=0))
        return int(late[0]) if len(late) else None

    def _axis(self, values: Float64, times_s: Float64 | None) -> Float64:
        if times_s is not None:
            return times_s
        before = self._series.samples if self._series is not None else 0
        return np.arange(before, before + values.shape[1], dtype=np.float64)

    def _extend(self, values: Float64, times_s: Float64 | None, begin: int, end: int) -> Iterator[Window]:
        if end <= begin:
            return
        rows = values[:, begin:end]
        axis = self._axis(rows, None if times_s is None else times_s[begin:end])
        if self._series is None:
            self._series = Series(self.policy, timed=self.timed, first=float(axis[0]))
            self.counts.series += 1
        yield from self._series.push(rows, axis)


def _longest_gap_s(policy: InputPolicy, window: int, longest_gap_s: float) -> float:
    rate_hz = policy.rate_hz or policy.source_rate_hz
    limit_s = longest_gap_s or (window / rate_hz if rate_hz else math.inf)
    return min(limit_s, _MOST_FILLED / policy.rate_hz) if policy.rate_hz else limit_s


def _longest_gap_samples(policy: InputPolicy, window: int, limit_s: float) -> float:
    known = policy.source_rate_hz is not None and math.isfinite(limit_s)
    return limit_s * known_rate(policy.source_rate_hz) if known else float(window)
