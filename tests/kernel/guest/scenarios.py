"""What happens in the machine. Each scenario returns what it saw; the tests on the host judge it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import chips
import jetson
import trial
from rig import ADDRESS, chip_on_bus, ledger, load, meter, packed, plant, sampled

from greenup_runtime.clock import SystemClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import Meter, StaleReading
from greenup_runtime.sampling import Sampler

Found = dict[str, Any]
STUB = f"i2c-stub chip_addr={ADDRESS:#x}"
# Steps up and down, a ramp, and none of it at a multiple of any meter's period.
PROFILE = [[0, 2.0], [0.713, 2.0], [0.713, 6.0], [1.531, 6.0], [1.531, 1.2], [2.307, 1.2], [3.907, 5.0], [4, 3.0]]
SECONDS = 4.0
SHUNT_OHM = 0.1


def _chip(kind: str, shunt_ohm: float = SHUNT_OHM) -> dict[str, Any]:
    """A fresh part on the bus, as the plant wants it described. An INA3221's usual shunts are smaller."""
    if kind == "ina3221":
        shunt_ohm = 0.01
    chips.KINDS[kind](ADDRESS, shunt_ohm).power_on()
    return {"kind": kind, "address": ADDRESS, "shunt_ohm": shunt_ohm}


def _profile(request: str, power: dict[str, Any]) -> Found:
    """One part follows the profile, one meter reads it."""
    opened = meter(request)
    with plant({"points": PROFILE}, power):
        seen = sampled(opened, SECONDS)
    return {**seen, "ledger": ledger()}


def hwmon(kind: str) -> Found:
    """A chip under its hwmon driver."""
    load(STUB, "ina3221" if kind == "ina3221" else "ina2xx")
    power = _chip(kind)
    with chip_on_bus(kind):
        return _profile("ina:hwmon,shunt_ohm=0.1", power)


def iio(kind: str) -> Found:
    """A chip under the IIO driver, the only one for it in Debian's kernels."""
    load(STUB, "ina2xx-adc")
    power = _chip(kind)
    with chip_on_bus(kind):
        return _profile("ina:iio,shunt_ohm=0.1", power)


def raw(kind: str) -> Found:
    """A chip without a driver, over /dev/i2c-N."""
    load(STUB)
    return _profile(_raw_request(kind), _chip(kind))


def _raw_request(kind: str) -> str:
    shunt_ohm = 0.01 if kind == "ina3221" else SHUNT_OHM
    return f"ina:i2c,chip={kind},bus={chips.stub_bus()},address={ADDRESS:#x},shunt_ohm={shunt_ohm}"


def rapl_wraps() -> Found:
    """A counter that starts again after 4 J, several times in the profile."""
    load("fakerapl range_uj=4000000")
    return _profile("rapl", {"kind": "rapl"})


def rapl_forbidden() -> Found:
    """The counter is there, but not for this user."""
    load("fakerapl")
    mode = Path("/sys/class/powercap/intel-rapl:0/energy_uj").stat().st_mode & 0o777
    return {"mode": mode, "meters": trial.runner("meters", user=65534)["meters"]}


def default_shunt() -> Found:
    """A part with 100 mΩ that the driver takes for its default of 10 mΩ, with and without being told."""
    load(STUB, "ina2xx")
    power = _chip("ina219")
    with chip_on_bus("ina219") as device, plant({"points": [[0, 3.0]]}, power):
        (shunt,) = device.glob("hwmon/hwmon*/shunt_resistor")
        untold, told = meter("ina"), meter("ina:shunt_ohm=0.1")
        return {
            "true_w": 3.0,
            "driver_uohm": int(shunt.read_text()),
            "untold": {"power_w": untold.read(), "warning": untold.warning, "source": untold.facts.source},
            "told": {"power_w": told.read(), "warning": told.warning, "source": told.facts.source},
        }


