"""What every meter offers.

A meter is opened by its module's `open_meter`, which raises MeterFault with the reason where this device has
none, and is then read as often as its facts say is worth it. A counter returns joules since it was opened; a
power meter watts at this moment. A meter never returns a guess: what cannot be read raises MeterFault, and a
sensor that has not finished a new conversion since it was last read raises StaleReading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from greenup_runtime.clock import Clock, SystemClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.trial import MeterFacts


class StaleReading(MeterFault):
    """The sensor has nothing new yet: the value would be the last one again, at a time that it is not of."""


class Meter(Protocol):
    """A source of energy or power on the device."""

    facts: MeterFacts

    def read(self) -> float:
        """Joules since the meter was opened (counter) or watts now (power)."""
        ...

    def close(self) -> None:
        """Give back what the meter holds."""
        ...


@runtime_checkable
class HasRails(Protocol):
    """A meter that can also show its parts: those it sums, and those that it only shows."""

    def read_rails(self) -> dict[str, float]:
        """Joules since opening (counter) or watts now (power), by the rail's name."""
        ...


@dataclass(frozen=True)
class MeterOptions:
    """Where and how to look for a meter.

    `root` is the folder below which sysfs, procfs and devices are read; `estimate` holds the target's power
    coefficients; `settings` the target's tables by meter (`{"ina": {"shunt_ohm": 0.1}}`); `argument` is what
    stood behind the colon of `--meter name:argument`.
    """

    root: Path = Path("/")
    estimate: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    argument: str | None = None
    clock: Clock = field(default_factory=SystemClock)

    def table(self, name: str) -> dict[str, Any]:
        """The target's settings of one meter; empty where it gives none. Raises MeterFault if not a table."""
        table = self.settings.get(name, {})
        if not isinstance(table, dict):
            raise MeterFault(f"the settings of {name} are not a table", f"write [meters.{name}] in the target")
        return dict(table)


def warning_of(meter: Meter) -> str | None:
    """What a user should know before trusting a meter's figures, or None."""
    return getattr(meter, "warning", None)
