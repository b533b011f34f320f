"""What a device could be measured with: every meter with a reading, or the reason why not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import HasRails, Meter, MeterOptions, StaleReading, warning_of

T = TypeVar("T")
Row = dict[str, Any]
Open = Callable[[str, MeterOptions], Meter]
_COUNTED_S = 0.2
_PATIENCE_S = 3.0


def rows(names: Iterable[str], open_meter: Open, options: MeterOptions, watch_s: float = 0.0) -> list[Row]:
    """One row per meter: facts, rails and watts now; with `watch_s` also rate, noise and mean power.

    A meter that cannot be used has `usable` False with `reason` and `hint`.
    """
    return [_row(name, open_meter, options, watch_s) for name in names]


def _row(name: str, open_meter: Open, options: MeterOptions, watch_s: float) -> Row:
    try:
        meter = open_meter(name, options)
    except MeterFault as fault:
        return _unusable(name, fault)
    try:
        return {
            **_facts(name, meter),
            **_readings(meter, options.clock),
            **_watched(meter, options.clock, watch_s),
        }
    except MeterFault as fault:
        return _unusable(name, fault)
    finally:
        meter.close()


def _unusable(name: str, fault: MeterFault) -> Row:
    return {"name": name, "usable": False, "reason": fault.message, "hint": fault.hint}


def _facts(name: str, meter: Meter) -> Row:
    facts = meter.facts
    row: Row = {
        "name": name,
        "usable": True,
        "kind": facts.kind,
        "scope": facts.scope,
        "source": facts.source,
        "estimated": facts.estimated,
        "simulated": facts.simulated,
        "update_s": facts.update_s,
        "resolution": facts.resolution,
    }
    warning = warning_of(meter)
    return {**row, "warning": warning} if warning else row


def _readings(meter: Meter, clock: Clock) -> Row:
    """Watts of the meter and of each of its rails; a counter's are its mean over a fifth of a second."""
    start_s, first, first_rails = clock.now(), patient(meter.read, meter, clock), _rails(meter, clock)
    if meter.facts.kind == "power":
        return {"power_w": first, "rails": first_rails or {"all": first}}
    clock.sleep(max(_COUNTED_S, 2 * meter.facts.update_s))
    last, elapsed_s = patient(meter.read, meter, clock), clock.now() - start_s
    last_rails = _rails(meter, clock)
    total_w = (last - first) / elapsed_s
    rails = {name: (value - first_rails[name]) / elapsed_s for name, value in last_rails.items()}
    return {"power_w": total_w, "rails": rails or {"all": total_w}}


def _rails(meter: Meter, clock: Clock) -> dict[str, float]:
    return patient(meter.read_rails, meter, clock) if isinstance(meter, HasRails) else {}


def patient(read: Callable[[], T], meter: Meter, clock: Clock) -> T:
    """A reading, waited for while the sensor has nothing new. Raises StaleReading where nothing ever comes."""
    give_up_s = clock.now() + max(_PATIENCE_S, 5 * meter.facts.update_s)
    while True:
        try:
            return read()
        except StaleReading:
            if clock.now() >= give_up_s:
                raise
            clock.sleep(meter.facts.update_s / 2)


def _watched(meter: Meter, clock: Clock, watch_s: float) -> Row:
    """Rate of new values, their standard deviation and their mean, over `watch_s` seconds."""
    if watch_s <= 0:
        return {}
    values, faults = _watch(meter, clock, watch_s)
    if meter.facts.kind == "counter":
        values = [
            (second[0], (second[1] - first[1]) / (second[0] - first[0]))
            for first, second in itertools.pairwise(values)
            if second[0] > first[0]
        ]
    if len(values) < 2:
        raise MeterFault(f"{meter.facts.name} gave {len(values)} values in {watch_s:g} s")
    watts = [value for _, value in values]
    mean_w = sum(watts) / len(watts)
    noise_w = (sum((value - mean_w) ** 2 for value in watts) / (len(watts) - 1)) ** 0.5
    span_s = values[-1][0] - values[0][0]
    return {
        "effective_hz": (len(values) - 1) / span_s,
        "noise_w": noise_w,
        "idle_w": mean_w,
        "faults": faults,
    }


def _watch(meter: Meter, clock: Clock, watch_s: float) -> tuple[list[tuple[float, float]], int]:
    """(time, value) of every new reading, and how many readings failed; never polled faster than 100 Hz."""
    values: list[tuple[float, float]] = []
    faults = 0
    period_s = max(meter.facts.update_s, 0.01)
    end_s = clock.now() + max(watch_s, 4 * period_s)
    while clock.now() < end_s:
        try:
            value = meter.read()
        except StaleReading:
            pass
        except MeterFault:
            faults += 1
        else:
            values.append((clock.now(), value))
        clock.sleep(period_s)
    return values, faults
