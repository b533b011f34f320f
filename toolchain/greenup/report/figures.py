"""Figures as text: one unit per column, and as many digits as the interval allows.

A digit far below an interval's width says nothing, so the width decides how many are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from greenup.result import Interval

NONE = "—"


class Unit(NamedTuple):
    """A unit by its name, and how many of it make one SI unit."""

    name: str
    per_si: float


class Shown(NamedTuple):
    """A figure and its 95 % interval as text; the interval is empty where the figure has none."""

    value: str
    span: str = ""

    def joined(self) -> str:
        """Both on one line."""
        return f"{self.value} ({self.span})" if self.span else self.value


PLAIN = Unit("", 1.0)
PERCENT = Unit("%", 100.0)
_PREFIXES = (("", 1.0), ("m", 1e3), ("µ", 1e6), ("n", 1e9))


def common_unit(symbol: str, values: Iterable[float]) -> Unit:
    """The prefixed unit in which the smallest positive value is at least 1, for a whole column."""
    smallest = min((value for value in values if value > 0), default=1.0)
    prefix, factor = next((pair for pair in _PREFIXES if smallest * pair[1] >= 1), _PREFIXES[-1])
    return Unit(f"{prefix}{symbol}", factor)


def show(interval: Interval | None, unit: Unit = PLAIN, most: int = 3, least: int = 0) -> Shown:
    """A figure in a unit, with `least` to `most` decimals: two digits of the interval's half width."""
    if interval is None:
        return Shown(NONE)
    value, low, high = (unit.per_si * each for each in (interval.value, interval.low, interval.high))
    decimals = min(most, max(least, _decimals((high - low) / 2 or value / 100)))
    return Shown(f"{value:.{decimals}f}", f"{low:.{decimals}f}–{high:.{decimals}f}")


def ratio(interval: Interval | None) -> Shown:
    """A Speedup, Greenup or Powerup."""
    return show(interval, most=3, least=2)


def percent(interval: Interval) -> Shown:
    """A share in percent, with one decimal."""
    return show(interval, PERCENT, most=1, least=1)


def size(size_bytes: int) -> str:
    """A file's size in kB or MB of 1000."""
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def count(number: int) -> str:
    """A count with thin groups of three digits."""
    return f"{number:,}"


def _decimals(width: float) -> int:
    return 1 - math.floor(math.log10(width)) if width > 0 else 0
