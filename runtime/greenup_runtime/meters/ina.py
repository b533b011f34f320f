"""INA219, INA226, INA238, INA260, INA3221: the current sensors on breakouts and carrier boards.

The kernel's hwmon driver is tried first, then its IIO driver, then the chip itself over I2C: a chip that a driver
holds refuses raw access, and Debian's kernels have only the IIO driver for the INA219 and INA226. A chip is found
by its name, never by a number that changes between boots.

What no driver can know is the shunt: the resistor beside the chip. The drivers take 10 mΩ unless told otherwise,
common breakouts carry 100 mΩ, and the figures are then ten times too high. So the shunt the driver uses is read
back; where the settings name another one the figures are rescaled, and where they name none and the driver uses
its default, `warning` and `source` say so.
"""

from __future__ import annotations

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import ina_hwmon, ina_i2c, ina_iio
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.meters.ina_found import Found
from greenup_runtime.meters.ina_settings import InaSettings, settings_of
from greenup_runtime.meters.rails import RailsMeter, each
from greenup_runtime.trial import MeterFacts

_HINT = (
    "wire one and set it up as docs/meters.md says, or name it: ina:chip=ina219,bus=1,address=0x40,shunt_ohm=0.1"
)


def open_meter(options: MeterOptions) -> RailsMeter:
    """Find the chip below the root. Raises MeterFault where there is none, or several and none was chosen."""
    settings = settings_of(options)
    for way, find in (("hwmon", ina_hwmon.find), ("iio", ina_iio.find)):
        if settings.way in {None, way} and (found := find(options.root, settings)):
            return _meter(_chosen(found, settings), options)
    if settings.way in {None, "i2c"} and settings.address is not None:
        return _meter([ina_i2c.find(options.root, settings)], options)
    raise MeterFault("no INA: no chip has a hwmon or IIO driver here, and no I2C address was named", _HINT)


def _chosen(found: list[Found], settings: InaSettings) -> list[Found]:
    known = ", ".join(f"{one.device} ({one.chip})" for one in found)
    if settings.devices:
        chosen = [one for one in found if one.device in settings.devices]
        if len(chosen) != len(set(settings.devices)):
            raise MeterFault(f"no INA {' + '.join(settings.devices)} here", f"there are: {known}")
        return chosen
    if len(found) > 1:
        first = found[0].device
        raise MeterFault(
            f"several INA chips, and none was chosen: {known}",
            f"name the one at the board's supply: ina:{first}, or several to sum: ina:{first}+{found[1].device}",
        )
    return found


def _meter(found: list[Found], options: MeterOptions) -> RailsMeter:
    several = len(found) > 1
    rails = {
        f"{one.device} {name}" if several else name: read for one in found for name, read in one.rails.items()
    }
    warnings = [one.warning for one in found if one.warning]
    sources = [f"{one.chip} {one.device} ({one.way}), {one.shunt}" for one in found]
    facts = MeterFacts(
        name="ina",
        kind="power",
        scope="what flows through the sensor" if len(rails) == 1 else f"sum of {len(rails)} rails",
        source="; ".join(sources + [f"WARNING: {text}" for text in warnings]),
        update_s=max(one.update_s for one in found),
        resolution=sum(one.resolution_w for one in found),
        rails=tuple(rails),
        lag_s=max(one.conversion_s for one in found),
    )
    return RailsMeter(
        facts,
        each(rails),
        options.clock,
        warning="; ".join(warnings) or None,
        has_ready_flag=all(one.has_ready_flag for one in found),
        close=found[0].close,
    )
