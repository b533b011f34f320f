"""What to measure and how long: the plan of a trial as the host sends it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from greenup_runtime.errors import UsageFault
from greenup_runtime.trial import MeterFacts

UPDATES_PER_BURST = 100


@dataclass(frozen=True)
class Plan:
    """What to measure and how; `precision` is the wanted half-width of a ratio's interval, as a share.

    `burst_s` is raised so that a burst holds 100 of the meter's updates, up to `max_burst_s`. The warm-up goes
    on until the board's temperature is steady, up to `max_warmup_s`. With `pace_hz` every round also runs each
    variant at that rate with idle between. With `pattern` a load pattern is played before and after, by which
    an external meter of `pattern_hz` readings a second is aligned.
    """

    variants: tuple[str, ...]
    burst_s: float = 0.3
    warmup_s: float = 1.0
    pilot_rounds: int = 8
    max_rounds: int = 40
    precision: float = 0.02
    threads: int = 1
    seed: int = 0
    meter: str = "auto"
    max_burst_s: float = 30.0
    max_warmup_s: float = 60.0
    pace_hz: float | None = None
    pattern: bool = False
    pattern_hz: float = 10.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Read a plan as the host sends it. Raises UsageFault for a key it does not know or lacks."""
        try:
            return cls(**{**values, "variants": tuple(values["variants"])})
        except (TypeError, KeyError) as error:
            raise UsageFault(
                f"the plan of the measurement cannot be read: {error}", "host and runner differ in version"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """As the host sends it and as it stands in a trial."""
        return {**asdict(self), "variants": list(self.variants)}

    def burst_length_s(self, meter: MeterFacts | None) -> float:
        """Seconds of a burst: enough for 100 updates of the meter that watches, within the plan's bounds."""
        needed_s = UPDATES_PER_BURST / self.pattern_hz if self.pattern else 0.0
        if meter is not None and not meter.estimated:
            # What a power reading trails behind is left out at the burst's start, so it is added.
            trailing_s = meter.lag_s + 2 * meter.update_s if meter.kind == "power" else 0.0
            needed_s = max(needed_s, UPDATES_PER_BURST * meter.update_s + trailing_s)
        return max(self.burst_s, min(self.max_burst_s, needed_s))

    def paced_length_s(self, burst_s: float) -> float | None:
        """Seconds of a paced window: whole periods, at least as long as a burst; None where that is too long."""
        if self.pace_hz is None:
            return None
        length_s = max(1, math.ceil(burst_s * self.pace_hz - 1e-9)) / self.pace_hz
        return length_s if length_s <= max(self.max_burst_s, 2 * burst_s) else None
