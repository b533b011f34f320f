"""An INA chip as one of the three ways found it, and what is known of the chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from greenup_runtime.meters.ina_settings import InaSettings
from greenup_runtime.meters.rails import ReadWatts

# Polling faster than this costs the board more than it tells.
FASTEST_S = 0.01
DRIVER_DEFAULT_OHM = 0.01


@dataclass(frozen=True)
class Chip:
    """`step_w` is one step of the power register with a shunt of `at_ohm`; it falls as the shunt rises.

    `conversion_s` is one bus and one shunt conversion as the driver sets it up; `built_in` is a chip with the
    shunt inside.
    """

    step_w: float
    at_ohm: float
    conversion_s: float
    built_in: bool = False


# Linux, drivers/hwmon/ina2xx.c and ina238.c: with a fixed calibration the current's step is inverse to the shunt.
CHIPS = {
    "ina219": Chip(0.020, 0.01, 0.001064),
    "ina220": Chip(0.020, 0.01, 0.001064),
    "ina226": Chip(0.00625, 0.01, 0.0352),
    "ina230": Chip(0.00625, 0.01, 0.0352),
    "ina231": Chip(0.00625, 0.01, 0.0352),
    "ina237": Chip(0.0002, 0.005, 0.002104),
    "ina238": Chip(0.0002, 0.005, 0.002104),
    "ina260": Chip(0.010, 0.002, 0.0022, built_in=True),
}


@dataclass(frozen=True)
class Found:
    """One chip: how to read its rails in watts, and what to say about it."""

    way: str
    device: str
    chip: str
    shunt: str
    rails: Mapping[str, ReadWatts]
    update_s: float
    conversion_s: float
    resolution_w: float
    warning: str | None = None
    has_ready_flag: bool = False
    close: Callable[[], None] | None = None


@dataclass(frozen=True)
class Shunt:
    """The resistor that counts, what the driver's watts must be multiplied by for it, and what to say."""

    ohm: float | None
    factor: float
    text: str
    warning: str | None = None


def shunt_of(chip: Chip, driver_ohm: float | None, settings: InaSettings) -> Shunt:
    """Weigh the shunt that a driver uses (None: it does not say) against the one that the settings name."""
    named = settings.shunt_ohm
    if chip.built_in:
        return Shunt(chip.at_ohm, 1.0, "shunt built in")
    if driver_ohm is None:
        return Shunt(named, 1.0, "shunt as the driver was told (it does not show it)")
    if named is not None and abs(named - driver_ohm) > 1e-3 * named:
        text = f"shunt {_milli(named)}, rescaled from the driver's {_milli(driver_ohm)}"
        return Shunt(named, driver_ohm / named, text)
    warning = None
    if named is None and abs(driver_ohm - DRIVER_DEFAULT_OHM) < 1e-6:
        warning = (
            f"shunt {_milli(driver_ohm)} is the driver's default and was not confirmed; "
            "common breakouts have 100 mΩ, and watts would then be 10 times too high: set shunt_ohm"
        )
    return Shunt(driver_ohm, 1.0, f"shunt {_milli(driver_ohm)}", warning)


def _milli(ohm: float) -> str:
    return f"{ohm * 1e3:g} mΩ"
