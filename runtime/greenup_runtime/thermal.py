"""How warm, how fast and how free the board is: thermal zones, frequencies, throttling; all below a root.

Throttling is told by counters of the kernel (`thermal_throttle`, x86) and by the firmware's flags on a Raspberry
Pi: bits 0 to 3 mean now, bits 16 to 19 mean since boot (Raspberry Pi documentation, `vcgencmd get_throttled`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from greenup_runtime import vcgencmd
from greenup_runtime.errors import MeterFault

_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_BOOT = 16
_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
_COUNTERS = "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
_ZONES = "sys/class/thermal/thermal_zone*"
_FREQUENCIES = "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"
# Zones that follow the silicon; where none is named so, the warmest of all is taken.
_CPU_ZONES = ("cpu", "x86_pkg", "soc", "tj")


@dataclass(frozen=True)
class Conditions:
    """The board at one moment. What it does not tell is None or empty."""

    temperature_c: float | None = None
    frequency_hz: float | None = None
    throttle_counts: int = 0
    flags: int = 0
    zones_c: dict[str, float] = field(default_factory=dict)


class Probe(Protocol):
    """Whatever tells the conditions."""

    def read(self) -> Conditions:
        """The conditions now."""
        ...


class BoardProbe:
    """The conditions of a Linux board below a root; files are looked for once, so that a read costs little."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._zones = [(zone / "temp", _text(zone / "type") or zone.name) for zone in sorted(root.glob(_ZONES))]
        self._frequencies = sorted(root.glob(_FREQUENCIES))
        self._counters = sorted(root.glob(_COUNTERS))
        self._firmware = root / _FIRMWARE
        # The firmware's own tool is asked where the kernel does not show its flags.
        self._tool = None if self._firmware.exists() else vcgencmd.find()

    def read(self) -> Conditions:
        """The conditions now; a file that cannot be read is left out."""
        zones_c = {name: value / 1000 for path, name in self._zones if (value := _number(path)) is not None}
        named = [value for name, value in zones_c.items() if name.lower().startswith(_CPU_ZONES)]
        frequencies = [value for path in self._frequencies if (value := _number(path)) is not None]
        return Conditions(
            temperature_c=max(named or zones_c.values(), default=None),
            frequency_hz=1000 * max(frequencies) if frequencies else None,
            throttle_counts=int(sum(_number(path) or 0 for path in self._counters)),
            flags=self._flags(),
            zones_c=zones_c,
        )

    def _flags(self) -> int:
        text = _text(self._firmware) if self._tool is None else _ask(self._tool)
        try:
            return int(text.rpartition("=")[2], 16)
        except ValueError:
            return 0


def throttling(before: Conditions, after: Conditions) -> str | None:
    """Why the board was slowed down between two moments, or None if nothing says so."""
    now = before.flags | after.flags | (after.flags & ~before.flags) >> _SINCE_BOOT
    reasons = [name for bit, name in _FLAGS.items() if now >> bit & 1]
    if after.throttle_counts > before.throttle_counts:
        reasons.append(f"{after.throttle_counts - before.throttle_counts} thermal throttle events")
    return f"throttled: {', '.join(reasons)}" if reasons else None


def at_edges(before: Conditions, after: Conditions) -> dict[str, Any]:
    """What is kept with a burst: only what the board told."""
    found = {
        "temperature_c": [before.temperature_c, after.temperature_c],
        "frequency_hz": [before.frequency_hz, after.frequency_hz],
    }
    kept: dict[str, Any] = {name: pair for name, pair in found.items() if None not in pair}
    if before.flags or after.flags:
        kept["throttle_flags"] = [hex(before.flags), hex(after.flags)]
    return kept


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _ask(tool: str) -> str:
    try:
        return vcgencmd.ask(tool, "get_throttled").strip()
    except MeterFault:
        return ""
