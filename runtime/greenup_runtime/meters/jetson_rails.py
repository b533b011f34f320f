"""Which rails of a Jetson are summed, for all three ways of reading them.

A rail that is the module's input holds all others. Where a board has none (AGX Orin), the rails are summed, and
what the carrier board takes is not seen. `[meters.jetson] rails` of a target names other ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions

TOTALS = ("VDD_IN", "POM_5V_IN")
UNUSED = frozenset({"NC", ""})
# Five milliohms are on Orin Nano and NX; AGX Orin has two. Used for the size of a step only, never for watts.
USUAL_SHUNT_OHM = 0.005
# INA3221: 40 µV over the shunt is one step; at the rail's 5 V.
_STEP_V = 40e-6
_RAIL_V = 5.0


def asked_for(options: MeterOptions) -> tuple[str, ...]:
    """The rails that the target names, or none. Raises MeterFault where it does not name a list."""
    rails = options.table("jetson").get("rails", [])
    if not isinstance(rails, (list, tuple)) or not all(isinstance(name, str) for name in rails):
        raise MeterFault("the settings of jetson cannot be read: rails is not a list of names")
    return tuple(rails)


def counted(labels: Sequence[str], asked: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The rails to sum, and the scope that this makes. Raises MeterFault where an asked one is missing."""
    used = [label for label in labels if label not in UNUSED]
    if not used:
        raise MeterFault("every rail of this board is unused")
    if missing := [name for name in asked if name not in used]:
        raise MeterFault(
            f"this board has no rail {', '.join(missing)}", f"there are: {', '.join(used)}; is the target right?"
        )
    totals = [name for name in TOTALS if name in (asked or used)]
    if totals:
        return (totals[0],), f"module ({totals[0]})"
    rails = asked or tuple(used)
    return rails, f"sum of {len(rails)} rails, without the carrier board"


def resolution_w(options: MeterOptions, rails: int) -> float:
    """One step of the sum in watts, with the target's shunt or the usual one."""
    ohm = options.table("jetson").get("shunt_ohm", USUAL_SHUNT_OHM)
    if not isinstance(ohm, (int, float)) or not 1e-5 <= ohm <= 10.0:
        raise MeterFault(f"the settings of jetson cannot be read: shunt_ohm {ohm!r} is no current shunt")
    return rails * _STEP_V / float(ohm) * _RAIL_V
