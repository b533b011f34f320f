"""What stands behind the drivers: models of the chips, which set i2c-stub's registers as the real parts would.

Each `set_w` takes the power that flows and writes what the chip would have measured over its shunt, with the
chip's own steps, and what it computes from that with the calibration that a driver has written. Sources: Texas
Instruments, data sheets SBOS448 (INA219), SBOS547 (INA226), SBOS576 (INA3221).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from smbus2 import SMBus

_READY_219, _READY_226, _READY_3221 = 0x0002, 0x0008, 0x0001


def stub_bus() -> int:
    """The number of i2c-stub's bus."""
    for name in Path("/sys/class/i2c-adapter").glob("i2c-*/name"):
        if "stub" in name.read_text():
            return int(name.parent.name.removeprefix("i2c-"))
    raise LookupError("i2c-stub is not loaded")


class _Chip:
    def __init__(self, address: int, shunt_ohm: float, supply_v: float = 5.0) -> None:
        self._bus = SMBus(stub_bus())
        self._address = address
        self._shunt_ohm = shunt_ohm
        self._supply_v = supply_v

    def write(self, register: int, word: int) -> None:
        """The chips send the high byte first, SMBus the low one. `force`: a driver may hold the chip."""
        word &= 0xFFFF
        self._bus.write_word_data(self._address, register, (word & 0xFF) << 8 | word >> 8, force=True)

    def read(self, register: int) -> int:
        """One register."""
        word = self._bus.read_word_data(self._address, register, force=True)
        return (word & 0xFF) << 8 | word >> 8


class Ina219(_Chip):
    """10 µV and 4 mV a step."""

    def __init__(self, address: int, shunt_ohm: float) -> None:
        super().__init__(address, shunt_ohm)
        self._bus_steps = round(self._supply_v / 0.004)

    def power_on(self) -> None:
        """The registers that a part begins with."""
        self.write(0, 0x399F)

    def set_w(self, watts: float) -> None:
        """Shunt, bus, power, current, and that the conversion is done."""
        shunt = round(watts / self._supply_v * self._shunt_ohm / 10e-6)
        current = shunt * self.read(5) // 4096
        self.write(3, current * self._bus_steps // 5000)
        self.write(4, current)
        self.write(1, shunt)
        self.write(2, self._bus_steps << 3 | _READY_219)

    def not_ready(self) -> None:
        """What the power register's reading does in a real chip: the next conversion is still going on."""
        self.write(2, self._bus_steps << 3)


class Ina226(_Chip):
    """2.5 µV and 1.25 mV a step."""

    def __init__(self, address: int, shunt_ohm: float) -> None:
        super().__init__(address, shunt_ohm)
        self._bus_steps = round(self._supply_v / 0.00125)

    def power_on(self) -> None:
        """The registers that a part begins with."""
        self.write(0, 0x4127)
        self.write(0xFE, 0x5449)
        self.write(0xFF, 0x2260)

    def set_w(self, watts: float) -> None:
        """Shunt, bus, power, current, and that the conversion is done."""
        shunt = round(watts / self._supply_v * self._shunt_ohm / 2.5e-6)
        current = shunt * self.read(5) // 2048
        self.write(3, current * self._bus_steps // 20000)
        self.write(4, current)
        self.write(1, shunt)
        self.write(2, self._bus_steps)
        self.write(6, _READY_226)


class Ina3221(_Chip):
    """40 µV and 8 mV a step, three bits to the left. `shares` says which part of the power each channel sees."""

    def __init__(self, address: int, shunt_ohm: float, shares: tuple[float, ...] = (0.5, 0.3, 0.2)) -> None:
        super().__init__(address, shunt_ohm)
        self._shares = shares

    def power_on(self) -> None:
        """The registers that a part begins with, and the supply."""
        self.write(0, 0x7127)
        self.write(0xFE, 0x5449)
        self.write(0xFF, 0x3220)
        for channel in range(len(self._shares)):
            self.write(2 + 2 * channel, round(self._supply_v / 0.008) << 3)
        self.write(0x0F, _READY_3221)

    def set_w(self, watts: float) -> None:
        """The shunts: the supply stays as it is."""
        for channel, share in enumerate(self._shares):
            self.write(1 + 2 * channel, round(watts * share / self._supply_v * self._shunt_ohm / 40e-6) << 3)


class Rapl:
    """fakerapl's package."""

    def __init__(self) -> None:
        self._file = os.open("/sys/module/fakerapl/parameters/power_uw", os.O_WRONLY)

    def set_w(self, watts: float) -> None:
        """The package's power from now on."""
        os.pwrite(self._file, str(round(watts * 1e6)).encode(), 0)


KINDS: dict[str, Any] = {"ina219": Ina219, "ina226": Ina226, "ina3221": Ina3221, "rapl": Rapl}
