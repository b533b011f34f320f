"""The INA3221 sensors on Jetson modules, by the labels of their rails.

JetPack 4       /sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0   rail_name_0, in_power0_input in mW
JetPack 5 to 7  /sys/class/hwmon/hwmonN, name ina3221              in1_label, in1_input in mV, curr1_input in mA

No number in these paths is to be relied on: chips are found by name, rails by label. Rails called NC are unused.
Anyone may read the files, and at some 77 Hz: faster than jtop or tegrastats, at less work.
"""

from __future__ import annotations

from pathlib import Path

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import ina3221, jetson_rails
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.meters.rails import RailsMeter, ReadWatts, each
from greenup_runtime.meters.sysfs import MOST_W, i2c_device, name_in, read_int, read_text
from greenup_runtime.trial import MeterFacts

_HWMON = Path("sys/class/hwmon")
_JETPACK4 = "sys/bus/i2c/drivers/ina3221x/*/iio:device*"
_KNOWN = ("VDD_", "VDDQ_", "VIN_", "POM_", "VIN", "GPU", "CPU", "SOC", "CV", "SYS5V", "VDDRQ")


def open_meter(options: MeterOptions) -> RailsMeter:
    """Find the rails below the root. Raises MeterFault where this is no Jetson or a named rail is missing."""
    rails, steps, where = _hwmon(options.root)
    if not rails:
        rails, where = _jetpack4(options.root)
    if not any(label.startswith(_KNOWN) for label in rails):
        raise MeterFault(
            "no Jetson: no INA3221 with a Jetson's rails is here", "in a container, bind /sys below --root"
        )
    summed, scope = jetson_rails.counted(list(rails), jetson_rails.asked_for(options))
    known_steps = [steps[name] for name in summed if name in steps]
    facts = MeterFacts(
        name="jetson",
        kind="power",
        scope=scope,
        source=f"INA3221 {where}, {' + '.join(summed)}",
        update_s=ina3221.CONVERSION_S,
        resolution=sum(known_steps) if known_steps else jetson_rails.resolution_w(options, len(summed)),
        rails=summed,
        lag_s=ina3221.CONVERSION_S,
    )
    return RailsMeter(facts, each(rails), options.clock, shown=tuple(rails))


def _hwmon(root: Path) -> tuple[dict[str, ReadWatts], dict[str, float], str]:
    """Rails of every INA3221 under its hwmon driver, the steps of those with a known shunt, and where they are."""
    rails: dict[str, ReadWatts] = {}
    steps: dict[str, float] = {}
    devices = []
    for folder in sorted((root / _HWMON).glob("hwmon*")):
        if name_in(folder) == "ina3221":
            devices.append(i2c_device(folder))
            for channel in ina3221.channels(folder):
                rails[channel.label] = channel.read_w
                if channel.shunt_known:
                    steps[channel.label] = channel.resolution_w
    return rails, steps, f"{' and '.join(sorted(devices))} (hwmon)"


def _jetpack4(root: Path) -> tuple[dict[str, ReadWatts], str]:
    """Rails under JetPack 4's own driver."""
    rails: dict[str, ReadWatts] = {}
    devices = []
    for folder in sorted(root.glob(_JETPACK4)):
        devices.append(i2c_device(folder))
        for file in sorted(folder.glob("rail_name_*")):
            label = read_text(file)
            if label not in jetson_rails.UNUSED:
                rails[label] = _milliwatts(folder / f"in_power{file.name.rpartition('_')[2]}_input")
    return rails, f"{' and '.join(devices)} (JetPack 4)"


def _milliwatts(path: Path) -> ReadWatts:
    return lambda: read_int(path, most=int(MOST_W * 1e3)) / 1e3
