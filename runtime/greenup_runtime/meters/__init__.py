"""Sources of energy on a device: one file each, one protocol, chosen in the target's order.

A real meter always goes before an estimate, and an estimate is never taken silently: its facts say so, and
`choose` returns the reason why each meter before it was passed over. A meter of one's own is an entry point of
the group `greenup_runtime.meters` that names its `open_meter`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import (
    estimate,
    fake,
    ina,
    jetson,
    jtop,
    nvml,
    pmic,
    pyrapl,
    rapl,
    replay,
    tegrastats,
)
from greenup_runtime.meters import survey as surveying
from greenup_runtime.meters.base import Meter, MeterOptions

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["METERS", "SENSORS", "Chosen", "Meter", "MeterOptions", "choose", "names", "open_named", "survey"]

Open = Callable[[MeterOptions], Meter]
METERS: dict[str, Open] = {
    "jetson": jetson.open_meter,
    "ina": ina.open_meter,
    "pmic": pmic.open_meter,
    "rapl": rapl.open_meter,
    "jtop": jtop.open_meter,
    "tegrastats": tegrastats.open_meter,
    "nvml": nvml.open_meter,
    "pyrapl": pyrapl.open_meter,
    "estimate": estimate.open_meter,
    "fake": fake.open_meter,
    "replay": replay.open_meter,
}
ENTRY_POINTS = "greenup_runtime.meters"
# What `auto` tries where no target gives an order: every sensor of our own, the widest scope first.
SENSORS = tuple(name for name in METERS if name not in {"estimate", "fake", "replay"})


@dataclass(frozen=True)
class Chosen:
    """The meter to use, or None; `reasons` says for each one passed over why."""

    meter: Meter | None
    reasons: tuple[str, ...]


def choose(request: str, order: Sequence[str], options: MeterOptions) -> Chosen:
    """Open the meter asked for: `auto` takes the first of `order` that works, `none` takes none.

    A meter named outright (`rapl`, `fake:idle_w=2`) must work: MeterFault says why it does not, and which do.
    """
    if request == "none":
        return Chosen(None, ("no meter: none was asked for",))
    if request != "auto":
        return Chosen(_must_open(request, options), ())
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
    # To look for one's own reads files of every installed package: only where the name is none of ours.
    known = METERS if name in METERS else {**_own_meters(), **METERS}
    if name not in known:
        raise MeterFault(f"there is no meter {name!r}", f"there are: {', '.join(known)}, auto, none")
    return known[name](replace(options, argument=argument or None))


def names() -> tuple[str, ...]:
    """Every meter that could be on a device: sensors, those of one's own, the estimate."""
    return (*SENSORS, *(name for name in _own_meters() if name not in METERS), "estimate")


def survey(options: MeterOptions, watch_s: float = 0.0, only: str | None = None) -> list[surveying.Row]:
    """One row per meter this device could have: its facts and readings, or the reason why it cannot be used.

    With `watch_s` each usable meter is also read for so long: `effective_hz`, `noise_w` and `idle_w`. `only` asks
    for one meter, by `name` or `name:argument`.
    """
    return surveying.rows(names() if only is None else (only,), open_named, options, watch_s)


def _must_open(request: str, options: MeterOptions) -> Meter:
    try:
        return open_named(request, options)
    except MeterFault as fault:
        usable = [row["name"] for row in survey(options) if row["usable"]]
        here = f"this device has: {', '.join(usable) or 'no meter'}"
        raise MeterFault(f"{fault.message} ({here})", fault.hint) from fault


def _own_meters() -> dict[str, Open]:
    from importlib import metadata

    return {point.name: _loader(point) for point in metadata.entry_points(group=ENTRY_POINTS)}


def _loader(point: EntryPoint) -> Open:
    def open_meter(options: MeterOptions) -> Meter:
        try:
            opened: Open = point.load()
        except (ImportError, AttributeError) as error:
            raise MeterFault(f"the meter {point.name} ({point.value}) cannot be loaded: {error}") from error
        return opened(options)

    return open_meter
