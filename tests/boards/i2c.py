"""A stand-in for the package smbus2: chips on a bus that behave as their data sheets say, word reads only."""

from __future__ import annotations

import errno
from pathlib import Path
from types import ModuleType
from typing import ClassVar


class Ina219:
    """Registers of an INA219: the power register follows the calibration, reading it clears the ready flag."""

    def __init__(self, bus_mv: int = 5000, current_ma: int = 500, shunt_ohm: float = 0.1) -> None:
        self.words = {0: 0x399F, 5: 0}
        self.bus_mv, self.current_ma, self.shunt_ohm = bus_mv, current_ma, shunt_ohm
        self.ready, self.overflow = True, False

    def read(self, register: int) -> int:
        shunt_steps = round(self.current_ma * 1e-3 * self.shunt_ohm / 10e-6)
        if register == 1:
            return shunt_steps & 0xFFFF
        if register == 2:
            return (self.bus_mv // 4) << 3 | self.ready << 1 | self.overflow
        if register == 3:
            self.ready = False
            return shunt_steps * self.words[5] // 4096 * (self.bus_mv // 4) // 5000
        return self.words.get(register, 0)

    def write(self, register: int, word: int) -> None:
        self.words[register] = word


class Ina226(Ina219):
    """Registers of an INA226: identity registers, and flags that reading the mask register clears."""

    def __init__(self, bus_mv: int = 5000, current_ma: int = 500, shunt_ohm: float = 0.1) -> None:
        super().__init__(bus_mv, current_ma, shunt_ohm)
        self.words = {0: 0x4127, 5: 0, 0xFE: 0x5449, 0xFF: 0x2260}

    def read(self, register: int) -> int:
        shunt_steps = round(self.current_ma * 1e-3 * self.shunt_ohm / 2.5e-6)
        if register == 6:
            flags = self.ready << 3 | self.overflow << 2
            self.ready = False
            return flags
        if register == 3:
            return shunt_steps * self.words[5] // 2048 * round(self.bus_mv / 1.25) // 20_000
        return self.words.get(register, 0)


class Ina3221(Ina219):
    """Registers of an INA3221 with the same load on its three channels."""

    def __init__(self, bus_mv: int = 5000, current_ma: int = 500, shunt_ohm: float = 0.1) -> None:
        super().__init__(bus_mv, current_ma, shunt_ohm)
        self.words = {0: 0x7127, 0xFE: 0x5449, 0xFF: 0x3220}

    def read(self, register: int) -> int:
        if register == 0x0F:
            ready, self.ready = self.ready, False
            return int(ready)
        if register in {1, 3, 5}:
            return (round(self.current_ma * 1e-3 * self.shunt_ohm / 40e-6) << 3) & 0xFFFF
        if register in {2, 4, 6}:
            return self.bus_mv // 8 << 3
        return self.words.get(register, 0)


class Ina238(Ina219):
    """Registers of an INA238 as far as word reads go."""

    def __init__(self, bus_mv: int = 5000, current_ma: int = 500, shunt_ohm: float = 0.1) -> None:
        super().__init__(bus_mv, current_ma, shunt_ohm)
        self.words = {0x3E: 0x5449}

    def read(self, register: int) -> int:
        if register == 0x0B:
            ready, self.ready = self.ready, False
            return ready << 1 | self.overflow << 9
        if register == 4:
            return round(self.current_ma * 1e-3 * self.shunt_ohm / 5e-6)
        if register == 5:
            return round(self.bus_mv / 3.125)
        return self.words.get(register, 0)


class SMBus:
    """The part of smbus2.SMBus that can do words; other chips on the bus answer ENXIO."""

    chips: ClassVar[dict[int, Ina219]] = {}
    fails_with: ClassVar[int | None] = None
    opened: ClassVar[int] = 0

    def __init__(self, path: str) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        SMBus.opened += 1

    def _chip(self, address: int) -> Ina219:
        if SMBus.fails_with is not None:
            raise OSError(SMBus.fails_with, "from the bus")
        if address not in SMBus.chips:
            raise OSError(errno.ENXIO, "No such device or address")
        return SMBus.chips[address]

    def read_word_data(self, address: int, register: int) -> int:
        word = self._chip(address).read(register)
        return (word & 0xFF) << 8 | word >> 8

    def write_word_data(self, address: int, register: int, value: int) -> None:
        self._chip(address).write(register, (value & 0xFF) << 8 | value >> 8)

    def close(self) -> None:
        SMBus.opened -= 1


def module(root: Path, chips: dict[int, Ina219]) -> ModuleType:
    """A module to put in smbus2's place, and the bus's device node below the root."""
    (root / "dev").mkdir(parents=True, exist_ok=True)
    (root / "dev/i2c-1").touch()
    SMBus.chips, SMBus.fails_with, SMBus.opened = chips, None, 0
    made = ModuleType("smbus2")
    made.SMBus = SMBus  # type: ignore[attr-defined]
    return made
