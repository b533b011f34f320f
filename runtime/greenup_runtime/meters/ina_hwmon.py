"""INA chips that a hwmon driver holds: `power1_input` in microwatts, an INA3221 as millivolts times milliamperes.

Source: Linux, Documentation/hwmon/ina2xx.rst, ina238.rst, ina3221.rst.
"""

from __future__ import annotations

from pathlib import Path

from greenup_runtime.meters import ina3221
from greenup_runtime.meters.ina_found import CHIPS, FASTEST_S, Found, shunt_of
from greenup_runtime.meters.ina_settings import InaSettings
from greenup_runtime.meters.sysfs import MOST_W, i2c_device, name_in, read_int, read_text

_CLASS = Path("sys/class/hwmon")
_MOST_UOHM = 10_000_000


def find(root: Path, settings: InaSettings) -> list[Found]:
    """Every INA chip below the root's hwmon class, in the order of their I2C devices."""
    found = []
    for folder in sorted((root / _CLASS).glob("hwmon*")):
        name = name_in(folder)
        if name in CHIPS:
            found.append(_single(folder, name, settings))
        elif name == "ina3221":
            found.append(ina3221.found(folder, settings))
    return sorted(found, key=lambda each: each.device)


def _single(folder: Path, name: str, settings: InaSettings) -> Found:
    chip = CHIPS[name]
    shunt = shunt_of(chip, _driver_ohm(folder), settings)
    conversion_s = _update_interval_s(folder) or chip.conversion_s

    def read_w() -> float:
        return read_int(folder / "power1_input", most=int(MOST_W * 1e6)) / 1e6 * shunt.factor

    return Found(
        way="hwmon",
        device=i2c_device(folder),
        chip=name,
        shunt=shunt.text,
        rails={_label(folder): read_w},
        update_s=max(conversion_s, FASTEST_S),
        conversion_s=conversion_s,
        resolution_w=chip.step_w * chip.at_ohm / (shunt.ohm or chip.at_ohm),
        warning=shunt.warning,
    )


def _driver_ohm(folder: Path) -> float | None:
    path = folder / "shunt_resistor"
    return read_int(path, least=1, most=_MOST_UOHM) / 1e6 if path.exists() else None


def _update_interval_s(folder: Path) -> float | None:
    path = folder / "update_interval"
    return read_int(path, least=1, most=60_000) / 1e3 if path.exists() else None


def _label(folder: Path) -> str:
    for file in ("power1_label", "curr1_label", "in1_label"):
        if (folder / file).exists():
            return read_text(folder / file)
    return "input"
