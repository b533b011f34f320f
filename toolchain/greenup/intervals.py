"""95 % intervals: of a share, of a mean, of a ratio, of a median.

One observation is one round of a trial, never one inference: inferences of a burst share the machine's
state, so their number says nothing about how well a figure is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from greenup.result import Accuracy, Interval
from greenup_runtime.errors import DataFault

CONFIDENCE = 0.95
MIN_VALUES = 3
_UPPER = 0.5 + CONFIDENCE / 2


def wilson(right: int, n: int) -> Accuracy:
    """Share of right labels with its Wilson score interval (Wilson, JASA 22, 1927).

    Raises DataFault where there are no cases to judge by.
    """
    if n < 1:
        raise DataFault("no cases to compute an accuracy on", "give the split at least one case")
    share = right / n
    z = float(stats.norm.ppf(_UPPER))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At no or all labels right the bound is the share itself, up to the last digit.
    return Accuracy(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def t_interval(values: Sequence[float], slack: float = 0.0) -> Interval | None:
    """Mean of the values with Student's t interval; None for fewer than three values.

    `slack` is added on both sides: an error that all values share, so that no repetition shows it.
    """
    if len(values) < MIN_VALUES:
        return None
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    quantile = float(stats.t.ppf(_UPPER, sample.size - 1))
    half = quantile * float(sample.std(ddof=1)) / math.sqrt(sample.size) + slack
    return Interval(mean, mean - half, mean + half)


def ratio_interval(log_ratios: Sequence[float], slack: float = 0.0) -> Interval | None:
    """Geometric mean of ratios with the t interval of their logarithms; None for fewer than three.

    `slack` is on the scale of the logarithms, so it is a share of the ratio.
    """
    logs = t_interval(log_ratios, slack)
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high)) if logs else None


def welch_ratio(over: Sequence[float], under: Sequence[float], slack: float = 0.0) -> Interval | None:
    """Ratio of two geometric means from unpaired logarithms with Welch's interval; None for fewer than three."""
    if min(len(over), len(under)) < MIN_VALUES:
        return None
    first, second = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    middle = float(first.mean() - second.mean())
    parts = [float(side.var(ddof=1)) / side.size for side in (first, second)]
    total = sum(parts)
    half = slack
    if total > 0:
        freedom = total**2 / sum(
            part**2 / (n - 1) for part, n in zip(parts, (first.size, second.size), strict=True)
        )
        half += float(stats.t.ppf(_UPPER, freedom)) * math.sqrt(total)
    return Interval(math.exp(middle), math.exp(middle - half), math.exp(middle + half))


def median_interval(values: Sequence[float]) -> Interval | None:
    """Median of positive values, between the two order statistics that hold it with at least 95 %.

    This needs no assumption on the distribution but six values (David & Nagaraja, Order Statistics, 2003,
    7.1). Three to five values get the t interval of their logarithms instead, fewer get None.
    """
    if len(values) < MIN_VALUES:
        return None
    ordered = sorted(values)
    rank = int(stats.binom.ppf(1 - _UPPER, len(ordered), 0.5))
    middle = float(np.median(ordered))
    if rank >= 1:
        return Interval(middle, ordered[rank - 1], ordered[-rank])
    mean = ratio_interval([math.log(value) for value in ordered])
    return Interval(middle, mean.low, mean.high) if mean else None
