"""RAPL through the kernel's powercap tree: joules of the processor, or of the whole platform.

    intel-rapl:0  package-0          ┐ summed, unless psys is there
    intel-rapl:0:0  core             │ part of the package: shown, never summed
    intel-rapl:0:1  uncore           │ part of the package: shown, never summed
    intel-rapl:0:2  dram             ┘ beside the package: summed
    intel-rapl:1  psys                 the whole platform: then it alone is the sum

AMD's processors use the same names; packages of several dies have a zone per die (`package-0-die-1`).
`intel-rapl-mmio` repeats the same packages and is left out. `rapl:packages` or `rapl:psys` chooses.

A counter moves about every millisecond and starts again at 0 after `max_energy_range_uj` (a minute to hours,
by power), so it must be read at least once in that time; each reading adds what passed since the last. A fall
that would mean more than a kilowatt is no wrap but a counter that was reset: its past is lost, and the meter says
so from then on. Since 2020 the files are readable by root only.

Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.meters.sysfs import MOST_W, name_in, read_int
from greenup_runtime.trial import MeterFacts

UPDATE_S = 0.001
# The files show microjoules, the chip counts in larger steps: 61 µJ (Intel) or 15.3 µJ (AMD).
STEP_J = 61e-6
READERS = "power"
UDEV_RULE_FILE = "/etc/udev/rules.d/70-greenup-powercap.rules"
UDEV_RULE = (
    'ACTION=="add|change", SUBSYSTEM=="powercap", KERNEL=="intel-rapl:*", '
    f'RUN+="/bin/chgrp {READERS} /sys%p/energy_uj", RUN+="/bin/chmod g+r /sys%p/energy_uj"'
)
_HINT = f"run as root, or let the group `{READERS}` read it: `greenup doctor --fix` shows or writes the udev rule"
_TREE = Path("sys/class/powercap")
_MOST_UJ = 2**63
_GRACE_S = 0.05
_COVERAGES = ("packages", "psys")


@dataclass(frozen=True)
class Zone:
    """One powercap zone; `label` is its name, with its package's before it for a part."""

    folder: Path
    name: str
    label: str

    @property
    def summed_with_packages(self) -> bool:
        """Whether its joules are not in another zone's already."""
        return self.name.startswith("package") or self.name == "dram"


class Counter:
    """Joules of one zone since opening, with wraps undone by the zone's own range."""

    def __init__(self, zone: Zone, clock: Clock) -> None:
        self._file = zone.folder / "energy_uj"
        self._label = zone.label
        self._clock = clock
        self._range_uj = read_int(zone.folder / "max_energy_range_uj", least=1, most=_MOST_UJ, hint=_HINT)
        self._last_uj = self._position()
        self._last_s = clock.now()
        self._total_uj = 0
        self._lost = False

    @property
    def moved_before(self) -> bool:
        """Whether the counter stood above 0 when it was opened: one that never moves is not connected."""
        return self._last_uj > 0

    def joules(self) -> float:
        """Joules since opening. Raises MeterFault where the counter cannot be read or was reset."""
        if self._lost:
            raise MeterFault(f"{self._label}: the counter was reset; what passed before is lost", "open it again")
        now_uj, now_s = self._position(), self._clock.now()
        step_uj = now_uj - self._last_uj
        if step_uj < 0:
            step_uj += self._range_uj + 1
            most_uj = MOST_W * (now_s - self._last_s + _GRACE_S) * 1e6
            if step_uj > most_uj:
                self._lost = True
                return self.joules()
        self._total_uj += step_uj
        self._last_uj, self._last_s = now_uj, now_s
        return self._total_uj / 1e6

    def _position(self) -> int:
        return read_int(self._file, most=self._range_uj, hint=_HINT)


class RaplMeter:
    """Joules since opening, summed over the zones that do not contain one another."""

    def __init__(self, counters: dict[str, Counter], summed: tuple[str, ...], scope: str) -> None:
        self._counters = counters
        self.facts = MeterFacts(
            name="rapl",
            kind="counter",
            scope=scope,
            source=f"RAPL, {' + '.join(summed)} (powercap)",
            update_s=UPDATE_S,
            resolution=len(summed) * STEP_J,
            rails=summed,
        )

    def read(self) -> float:
        """Joules since the meter was opened."""
        return sum(self._counters[label].joules() for label in self.facts.rails)

    def read_rails(self) -> dict[str, float]:
        """Joules of every zone since the meter was opened, parts of packages included."""
        return {label: counter.joules() for label, counter in self._counters.items()}

    def close(self) -> None:
        """Nothing is held open."""


def open_meter(options: MeterOptions) -> RaplMeter:
    """Find the zones below the root. Raises MeterFault where there are none or they may not be read."""
    found = zones(options.root)
    counters = {zone.label: Counter(zone, options.clock) for zone in found}
    psys = tuple(zone.label for zone in found if zone.name == "psys" and counters[zone.label].moved_before)
    packages = tuple(zone.label for zone in found if zone.summed_with_packages)
    asked = options.argument or options.table("rapl").get("sum")
    if asked is not None and asked not in _COVERAGES:
        raise MeterFault(f"rapl cannot sum {asked!r}", f"write one of: {', '.join(_COVERAGES)}")
    if psys and asked != "packages":
        return RaplMeter(counters, psys, "platform")
    if asked == "psys" or not packages:
        raise MeterFault(f"no RAPL zone of the {asked or 'packages'} here", f"there are: {', '.join(counters)}")
    memory = any(zone.name == "dram" for zone in found)
    return RaplMeter(counters, packages, "package + memory" if memory else "package")


def zones(root: Path) -> list[Zone]:
    """Every zone of the processor's own RAPL. Raises MeterFault where the kernel shows none."""
    folders = sorted((root / _TREE).glob("intel-rapl:*"))
    named = {folder.name: name for folder in folders if (name := name_in(folder)) is not None}
    if folders and not named:
        raise MeterFault(
            "no RAPL: the powercap zones are hidden", "container engines mask them: bind /sys below --root"
        )
    if not named:
        raise MeterFault(
            "no RAPL: this kernel has no powercap package zone", "virtual machines and ARM boards have none"
        )
    found = []
    for folder in folders:
        if (name := named.get(folder.name)) is not None:
            # intel-rapl:0:2 is a part of intel-rapl:0.
            parent = named.get(folder.name.rpartition(":")[0])
            found.append(Zone(folder, name, f"{parent}/{name}" if parent else name))
    return found
