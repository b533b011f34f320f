"""Percentiles of latencies without keeping them: buckets that grow by 2 % each, so each is known to 1 %."""

from __future__ import annotations

import math

import numpy as np

from greenup_runtime.trial import FloatArray

_FIRST_S, _GROWTH = 1e-6, math.log(1.02)
# Up to more than an hour; what is longer counts in the last bucket.
_BUCKETS = 1_120


class Latencies:
    """Latencies in seconds, added up."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, dtype=np.int64)
        self.count = 0
        self.sum_s = 0.0
        self.max_s = 0.0

    def add(self, latency_s: FloatArray) -> None:
        """Count some more, with the shape [requests]; at least one."""
        places = np.log(np.maximum(latency_s, _FIRST_S) / _FIRST_S) / _GROWTH
        self._counts += np.bincount(np.minimum(places.astype(np.int64), _BUCKETS - 1), minlength=_BUCKETS)
        self.count += len(latency_s)
        self.sum_s += float(latency_s.sum())
        self.max_s = max(self.max_s, float(latency_s.max()))

    def quantile(self, share: float) -> float:
        """The latency in seconds that so large a share does not exceed, to 1 %; never more than the longest."""
        place = int(np.searchsorted(np.cumsum(self._counts), math.ceil(share * self.count)))
        return min(self.max_s, _FIRST_S * math.exp((place + 0.5) * _GROWTH))
