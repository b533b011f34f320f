"""RAPL through the kernel's powercap tree: joules of the processor packages.

The counter of a package moves about every millisecond and starts again at 0 after `max_energy_range_uj`
(minutes at high power), so it must be read at least once in that time; each read adds what passed since the
last. Since 2020 the file is readable by root only.

Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from pathlib import Path

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.trial import MeterFacts

UPDATE_S = 0.001
_TREE = Path("sys/class/powercap")
_PERMISSION_HINT = (
    "run the runner as root, or let a group read it with a udev rule: "
    'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/chmod -R g+r,o-w /sys%p", RUN+="/bin/chgrp -R power /sys%p"'
)


class RaplMeter:
    """Sum over all package zones, in joules since opening; wraps are undone by each zone's own range."""

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._ranges_uj = [_read_uj(zone / "max_energy_range_uj") for zone in zones]
        self._last_uj = [_read_uj(zone / "energy_uj") for zone in zones]
        self._total_uj = 0
        self.facts = MeterFacts(
            name="rapl",
            kind="counter",
            scope="package",
            source=f"RAPL, {len(zones)} package zone{'s' if len(zones) > 1 else ''} (powercap)",
            update_s=UPDATE_S,
            resolution=1e-6,
        )

    def read(self) -> float:
        """Joules since the meter was opened."""
        for index, zone in enumerate(self._zones):
            now_uj = _read_uj(zone / "energy_uj")
            step = now_uj - self._last_uj[index]
            if step < 0:
                step += self._ranges_uj[index] + 1
            if step < 0:
                raise MeterFault(f"{zone.name} counts outside its own range", "report this board to greenup")
            self._total_uj += step
            self._last_uj[index] = now_uj
        return self._total_uj / 1e6

    def close(self) -> None:
        """Nothing is held open."""


def open_meter(options: MeterOptions) -> RaplMeter:
    """Find the package zones below the root. Raises MeterFault where there are none or they may not be read."""
    zones = _package_zones(options.root / _TREE)
    if not zones:
        raise MeterFault(
            "no RAPL: this kernel has no powercap package zone", "virtual machines and ARM boards have none"
        )
    return RaplMeter(zones)


def _package_zones(tree: Path) -> list[Path]:
    found = []
    # The zones are links; intel-rapl-mmio repeats the same packages and would count them twice.
    for zone in sorted(tree.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
        except OSError:
            continue
        if name.startswith("package"):
            found.append(zone)
    return found


def _read_uj(path: Path) -> int:
    try:
        return int(path.read_text())
    except PermissionError as error:
        raise MeterFault(f"no right to read {path}", _PERMISSION_HINT) from error
    except (OSError, ValueError) as error:
        raise MeterFault(f"{path} cannot be read: {error}") from error
