"""INA219 and INA226 that the IIO driver (`ina2xx-adc`) holds: raw power times its scale, in milliwatts.

The channels' numbers differ between kernels (`in_power2_raw` as a rule), so they are searched for.
Source: Linux, drivers/iio/adc/ina2xx-adc.c and Documentation/ABI/testing/sysfs-bus-iio.
"""

from __future__ import annotations

from pathlib import Path

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.ina_found import CHIPS, FASTEST_S, Found, shunt_of
from greenup_runtime.meters.ina_settings import InaSettings
from greenup_runtime.meters.sysfs import i2c_device, name_in, read_int, read_number

_BUS = Path("sys/bus/iio/devices")
_MOST_RAW = 65_535


def find(root: Path, settings: InaSettings) -> list[Found]:
    """Every INA chip below the root's IIO bus, in the order of their I2C devices."""
    named = ((folder, name_in(folder)) for folder in sorted((root / _BUS).glob("iio:device*")))
    chips = [_one(folder, name, settings) for folder, name in named if name in CHIPS]
    return sorted(chips, key=lambda each: each.device)


def _one(folder: Path, name: str, settings: InaSettings) -> Found:
    raw = next(iter(sorted(folder.glob("in_power*_raw"))), None)
    if raw is None:
        raise MeterFault(f"{folder} has no power channel")
    # The driver's scale is read once: it changes only with the shunt.
    scale_mw = read_number(raw.with_name(raw.name.replace("_raw", "_scale")), least=1e-6, most=1e6)
    chip = CHIPS[name]
    shunt = shunt_of(chip, _driver_ohm(folder), settings)
    conversion_s = _conversion_s(folder) or chip.conversion_s

    def read_w() -> float:
        return read_int(raw, most=_MOST_RAW) * scale_mw / 1e3 * shunt.factor

    return Found(
        way="IIO",
        device=i2c_device(folder),
        chip=name,
        shunt=shunt.text,
        rails={"input": read_w},
        update_s=max(conversion_s, FASTEST_S),
        conversion_s=conversion_s,
        resolution_w=scale_mw / 1e3 * shunt.factor,
        warning=shunt.warning,
    )


def _driver_ohm(folder: Path) -> float | None:
    path = folder / "in_shunt_resistor"
    return read_number(path, least=1e-6, most=10.0) if path.exists() else None


def _conversion_s(folder: Path) -> float | None:
    path = folder / "in_sampling_frequency"
    return 1.0 / read_number(path, least=0.01, most=1e6) if path.exists() else None
