"""A power meter made of rails: each is read, those that count are summed, and nothing old passes as new."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import StaleReading
from greenup_runtime.meters.sysfs import MOST_W
from greenup_runtime.trial import MeterFacts

ReadWatts = Callable[[], float]


class RailsMeter:
    """Watts now, summed over `facts.rails`; `rails` may hold more, which are shown only.

    A sensor without a ready flag repeats its last value until the next conversion: the same values again within
    `facts.update_s` raise StaleReading. With `has_ready_flag` the rails' own functions do that.
    """

    def __init__(
        self,
        facts: MeterFacts,
        rails: Mapping[str, ReadWatts],
        clock: Clock,
        *,
        warning: str | None = None,
        has_ready_flag: bool = False,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.facts = facts
        self.warning = warning
        self._rails = rails
        self._clock = clock
        self._last: tuple[float, tuple[float, ...]] | None = None
        self._has_ready_flag = has_ready_flag
        self._close = close

    def read(self) -> float:
        """Watts now. Raises StaleReading where there is nothing new, MeterFault where a rail cannot be read."""
        values = tuple(plausible(name, self._rails[name]()) for name in self.facts.rails)
        now_s = self._clock.now()
        if not self._has_ready_flag and self._last is not None:
            last_s, last = self._last
            if values == last and now_s - last_s < self.facts.update_s:
                raise StaleReading(f"{self.facts.name} has no new value yet")
        self._last = (now_s, values)
        return sum(values)

    def read_rails(self) -> dict[str, float]:
        """Watts of every rail now."""
        return {name: plausible(name, read()) for name, read in self._rails.items()}

    def close(self) -> None:
        """Give back what the rails are read through; a second call does nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()


def plausible(name: str, power_w: float) -> float:
    """The power if a board can have it. Raises MeterFault if it is negative, endless or beyond a kilowatt."""
    if not math.isfinite(power_w) or not 0.0 <= power_w <= MOST_W:
        raise MeterFault(f"{name} cannot be right: {power_w:g} W")
    return power_w
