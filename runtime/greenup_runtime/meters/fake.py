"""A simulated machine whose joules are known, for demonstrations and tests; always marked `simulated`.

Power is `idle_w`, plus `active_w` while this process computes. `--meter fake:idle_w=2,active_w=3` sets both.
"""

from __future__ import annotations

import math

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.trial import MeterFacts

DEFAULTS = {"idle_w": 2.0, "active_w": 3.0}


class FakeMeter:
    """Counter of simulated joules: idle power all the time, active power in CPU time of this process."""

    def __init__(self, clock: Clock, idle_w: float = 2.0, active_w: float = 3.0) -> None:
        self._clock = clock
        self._idle_w = idle_w
        self._active_w = active_w
        self._start = (clock.now(), clock.cpu())
        self.facts = MeterFacts(
            name="fake",
            kind="counter",
            scope="simulated board",
            source=f"simulation: {idle_w:g} W idle, {active_w:g} W more while busy",
            update_s=1e-6,
            simulated=True,
        )

    def read(self) -> float:
        """Simulated joules since the meter was opened."""
        wall_s = self._clock.now() - self._start[0]
        return self._idle_w * wall_s + self._active_w * (self._clock.cpu() - self._start[1])

    def close(self) -> None:
        """Nothing is held open."""


def open_meter(options: MeterOptions) -> FakeMeter:
    """Build the simulation that the argument describes. Raises MeterFault for an argument it cannot read."""
    values = dict(DEFAULTS)
    try:
        for part in filter(None, (options.argument or "").split(",")):
            key, _, number = part.partition("=")
            if key not in values:
                raise ValueError(f"there is no {key!r}")
            values[key] = _watts(key, number)
    except ValueError as error:
        raise MeterFault(
            f"fake meter cannot read {options.argument!r}: {error}", "write fake:idle_w=2,active_w=3 (watts)"
        ) from error
    return FakeMeter(options.clock, **values)


def _watts(key: str, number: str) -> float:
    watts = float(number)
    if not math.isfinite(watts) or watts < 0:
        raise ValueError(f"{key} is {watts:g}, watts are 0 or more and finite")
    return watts
