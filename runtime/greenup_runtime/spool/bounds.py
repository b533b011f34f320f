"""How much a spool may hold, and a clock that says how old its records are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

# So much of a bound is freed at once, so that not every append into a full spool drops a record or two.
SLACK = 50
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Bounds:
    """What waits at most: so many records, so many bytes, for so long while the device runs."""

    max_records: int = 200_000
    max_bytes: int = 64 << 20
    max_age_s: float = 30 * 86_400.0

    def records_to_drop(self, held: int) -> int:
        """How many of the oldest must go; one more record, which says so, then fits."""
        if held <= self.max_records:
            return 0
        return min(held, held + 1 - self.max_records + self.max_records // SLACK)

    def bytes_to_drop(self, held: int) -> int:
        """How many bytes of the oldest must go."""
        return held - self.max_bytes + self.max_bytes // SLACK if held > self.max_bytes else 0


@dataclass(frozen=True)
class RunningClock:
    """Seconds that the device ran since the spool began, whatever its wall clock did meanwhile.

    A board without a battery starts in the past and jumps when the network tells it the time; a week in a
    drawer fills no spool. Neither may cost a record, so age is counted in the time that the kernel ran.
    """

    total_s: float
    boot: str
    boot_s: float

    def now(self) -> RunningClock:
        """The same clock at this moment."""
        boot, boot_s = _boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME)
        passed_s = boot_s - self.boot_s if boot == self.boot else boot_s
        return RunningClock(self.total_s + max(0.0, passed_s), boot, boot_s)


def started() -> RunningClock:
    """A clock that begins now."""
    return RunningClock(0.0, _boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME))


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"