def vanishes() -> Found:
    """The driver lets go of the chip while the sampler reads, and takes it again later."""
    load(STUB, "ina2xx")
    power = _chip("ina219")
    with chip_on_bus("ina219") as device, plant({"points": [[0, 3.0]]}, power):
        driver = Path("/sys/bus/i2c/drivers/ina2xx")
        opened, clock = meter("ina:shunt_ohm=0.1"), SystemClock()
        with Sampler(opened, clock) as sampler:
            clock.sleep(1)
            gone_s = clock.now()
            (driver / "unbind").write_text(device.name)
            clock.sleep(0.5)
            fault = _fault(opened)
            (driver / "bind").write_text(device.name)
            back_s = clock.now()
            clock.sleep(1)
        trace = packed(sampler.trace().tobytes())
        return {"trace": trace, "gone_s": gone_s, "back_s": back_s, "fault": fault, "true_w": 3.0}


def held_chip() -> Found:
    """Raw access to a chip that a driver holds."""
    load(STUB, "ina2xx")
    _chip("ina219")
    with chip_on_bus("ina219"):
        return _refused(_raw_request("ina219"))


def other_part() -> Found:
    """Raw access to an address where another part lives: nothing may be written to it."""
    load(STUB)
    servo = chips.Ina219(ADDRESS, SHUNT_OHM)
    before = {0: 0x1100, 5: 0x0004}
    for register, word in before.items():
        servo.write(register, word)
    return {**_refused(_raw_request("ina219")), "untouched": all(servo.read(r) == w for r, w in before.items())}


def _refused(request: str) -> Found:
    try:
        meter(request)
    except MeterFault as fault:
        return {"reason": fault.message, "hint": fault.hint}
    return {"reason": None}


def repeated() -> Found:
    """A chip that has converted nothing new since the last reading, by hwmon and by its own flag."""
    load(STUB, "ina2xx")
    part = chips.Ina219(ADDRESS, SHUNT_OHM)
    part.power_on()
    with chip_on_bus("ina219"):
        part.set_w(3.0)
        by_hwmon = meter("ina:shunt_ohm=0.1")
        hwmon_seen = [_reading(by_hwmon), _reading(by_hwmon)]
        part.set_w(4.0)
        hwmon_seen.append(_reading(by_hwmon))
    by_flag = meter(_raw_request("ina219"))
    part.set_w(3.0)
    flag_seen = [_reading(by_flag)]
    part.not_ready()
    flag_seen.append(_reading(by_flag))
    part.set_w(4.0)
    return {"hwmon": hwmon_seen, "flag": [*flag_seen, _reading(by_flag)]}


def _reading(opened: Meter) -> float | str:
    try:
        return opened.read()
    except StaleReading:
        return "stale"


def _fault(opened: Meter) -> str | None:
    try:
        opened.read()
    except MeterFault as fault:
        return fault.message
    return None


def brown_out() -> Found:
    """A part whose supply broke down shows 0 W for ever, because its calibration is gone."""
    load(STUB)
    part = chips.Ina219(ADDRESS, SHUNT_OHM)
    part.power_on()
    opened = meter(_raw_request("ina219"))
    part.set_w(3.0)
    before_w = opened.read()
    part.power_on()
    part.write(5, 0)
    part.set_w(3.0)
    return {"before_w": before_w, "reason": _fault(opened)}


ALL: dict[str, Callable[[], Found]] = {
    **{f"hwmon-{kind}": partial(hwmon, kind) for kind in ("ina219", "ina226", "ina3221")},
    **{f"iio-{kind}": partial(iio, kind) for kind in ("ina219", "ina226")},
    **{f"raw-{kind}": partial(raw, kind) for kind in ("ina219", "ina226", "ina3221")},
    "rapl-wraps": rapl_wraps,
    "rapl-forbidden": rapl_forbidden,
    "default-shunt": default_shunt,
    "vanishes": vanishes,
    "held-chip": held_chip,
    "other-part": other_part,
    "repeated": repeated,
    "brown-out": brown_out,
    "trial-rapl": trial.on_rapl,
    "trial-ina219": trial.on_ina219,
    "trial-waiting": trial.waiting,
    "jetson-rails": jetson.rails,
    "jetson-profile": jetson.profile,
    "jetson-trial": jetson.whole_trial,
}
