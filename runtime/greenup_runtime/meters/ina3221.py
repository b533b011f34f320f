"""The three channels of an INA3221 under its hwmon driver, for breakouts and for Jetson boards.

The driver shows millivolts and milliamperes, no power. `inK_label` names a channel; boards call unused ones NC.
Channels 4 to 6 are shunt voltages and channel 7 is the "sum of shunt voltages": neither is a rail.

The chip has 13 bits: 8 mV and 40 µV over the shunt a step (NVIDIA, DRIVE OS, power management tool).
Source: Linux, Documentation/hwmon/ina3221.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.ina_found import FASTEST_S, Found
from greenup_runtime.meters.ina_settings import InaSettings
from greenup_runtime.meters.jetson_rails import TOTALS, USUAL_SHUNT_OHM
from greenup_runtime.meters.sysfs import MOST_MA, MOST_MV, i2c_device, read_int, read_text

SHUNT_STEP_V = 40e-6
# Measured on an Orin Nano with the stock driver: three channels in turn at 4.156 ms, 77 readings a second.
CONVERSION_S = 1 / 77
_UNUSED = {"NC", "n/a", ""}
_SMALLEST_BUS_V = 5.0


@dataclass(frozen=True)
class Channel:
    """One rail: voltage in mV and current in mA as files, and the step of its power in watts."""

    label: str
    voltage: Path
    current: Path
    resolution_w: float
    shunt_known: bool

    def read_w(self) -> float:
        """Watts now. Raises MeterFault where the sensor cannot be read or the current runs backwards."""
        millivolt = read_int(self.voltage, most=MOST_MV)
        milliampere = read_int(self.current, least=-MOST_MA, most=MOST_MA)
        # A step or two below zero is the sensor's offset on an idle rail.
        if milliampere * 1e-3 < -4 * self.resolution_w / _SMALLEST_BUS_V:
            raise MeterFault(f"{self.label}: the current runs backwards ({milliampere} mA)", "swap the leads")
        return millivolt * max(milliampere, 0) / 1e6


def channels(folder: Path) -> list[Channel]:
    """The channels of one chip that are rails."""
    rails = []
    for number in (1, 2, 3):
        voltage, current = folder / f"in{number}_input", folder / f"curr{number}_input"
        label = _label(folder, number)
        if label not in _UNUSED and _enabled(folder, number) and current.exists():
            known = shunt_ohm(folder, number)
            ohm = known or USUAL_SHUNT_OHM
            rails.append(Channel(label, voltage, current, step_w(voltage, ohm), known is not None))
    return rails


def step_w(voltage: Path, ohm: float) -> float:
    """One step of a channel's power: 40 µV over its shunt, at the rail's voltage."""
    millivolt = read_int(voltage, most=MOST_MV)
    return SHUNT_STEP_V / ohm * max(millivolt / 1e3, _SMALLEST_BUS_V)


def shunt_ohm(folder: Path, number: int) -> float | None:
    """The shunt that the driver uses for a channel, or None where it does not say."""
    path = folder / f"shunt{number}_resistor"
    return read_int(path, least=1, most=10_000_000) / 1e6 if path.exists() else None


def found(folder: Path, settings: InaSettings) -> Found:
    """A chip on a breakout: the settings' rails, else the one that is the total, else all of them."""
    rails = {channel.label: channel for channel in channels(folder)}
    if missing := set(settings.rails) - set(rails):
        raise MeterFault(f"no rail {', '.join(sorted(missing))} here", f"there are: {', '.join(rails) or 'none'}")
    total = [name for name in TOTALS if name in rails]
    chosen = settings.rails or tuple(total) or tuple(rails)
    if not chosen:
        raise MeterFault(f"{i2c_device(folder)}: every channel is unused or switched off")
    return Found(
        way="hwmon",
        device=i2c_device(folder),
        chip="ina3221",
        shunt="shunts as the device tree says",
        rails={name: rails[name].read_w for name in chosen},
        update_s=max(CONVERSION_S, FASTEST_S),
        conversion_s=CONVERSION_S,
        resolution_w=sum(rails[name].resolution_w for name in chosen),
        warning=_warning(folder, settings),
    )


def _warning(folder: Path, settings: InaSettings) -> str | None:
    shunts = {shunt_ohm(folder, number) for number in (1, 2, 3)} - {None}
    if shunts == {0.01} and settings.shunt_ohm is None:
        return "all shunts are the driver's default of 10 mΩ and were not confirmed; common breakouts have 100 mΩ"
    return None


def _label(folder: Path, number: int) -> str:
    path = folder / f"in{number}_label"
    if not path.exists():
        return f"channel {number}"
    try:
        return read_text(path)
    except MeterFault:
        return ""


def _enabled(folder: Path, number: int) -> bool:
    path = folder / f"in{number}_enable"
    return not path.exists() or read_int(path, most=1) == 1
