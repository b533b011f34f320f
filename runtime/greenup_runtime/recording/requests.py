"""Requests as columns, from the moment they were served until their energy is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from greenup_runtime.attribution import METHODS, BoolArray, IntArray, Parts
from greenup_runtime.trial import FloatArray

# What `served` puts into the queue: bundle, variant, began_s, ended_s, windows, number.
Served = tuple[str, str, float, float, int, int]
# Which word stands for a request of several parts: the weakest of theirs, the lower the rank the weaker.
_RANK = np.array([METHODS.index(name) for name in ("none", "apportioned", "trace", "counter")])


@dataclass
class Requests:
    """Columns with the shape [requests].

    `key` is the place of (bundle, variant) in a list; energies are sums over the periods so far, in joules;
    `covered_s` is coverage times busy seconds; `rank` is the weakest method so far; `reason` points into a list, 0
    for none; `fresh` marks what no period has seen yet.
    """

    key: IntArray
    began_s: FloatArray
    ended_s: FloatArray
    windows: IntArray
    number: IntArray
    energy_j: FloatArray
    low_j: FloatArray
    high_j: FloatArray
    covered_s: FloatArray
    rank: IntArray
    reason: IntArray
    fresh: BoolArray

    def __len__(self) -> int:
        return len(self.key)

    @property
    def latency_s(self) -> FloatArray:
        """Seconds from beginning to end."""
        return self.ended_s - self.began_s

    @property
    def known(self) -> BoolArray:
        """Which have an energy."""
        return np.asarray(self.reason == 0)

    @property
    def method(self) -> IntArray:
        """Each one's method as a place in METHODS."""
        return np.asarray(np.where(self.known, _RANK[self.rank], 0))

    def pick(self, which: BoolArray | IntArray) -> Requests:
        """Some of them."""
        return Requests(*(getattr(self, field.name)[which] for field in fields(self)))

    def add(self, parts: Parts, lengths_s: FloatArray, why: int) -> None:
        """Their parts of one period, so many seconds of each; `why` is the reason of those that got none."""
        got = parts.method > 0
        self.energy_j += np.where(got, parts.energy_j, 0.0)
        self.low_j += np.where(got, parts.low_j, 0.0)
        self.high_j += np.where(got, parts.high_j, 0.0)
        self.covered_s += np.where(got, parts.coverage, 0.0) * lengths_s
        self.rank = np.minimum(self.rank, np.argsort(_RANK)[parts.method])
        self.reason = np.where(~got & (self.reason == 0), why, self.reason)
        self.fresh[:] = False


def joined(first: Requests, second: Requests) -> Requests:
    """Both, one after the other."""
    return Requests(*(np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(first)))


def of_served(served: Sequence[Served], keys: dict[tuple[str, str], int]) -> Requests:
    """Columns of what was taken from the queue; new pairs of bundle and variant get a place in `keys`."""
    count = len(served)
    if not count:
        return _fresh(np.zeros((5, 0)))
    bundles, variants, began, ended, windows, numbers = zip(*served, strict=True)
    if bundles.count(bundles[0]) == count == variants.count(variants[0]):
        places: object = np.full(count, keys.setdefault((bundles[0], variants[0]), len(keys)))
    else:
        places = [keys.setdefault(pair, len(keys)) for pair in zip(bundles, variants, strict=True)]
    return _fresh(np.array([places, began, ended, windows, numbers], dtype=np.float64))


def _fresh(columns: FloatArray) -> Requests:
    count = columns.shape[1]
    key, began, ended, windows, number = columns
    return Requests(
        key=key.astype(np.int64),
        began_s=began,
        ended_s=ended,
        windows=windows.astype(np.int64),
        number=number.astype(np.int64),
        energy_j=np.zeros(count),
        low_j=np.zeros(count),
        high_j=np.zeros(count),
        covered_s=np.zeros(count),
        rank=np.full(count, len(METHODS) - 1),
        reason=np.zeros(count, dtype=np.int64),
        fresh=np.ones(count, dtype=bool),
    )
