"""An INA chip without a driver, over /dev/i2c-N with SMBus word reads only (some adapters know nothing else).

Nothing is written before the chip is known to be what the settings say: other parts, servo drivers among them,
live at the same addresses. Then averaging and calibration are set, each reading waits for the conversion-ready
flag (StaleReading until then), an overflow is a fault, and so is a calibration that is gone: after a brown-out
the chip would show 0 W for ever.

Sources: Texas Instruments, data sheets SBOS448 (INA219), SBOS547 (INA226), SBOS656 (INA260), SBOSA20 (INA238),
SBOS576 (INA3221).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import extras
from greenup_runtime.meters.base import StaleReading
from greenup_runtime.meters.ina_found import FASTEST_S, Found
from greenup_runtime.meters.ina_settings import InaSettings

_TEXAS = 0x5449
_WHY = {
    errno.EBUSY: ("a kernel driver holds the chip", "use it through hwmon or IIO, or unbind the driver"),
    errno.ENXIO: ("nothing answers there", "check the wiring with `i2cdetect -y BUS`"),
    errno.EREMOTEIO: ("nothing answers there", "check the wiring with `i2cdetect -y BUS`"),
    errno.EIO: ("the transfer failed", "check the wiring, and keep the leads short"),
}


@dataclass(frozen=True)
class Registers:
    """How one kind of chip is set up and read.

    `identity` are registers with the values that prove the chip; `flags` is the register with the bits `ready` and
    `overflow`; `setup` is written in order; `power_w` turns register reads and the shunt into watts.
    """

    identity: dict[int, tuple[int, ...]]
    setup: tuple[tuple[int, int], ...]
    flags: int
    ready: int
    overflow: int
    calibration: tuple[int, int] | None
    conversion_s: float
    power_w: Callable[[Callable[[int], int], float], float]
    step_w: Callable[[float], float]


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word


def _channels_w(read: Callable[[int], int], ohm: float) -> float:
    """INA3221: 40 µV and 8 mV a step, three bits to the left, over its three channels."""
    pairs = ((_signed(read(shunt)) >> 3, _signed(read(shunt + 1)) >> 3) for shunt in (1, 3, 5))
    return sum(shunt * 40e-6 / ohm * bus * 8e-3 for shunt, bus in pairs)


CHIPS = {
    # 32 V, ±320 mV, 16 samples averaged for shunt and bus; one current step is one shunt step (10 µV).
    "ina219": Registers(
        identity={0: (0x399F, 0x3E67)},
        setup=((0, 0x3E67), (5, 4096)),
        flags=2,
        ready=0x0002,
        overflow=0x0001,
        calibration=(5, 4096),
        conversion_s=2 * 8.51e-3,
        power_w=lambda read, ohm: read(3) * 20 * 10e-6 / ohm,
        step_w=lambda ohm: 20 * 10e-6 / ohm,
    ),
    # 16 averages of 332 µs for shunt and bus; one current step is one shunt step (2.5 µV).
    "ina226": Registers(
        identity={0xFE: (_TEXAS,), 0xFF: (0x2260,)},
        setup=((0, 0x4497), (5, 2048)),
        flags=6,
        ready=0x0008,
        overflow=0x0004,
        calibration=(5, 2048),
        conversion_s=16 * 2 * 332e-6,
        power_w=lambda read, ohm: read(3) * 25 * 2.5e-6 / ohm,
        step_w=lambda ohm: 25 * 2.5e-6 / ohm,
    ),
    "ina260": Registers(
        identity={0xFE: (_TEXAS,), 0xFF: (0x2270,)},
        setup=((0, 0x6497),),
        flags=6,
        ready=0x0008,
        overflow=0x0004,
        calibration=None,
        conversion_s=16 * 2 * 332e-6,
        power_w=lambda read, _ohm: read(3) * 10e-3,
        step_w=lambda _ohm: 10e-3,
    ),
    # The power register has three bytes, which a word read cannot take: shunt (5 µV) × bus (3.125 mV) instead.
    "ina238": Registers(
        identity={0x3E: (_TEXAS,)},
        setup=((0, 0x0000), (1, 0xB922), (0x0B, 0x8001)),
        flags=0x0B,
        ready=0x0002,
        overflow=0x0200,
        calibration=None,
        conversion_s=16 * 2 * 540e-6,
        power_w=lambda read, ohm: _signed(read(4)) * 5e-6 / ohm * read(5) * 3.125e-3,
        step_w=lambda ohm: 5e-6 / ohm * 5.0,
    ),
    "ina3221": Registers(
        identity={0xFE: (_TEXAS,), 0xFF: (0x3220,)},
        setup=((0, 0x7127),),
        flags=0x0F,
        ready=0x0001,
        overflow=0,
        calibration=None,
        conversion_s=6 * 1.1e-3,
        power_w=_channels_w,
        step_w=lambda ohm: 3 * 40e-6 / ohm * 5.0,
    ),
}


class RawChip:
    """One chip on an open bus; `read_w` gives the power of its newest conversion."""

    def __init__(self, bus: Any, address: int, chip: str, ohm: float) -> None:
        self._bus = bus
        self._address = address
        self._kind = CHIPS[chip]
        self._name = f"{chip} at {address:#04x}"
        self._ohm = ohm

    def set_up(self) -> None:
        """Prove what the chip is, then set averaging and calibration. Raises MeterFault for another part."""
        for register, allowed in self._kind.identity.items():
            if (value := self._word(register)) not in allowed:
                raise MeterFault(
                    f"what answers is not a {self._name}: register {register:#04x} holds {value:#06x}",
                    "check chip and address; cycle the chip's power if other software has set it up",
                )
        for register, value in self._kind.setup:
            self._bus_call(self._bus.write_word_data, register, _swapped(value))

    def read_w(self) -> float:
        """Watts. Raises StaleReading before a new conversion, MeterFault on overflow, reset or failed transfer."""
        flags = self._word(self._kind.flags)
        if flags & self._kind.overflow:
            raise MeterFault(f"{self._name}: the current is beyond the sensor's range", "use a smaller shunt")
        if not flags & self._kind.ready:
            raise StaleReading(f"{self._name} has not finished a new conversion")
        power_w = self._kind.power_w(self._word, self._ohm)
        if power_w == 0.0:
            self._check_calibration()
        return power_w

    def _check_calibration(self) -> None:
        if self._kind.calibration is None:
            return
        register, wanted = self._kind.calibration
        if (value := self._word(register)) != wanted:
            raise MeterFault(
                f"{self._name} lost its calibration ({value} instead of {wanted})",
                "its supply broke down; open it again",
            )

    def _word(self, register: int) -> int:
        return _swapped(int(self._bus_call(self._bus.read_word_data, register)) & 0xFFFF)

    def _bus_call(self, call: Callable[..., Any], register: int, *value: int) -> Any:
        try:
            return call(self._address, register, *value)
        except OSError as error:
            why, hint = _WHY.get(error.errno or 0, (error.strerror or str(error), None))
            raise MeterFault(f"{self._name} cannot be read: {why}", hint) from error


def find(root: Path, settings: InaSettings) -> Found:
    """Open the chip that the settings name. Raises MeterFault where they name too little or it does not answer."""
    chip = settings.chip or "ina219"
    if chip not in CHIPS:
        raise MeterFault(f"no raw reader for {chip!r}", f"there are: {', '.join(CHIPS)}")
    ohm = settings.shunt_ohm if chip != "ina260" else 0.002
    if settings.address is None or ohm is None:
        raise MeterFault("raw I2C needs address and shunt_ohm", "write ina:chip=ina219,address=0x40,shunt_ohm=0.1")
    path = root / f"dev/i2c-{settings.bus}"
    bus = _open_bus(path)
    raw = RawChip(bus, settings.address, chip, ohm)
    try:
        raw.set_up()
    except MeterFault:
        bus.close()
        raise
    kind = CHIPS[chip]
    return Found(
        way="raw I2C",
        device=f"{settings.bus}-{settings.address:04x}",
        chip=chip,
        shunt="shunt built in" if chip == "ina260" else f"shunt {ohm * 1e3:g} mΩ",
        rails={"input": raw.read_w},
        update_s=max(kind.conversion_s, FASTEST_S),
        conversion_s=kind.conversion_s,
        resolution_w=kind.step_w(ohm),
        has_ready_flag=True,
        close=bus.close,
    )


def _open_bus(path: Path) -> Any:
    smbus2 = extras.load("smbus2", "smbus2", "i2c")
    try:
        return smbus2.SMBus(str(path))
    except PermissionError as error:
        raise MeterFault(f"no right to use {path}", "join the group i2c: sudo usermod -aG i2c $USER") from error
    except OSError as error:
        raise MeterFault(
            f"{path} cannot be opened: {error.strerror or error}", "enable I2C (dtparam=i2c_arm=on)"
        ) from error


def _swapped(word: int) -> int:
    """SMBus sends the low byte first, the chips the high one."""
    return (word & 0xFF) << 8 | word >> 8
