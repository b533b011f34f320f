"""Jetson modules: the INA3221 sensors' files under JetPack 4's own driver and under hwmon from JetPack 5 on.

Rails and their places are those of public listings of the boards; the figures are ours.
"""

from __future__ import annotations

from pathlib import Path

from boards.files import link, write


def nano_jetpack4(root: Path) -> Path:
    """Nano: one chip, the board's 5 V input and two parts of it, in milliwatts. 1750 mW at the input."""
    folder = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    rails = (("POM_5V_IN", 5080, 344, 1750), ("POM_5V_GPU", 5080, 0, 0), ("POM_5V_CPU", 5064, 72, 366))
    return _jetpack4(folder, rails)


def xavier_nx_jetpack4(root: Path) -> Path:
    """Xavier NX: the module's input and two parts of it. 4210 mW at the input."""
    folder = root / "sys/bus/i2c/drivers/ina3221x/7-0040/iio:device0"
    rails = (("VDD_IN", 5000, 842, 4210), ("VDD_CPU_GPU_CV", 5000, 160, 800), ("VDD_SOC", 5000, 220, 1100))
    return _jetpack4(folder, rails)


def xavier_nx_jetpack5(root: Path) -> Path:
    """The same board under hwmon: no power file, millivolts times milliamperes."""
    return _hwmon(root, "7-0040", 3, {1: ("VDD_IN", 5000, 842), 2: ("VDD_CPU_GPU_CV", 5000, 160)}, 5000)


def orin_nano_jetpack6(root: Path) -> Path:
    """Orin Nano: 4.943 W at the module's input, shunts of 5 mΩ."""
    rails = {1: ("VDD_IN", 4943, 1000), 2: ("VDD_CPU_GPU_CV", 4936, 208), 3: ("VDD_SOC", 4936, 296)}
    return _hwmon(root, "1-0040", 1, rails, 5000)


def orin_nano_jetpack7(root: Path) -> Path:
    """JetPack 7 shows the same files under another number."""
    rails = {1: ("VDD_IN", 4943, 1000), 2: ("VDD_CPU_GPU_CV", 4936, 208), 3: ("VDD_SOC", 4936, 296)}
    return _hwmon(root, "1-0040", 5, rails, 5000)


def agx_orin_jetpack6(root: Path) -> Path:
    """AGX Orin: two chips, no input rail; one used channel on the second. Shunts of 2 mΩ."""
    rails = {1: ("VDD_GPU_SOC", 19_000, 160), 2: ("VDD_CPU_CV", 19_000, 80), 3: ("VIN_SYS_5V0", 5000, 700)}
    first = _hwmon(root, "1-0040", 3, rails, 2000)
    _hwmon(root, "1-0041", 4, {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 5000, 60), 3: ("NC", 0, 0)}, 2000)
    return first


AGX_ORIN_W = 19 * 0.16 + 19 * 0.08 + 5 * 0.7 + 5 * 0.06


def _jetpack4(folder: Path, rails: tuple[tuple[str, int, int, int], ...]) -> Path:
    for number, (label, millivolt, milliampere, milliwatt) in enumerate(rails):
        write(folder, **{f"rail_name_{number}": label, f"in_voltage{number}_input": millivolt})
        write(folder, **{f"in_current{number}_input": milliampere, f"in_power{number}_input": milliwatt})
    return write(folder, name="ina3221x")


def _hwmon(root: Path, device: str, number: int, rails: dict[int, tuple[str, int, int]], shunt_uohm: int) -> Path:
    bus, _, _ = device.partition("-")
    place = root / f"sys/devices/platform/bus@0/c250000.i2c/i2c-{bus}/{device}"
    folder = place / f"hwmon/hwmon{number}"
    for channel, (label, millivolt, milliampere) in rails.items():
        write(folder, **{f"in{channel}_label": label, f"in{channel}_input": millivolt})
        write(folder, **{f"curr{channel}_input": milliampere, f"shunt{channel}_resistor": shunt_uohm})
    write(folder, name="ina3221", in7_label="sum of shunt voltages", in7_input=12, curr4_input=1500)
    link(folder / "device", place)
    link(root / f"sys/class/hwmon/hwmon{number}", folder)
    driver = root / f"sys/bus/i2c/drivers/ina3221/{device}"
    link(driver, place)
    return folder
