"""What every meter must do, whatever it reads: complete facts, right units, no number where there is none.

Each meter has a bench in boards/cases.py; a meter that is registered without one fails here.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from boards.cases import CASES, Bench, Handle

from greenup_runtime import meters
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import Meter, MeterOptions
from greenup_runtime.meters.base import HasRails, StaleReading
from greenup_runtime.trial import MeterFacts

MODELS = {"estimate", "fake", "replay"}
_opened: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event in {"open", "os.listdir", "os.scandir"}:
        _opened.append(str(arguments[0]))


# An audit hook cannot be taken away again: it is put in once and listens only while a list is there.
sys.addaudithook(_watch)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return new_bench(tmp_path, monkeypatch)


def new_bench(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in ("root", "bin"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return Bench(folder / "root", folder / "bin", monkeypatch)


@pytest.fixture(params=CASES)
def handle(request: pytest.FixtureRequest, bench: Bench) -> Handle:
    return CASES[request.param](bench)


@pytest.fixture
def meter(handle: Handle, bench: Bench) -> Iterator[Meter]:
    opened = bench.open()
    yield opened
    opened.close()


def reading(meter: Meter) -> float:
    """A reading of a sensor that has something new; lines of a child process take a moment."""
    give_up_s = time.monotonic() + 5.0
    while True:
        try:
            return meter.read()
        except StaleReading:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.002)


def test_every_registered_meter_is_tried_here() -> None:
    assert {name.partition(" ")[0] for name in CASES} == set(meters.METERS)


def test_its_facts_are_complete(meter: Meter, bench: Bench) -> None:
    facts = meter.facts
    assert facts.name == bench.request.partition(":")[0]
    assert facts.kind in {"counter", "power"}
    assert facts.scope
    assert facts.source
    assert 0 < facts.update_s < 10
    assert facts.lag_s >= 0
    assert facts.estimated == (facts.name == "estimate")
    assert facts.simulated == (facts.name in {"fake", "replay"})
    if facts.name not in MODELS:
        assert facts.resolution > 0
        assert facts.rails
    assert MeterFacts.from_json(asdict(facts)) == facts


def test_its_units_are_joules_or_watts(meter: Meter, handle: Handle) -> None:
    first = meter.read()
    handle.renew()
    second = reading(meter)
    shown = second - first if meter.facts.kind == "counter" else second
    assert shown == pytest.approx(handle.value, rel=2e-3)


def test_it_never_falls_below_zero_nor_a_counter_back(meter: Meter, handle: Handle) -> None:
    values = [meter.read()]
    for _ in range(5):
        handle.renew()
        values.append(reading(meter))
    assert all(math.isfinite(value) and value >= 0 for value in values)
    if meter.facts.kind == "counter":
        assert values == sorted(values)


def test_its_rails_sum_to_what_it_reads(meter: Meter, handle: Handle) -> None:
    if not isinstance(meter, HasRails):
        assert len(meter.facts.rails) <= 1
        return
    handle.renew()
    total = reading(meter)
    handle.renew()
    rails = patiently(meter)
    assert set(meter.facts.rails) <= set(rails)
    shown = sum(rails[name] for name in meter.facts.rails)
    assert shown == pytest.approx(total + (handle.value if meter.facts.kind == "counter" else 0.0), rel=2e-3)


def patiently(meter: HasRails) -> dict[str, float]:
    for _ in range(1000):
        try:
            return meter.read_rails()
        except StaleReading:
            time.sleep(0.002)
    return meter.read_rails()


def test_it_says_stale_only_if_it_gives_a_value_once(meter: Meter, handle: Handle) -> None:
    meter.read()
    if handle.stale:
        with pytest.raises(StaleReading):
            meter.read()
    else:
        assert math.isfinite(meter.read())


@pytest.mark.parametrize("name", [name for name in CASES if name not in MODELS])
def test_a_broken_sensor_is_a_fault_and_never_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each way of breaking on a bench of its own: vanished, EIO, empty, huge, garbage, …"""
    kinds = list(CASES[name](new_bench(tmp_path / "first", monkeypatch)).breaks)
    assert {"vanished", "garbage"} & set(kinds)
    for kind in kinds:
        bench = new_bench(tmp_path / kind, monkeypatch)
        handle = CASES[name](bench)
        meter = bench.open()
        try:
            meter.read()
            handle.breaks[kind]()
            bench.clock.sleep(1.0)
            shown = [outcome(meter) for _ in range(3)]
        finally:
            meter.close()
        assert all(isinstance(one, MeterFault) and one.message for one in shown), (kind, shown)


def outcome(meter: Meter) -> float | MeterFault:
    try:
        return meter.read()
    except MeterFault as fault:
        return fault


def test_it_can_be_closed_twice_and_leaves_no_thread(handle: Handle, bench: Bench) -> None:
    before = {thread.name for thread in threading.enumerate()}
    meter = bench.open()
    meter.close()
    meter.close()
    left = {thread.name for thread in threading.enumerate() if thread.name.startswith("greenup-")} - before
    assert not left


def test_it_reads_nothing_of_the_machine_outside_its_root(handle: Handle, bench: Bench) -> None:
    global _opened
    _opened = []
    try:
        meter = bench.open()
        meter.read()
        if isinstance(meter, HasRails):
            handle.renew()
            patiently(meter)
        meter.close()
        seen = [path for path in _opened if path.startswith(("/sys", "/proc", "/dev", "/run"))]
    finally:
        _opened = None
    assert set(seen) <= {"/dev/null"}


@pytest.mark.parametrize("name", [name for name in meters.METERS if name not in MODELS])
def test_on_a_board_without_it_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeterFault) as caught:
        meters.open_named(name, MeterOptions(root=tmp_path))
    assert caught.value.message
    assert caught.value.hint
