"""No sensor: joules as CPU time times the target's coefficients, always marked `estimated`.

The result repeats the run time by construction, so nothing is ever compared with it; it exists so that a user
without a meter sees an order of magnitude and is told that it is no more than that.
"""

from __future__ import annotations

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.trial import MeterFacts


class EstimateMeter:
    """`active_w_per_core` × CPU time of this process + `idle_w` × time."""

    def __init__(self, active_w_per_core: float, idle_w: float, source: str, clock: Clock) -> None:
        self._active_w = active_w_per_core
        self._idle_w = idle_w
        self._clock = clock
        self._start = (clock.now(), clock.cpu())
        self.facts = MeterFacts(
            name="estimate",
            kind="counter",
            scope="process",
            source=f"CPU time × {active_w_per_core:g} W per core + {idle_w:g} W idle ({source})",
            update_s=1e-6,
            estimated=True,
        )

    def read(self) -> float:
        """Estimated joules since the meter was opened."""
        wall_s = self._clock.now() - self._start[0]
        cpu_s = self._clock.cpu() - self._start[1]
        return self._active_w * cpu_s + self._idle_w * wall_s

    def close(self) -> None:
        """Nothing is held open."""


def open_meter(options: MeterOptions) -> EstimateMeter:
    """Take the coefficients from the target. Raises MeterFault where it gives none."""
    try:
        return EstimateMeter(
            active_w_per_core=float(options.estimate["active_w_per_core"]),
            idle_w=float(options.estimate["idle_w"]),
            source=str(options.estimate["source"]),
            clock=options.clock,
        )
    except KeyError as error:
        raise MeterFault(
            f"no estimate: the target gives no {error.args[0]}",
            "add an [estimate] table to the target's TOML",
        ) from error
