"""What a user or target says about an INA sensor: the `[meters.ina]` table, or `--meter ina:key=value,…`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions

WAYS = ("hwmon", "iio", "i2c")
_EXAMPLE = "write ina:1-0040, ina:hwmon, or ina:chip=ina219,bus=1,address=0x40,shunt_ohm=0.1"


@dataclass(frozen=True)
class InaSettings:
    """`shunt_ohm` is the resistor beside the chip; `devices` picks chips (`1-0040`) where there are several.

    `rails` picks channels of an INA3221 by label. `bus`, `address` and `chip` are needed for raw I2C only.
    """

    way: str | None = None
    devices: tuple[str, ...] = ()
    rails: tuple[str, ...] = ()
    shunt_ohm: float | None = None
    bus: int = 1
    address: int | None = None
    chip: str | None = None


_KEYS = tuple(field.name for field in fields(InaSettings))


def settings_of(options: MeterOptions) -> InaSettings:
    """The target's table with the argument's keys put over it. Raises MeterFault for what cannot be understood."""
    values: dict[str, Any] = options.table("ina")
    for part in filter(None, (options.argument or "").split(",")):
        values.update(_argument(part))
    try:
        return InaSettings(**{_known(key): _typed(key, value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise MeterFault(
            f"the settings of ina cannot be read: {error}", f"the keys are: {', '.join(_KEYS)}; {_EXAMPLE}"
        ) from error


def _known(key: str) -> str:
    if key in _KEYS:
        return key
    near = difflib.get_close_matches(key, _KEYS, n=1)
    raise ValueError(f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""))


def _argument(part: str) -> dict[str, Any]:
    key, equals, value = part.partition("=")
    if equals:
        return {key: value}
    return {"way": part} if part in WAYS else {"devices": part.split("+")}


def _typed(key: str, value: Any) -> Any:
    if key in {"devices", "rails"}:
        return tuple(value.split("+")) if isinstance(value, str) else tuple(value)
    if key in {"bus", "address"}:
        return value if isinstance(value, int) else int(value, 0)
    if key == "shunt_ohm":
        ohm = float(value)
        if not 1e-5 <= ohm <= 10.0:
            raise ValueError(f"shunt_ohm {ohm:g} is no current shunt")
        return ohm
    if key == "way" and value not in WAYS:
        raise ValueError(f"way {value!r} is none of {', '.join(WAYS)}")
    return value
