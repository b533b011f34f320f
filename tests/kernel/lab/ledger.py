"""The truth that the plant wrote down, and what of it fell into a window of time."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def pairs(packed: str) -> FloatArray:
    """Pairs of numbers as the machine sends them, with the shape [n, 2]."""
    return np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=np.float64).reshape(-1, 2)


def energy_j(ledger: FloatArray, start_s: float, end_s: float) -> float:
    """Joules between two instants. Each row holds (seconds, watts from then on); the last one holds for ever."""
    times, watts = ledger[:, 0], ledger[:, 1]
    assert times[0] <= start_s <= end_s
    edges = np.concatenate([[start_s], times[(times > start_s) & (times < end_s)], [end_s]])
    index = np.searchsorted(times, edges[:-1], side="right") - 1
    return float(np.sum(watts[index] * np.diff(edges)))
