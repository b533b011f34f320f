"""The power chip of a Raspberry Pi 5: the currents and voltages of twelve rails, through the firmware.

    3V7_WL_SW_A current(0)=0.07709848A
    3V7_WL_SW_V volt(8)=3.69049700V
    EXT5V_V volt(24)=5.11478000V          no current: not a rail

The text comes from the firmware's mailbox (/dev/vcio), or from `vcgencmd pmic_read_adc` where that is closed: a
process a reading, so at a lower rate. Rails are paired by name: their list changed between firmwares. The current
at the input is not measured: USB devices and what hangs on the 5 V pins are not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from greenup_runtime import vcgencmd
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.meters.mailbox import Mailbox
from greenup_runtime.meters.rails import RailsMeter, pick
from greenup_runtime.trial import MeterFacts

COMMAND = "pmic_read_adc"
MAILBOX_UPDATE_S = 0.05
VCGENCMD_UPDATE_S = 0.2
# The steps that the firmware's figures show (see tests/boards): 0.976 mA a rail, each at its voltage.
RESOLUTION_W = 0.02
_WAYS = ("mailbox", "vcgencmd")
_LINE = re.compile(
    r"[ \t]*(?P<name>[A-Z0-9_]{1,40})_(?P<kind>[AV]) (current|volt)\([0-9]{1,3}\)="
    r"(?P<value>[0-9]{1,3}\.[0-9]{1,12})(?P<unit>[AV])[ \t\r]*"
)
_MOST = {"A": 30.0, "V": 30.0}


def parse(text: str) -> dict[str, float]:
    """Watts by rail, for the rails with current and voltage. Raises MeterFault for a current without its voltage.

    A line that is no reading is left out; so a text that was cut shows as a rail that is missing.
    """
    seen: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None or found["kind"] != found["unit"]:
            continue
        value = float(found["value"])
        if value > _MOST[found["unit"]]:
            raise MeterFault(f"the PMIC's {found['name']} cannot be right: {value:g} {found['unit']}")
        seen[found["kind"]][found["name"]] = value
    if missing := sorted(set(seen["A"]) - set(seen["V"])):
        raise MeterFault(f"the PMIC shows a current without voltage: {', '.join(missing)}")
    return {name: current * seen["V"][name] for name, current in seen["A"].items()}


def open_meter(options: MeterOptions) -> RailsMeter:
    """Ask the firmware for its rails. Raises MeterFault where the board has no such chip or refuses to answer."""
    if options.argument not in {None, *_WAYS}:
        raise MeterFault(f"pmic cannot read through {options.argument!r}", f"write one of: {', '.join(_WAYS)}")
    reasons = []
    for way, connect in (("mailbox", _mailbox), ("vcgencmd", _vcgencmd)):
        if options.argument in {None, way}:
            try:
                return _meter(way, *connect(options), options)
            except MeterFault as fault:
                reasons.append(f"{way}: {fault.message}")
    raise MeterFault(
        f"no PMIC: {'; '.join(reasons)}", "only a Raspberry Pi 5 has one; join the group video to read it"
    )


def _meter(
    way: str, ask: Callable[[], str], close: Callable[[], None], update_s: float, options: MeterOptions
) -> RailsMeter:
    def read(names: Iterable[str]) -> Mapping[str, float]:
        return pick(parse(ask()), names)

    try:
        rails = tuple(parse(ask()))
        if not rails:
            raise MeterFault("the firmware shows no rail with a current")
    except MeterFault:
        close()
        raise
    facts = MeterFacts(
        name="pmic",
        kind="power",
        scope=f"{len(rails)} rails, no input current",
        source=f"Raspberry Pi PMIC ({way})",
        update_s=update_s,
        resolution=RESOLUTION_W,
        rails=rails,
    )
    return RailsMeter(facts, read, options.clock, close=close)


def _mailbox(options: MeterOptions) -> tuple[Callable[[], str], Callable[[], None], float]:
    mailbox = Mailbox(options.root / "dev/vcio")
    return (lambda: mailbox.ask(COMMAND)), mailbox.close, MAILBOX_UPDATE_S


def _vcgencmd(_options: MeterOptions) -> tuple[Callable[[], str], Callable[[], None], float]:
    program = vcgencmd.find()
    if program is None:
        raise MeterFault("the program is not on the PATH")
    return (lambda: vcgencmd.ask(program, COMMAND)), lambda: None, VCGENCMD_UPDATE_S
