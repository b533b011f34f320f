"""Sources of energy on a device: one file each, one protocol, chosen in the target's order.

A real meter always goes before an estimate, and an estimate is never taken silently: its facts say so, and
`choose` returns the reason why each meter before it was passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import estimate, fake, rapl, replay
from greenup_runtime.meters.base import Meter, MeterOptions

__all__ = ["METERS", "Chosen", "Meter", "MeterOptions", "choose", "open_named", "survey"]

METERS: dict[str, Callable[[MeterOptions], Meter]] = {
    "rapl": rapl.open_meter,
    "estimate": estimate.open_meter,
    "fake": fake.open_meter,
    "replay": replay.open_meter,
}


@dataclass(frozen=True)
class Chosen:
    """The meter to use, or None; `reasons` says for each one passed over why."""

    meter: Meter | None
    reasons: tuple[str, ...]


def choose(request: str, order: Sequence[str], options: MeterOptions) -> Chosen:
    """Open the meter asked for: `auto` takes the first of `order` that works, `none` takes none.

    A meter named outright (`rapl`, `fake:idle_w=2`) must work: MeterFault says why it does not.
    """
    if request == "none":
        return Chosen(None, ("no meter: none was asked for",))
    if request != "auto":
        return Chosen(open_named(request, options), ())
    reasons: list[str] = []
    for name in order:
        try:
            return Chosen(open_named(name, options), tuple(reasons))
        except MeterFault as fault:
            reasons.append(f"{name}: {fault.message}")
    return Chosen(None, tuple(reasons))


def open_named(request: str, options: MeterOptions) -> Meter:
    """Open one meter by `name` or `name:argument`. Raises MeterFault, listing the names there are."""
    name, _, argument = request.partition(":")
    if name not in METERS:
        raise MeterFault(f"there is no meter {name!r}", f"there are: {', '.join(METERS)}, auto, none")
    return METERS[name](replace(options, argument=argument or None))


def survey(options: MeterOptions) -> list[dict[str, object]]:
    """One row per sensor this device could have: its facts and a reading, or the reason why it cannot be used."""
    rows: list[dict[str, object]] = []
    for name in ("rapl", "estimate"):
        try:
            meter = METERS[name](options)
        except MeterFault as fault:
            rows.append({"name": name, "usable": False, "reason": fault.message, "hint": fault.hint})
            continue
        unit = "energy_j" if meter.facts.kind == "counter" else "power_w"
        row = {"name": name, "usable": True, "scope": meter.facts.scope, "source": meter.facts.source}
        rows.append({**row, "estimated": meter.facts.estimated, unit: meter.read()})
        meter.close()
    return rows
