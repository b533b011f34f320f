"""A power meter made of rails: each is read, those that count are summed, and nothing old passes as new."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import StaleReading
from greenup_runtime.meters.sysfs import MOST_W
from greenup_runtime.trial import MeterFacts

ReadWatts = Callable[[], float]
ReadRails = Callable[[Iterable[str]], Mapping[str, float]]


class RailsMeter:
    """Watts now, summed over `facts.rails`; `shown` may name more, which `read_rails` shows only.

    `read_named` gives the watts of the rails it is asked for. A sensor without a ready flag repeats its last
    value until the next conversion: the same values again within half of `facts.update_s` raise StaleReading.
    After a whole one they are new and happen to be the same; to drop those would favour power that changes. With
    `has_ready_flag` it is `read_named` that raises.
    """

    def __init__(
        self,
        facts: MeterFacts,
        read_named: ReadRails,
        clock: Clock,
        *,
        shown: tuple[str, ...] = (),
        warning: str | None = None,
        has_ready_flag: bool = False,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.facts = facts
        self.warning = warning
        self._read_named = read_named
        self._clock = clock
        self._shown = shown or facts.rails
        self._last: tuple[float, Mapping[str, float]] | None = None
        self._has_ready_flag = has_ready_flag
        self._close = close

    def read(self) -> float:
        """Watts now. Raises StaleReading where there is nothing new, MeterFault where a rail cannot be read."""
        values = self._values(self.facts.rails)
        now_s = self._clock.now()
        if not self._has_ready_flag and self._last is not None:
            last_s, last = self._last
            if values == last and now_s - last_s < self.facts.update_s / 2:
                raise StaleReading(f"{self.facts.name} has no new value yet")
        self._last = (now_s, values)
        return plausible(self.facts.name, sum(values.values()))

    def read_rails(self) -> dict[str, float]:
        """Watts of every rail now, with those that are not summed."""
        return self._values(self._shown)

    def close(self) -> None:
        """Give back what the rails are read through; a second call does nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _values(self, names: Iterable[str]) -> dict[str, float]:
        return {name: plausible(name, value) for name, value in self._read_named(names).items()}


def each(rails: Mapping[str, ReadWatts]) -> ReadRails:
    """Read rails that have a function each."""
    return lambda names: {name: rails[name]() for name in names}


def pick(values: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    """The rails asked for, of those that came at once. Raises MeterFault where one did not come."""
    wanted = tuple(names)
    if missing := [name for name in wanted if name not in values]:
        raise MeterFault(f"the sensor did not show {', '.join(missing)} this time")
    return {name: values[name] for name in wanted}


def plausible(name: str, power_w: float) -> float:
    """The power if a board can have it. Raises MeterFault if it is negative, endless or beyond a kilowatt."""
    if not math.isfinite(power_w) or not 0.0 <= power_w <= MOST_W:
        raise MeterFault(f"{name} cannot be right: {power_w:g} W")
    return power_w
