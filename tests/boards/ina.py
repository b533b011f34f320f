"""INA breakouts on I2C bus 1 of a Raspberry Pi, under the kernel's hwmon or IIO driver.

hwmon:  /sys/class/hwmon/hwmonN → …/i2c-1/1-0040/hwmon/hwmonN
        name, in0 shunt mV, in1 bus mV, curr1 mA, power1 µW
IIO:    /sys/bus/iio/devices/iio:deviceN → …/i2c-1/1-0040/iio:deviceN
        in_power2_raw × in_power2_scale = mW
"""

from __future__ import annotations

from pathlib import Path

from boards.files import link, write

I2C = "sys/devices/platform/soc/fe804000.i2c/i2c-1"


def hwmon(
    root: Path, chip: str = "ina219", number: int = 2, address: int = 0x40, shunt_uohm: int | None = 10_000
) -> Path:
    """A chip with one channel: 5.12 V, 0.5 A, 2.56 W. `shunt_uohm` None: the driver does not show it (ina238)."""
    device = root / I2C / f"1-{address:04x}"
    folder = device / f"hwmon/hwmon{number}"
    write(folder, name=chip, in0_input=5, in1_input=5120, curr1_input=500, power1_input=2_560_000)
    if shunt_uohm is not None:
        write(folder, shunt_resistor=shunt_uohm)
    if chip in {"ina226", "ina230", "ina231"}:
        write(folder, update_interval=35)
    link(folder / "device", device)
    link(root / f"sys/class/hwmon/hwmon{number}", folder)
    return folder


def iio(root: Path, chip: str = "ina226", number: int = 0, address: int = 0x41) -> Path:
    """A chip under ina2xx-adc: raw 400 at 6.25 mW a step is 2.5 W."""
    folder = root / I2C / f"1-{address:04x}/iio:device{number}"
    write(
        folder,
        name=chip,
        in_voltage0_raw=2000,
        in_voltage0_scale="0.002500000",
        in_voltage1_raw=4000,
        in_voltage1_scale="1.250000000",
        in_power2_raw=400,
        in_power2_scale="6.250000000",
        in_current3_raw=2000,
        in_current3_scale="0.250000000",
        in_shunt_resistor="0.010000000",
        in_sampling_frequency=28,
    )
    link(root / f"sys/bus/iio/devices/iio:device{number}", folder)
    return folder


def ina3221(root: Path, labels: tuple[str, str, str] = ("CH1", "CH2", "NC"), number: int = 3) -> Path:
    """Three channels: 5 V at 0.5 A, 3.296 V at 0.2 A, 1.8 V at 0.1 A; channel 7 is no rail."""
    device = root / I2C / "1-0042"
    folder = device / f"hwmon/hwmon{number}"
    write(folder, name="ina3221", in7_label="sum of shunt voltages", in7_input=8, curr4_input=800)
    for channel, (label, volts, amps) in enumerate(
        zip(labels, (5000, 3296, 1800), (500, 200, 100), strict=True), start=1
    ):
        write(folder, **{f"in{channel}_label": label, f"in{channel}_input": volts, f"in{channel}_enable": 1})
        write(folder, **{f"curr{channel}_input": amps, f"shunt{channel}_resistor": 100_000})
    link(folder / "device", device)
    link(root / f"sys/class/hwmon/hwmon{number}", folder)
    return folder
