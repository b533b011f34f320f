"""Meters on trees and clocks whose joules are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boards import rapl

from greenup_runtime import meters
from greenup_runtime.clock import FakeClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import MeterOptions
from greenup_runtime.meters.base import StaleReading
from greenup_runtime.meters.rails import RailsMeter
from greenup_runtime.trial import MeterFacts

ESTIMATE = {"active_w_per_core": 5.0, "idle_w": 1.0, "source": "a test"}


def rapl_tree(root: Path, packages: int = 1, range_uj: int = 1000) -> list[Path]:
    numbers = [str(index) for index in range(packages)]
    names = {number: f"package-{number}" for number in numbers} | {f"{number}:0": "core" for number in numbers}
    zones = rapl.tree(root, names, range_uj=range_uj)
    return [zones[number] for number in numbers]


def test_rapl_counts_joules_since_it_was_opened(tmp_path: Path) -> None:
    (zone,) = rapl_tree(tmp_path, range_uj=10_000_000)
    meter = meters.open_named("rapl", MeterOptions(root=tmp_path))
    assert meter.read() == 0.0
    (zone / "energy_uj").write_text("2000900\n")
    assert meter.read() == pytest.approx(2.0)
    assert meter.facts.scope == "package"
    assert not meter.facts.estimated


def test_rapl_undoes_wraps_one_by_one(tmp_path: Path) -> None:
    (zone,) = rapl_tree(tmp_path, range_uj=999)
    meter = meters.open_named("rapl", MeterOptions(root=tmp_path))
    total = 0
    for step in (50, 60, 900, 999, 1):
        position = (int((zone / "energy_uj").read_text()) + step) % 1000
        (zone / "energy_uj").write_text(f"{position}\n")
        total += step
        assert meter.read() == pytest.approx(total / 1e6)


def test_rapl_adds_packages_and_leaves_cores_out(tmp_path: Path) -> None:
    first, second = rapl_tree(tmp_path, packages=2, range_uj=10_000)
    meter = meters.open_named("rapl", MeterOptions(root=tmp_path))
    (first / "energy_uj").write_text("1000\n")
    (second / "energy_uj").write_text("1100\n")
    assert meter.read() == pytest.approx(300e-6)


@pytest.mark.parametrize("content", ["", "many\n", "-"])
def test_rapl_that_cannot_be_read_is_a_fault_and_never_a_number(tmp_path: Path, content: str) -> None:
    (zone,) = rapl_tree(tmp_path)
    meter = meters.open_named("rapl", MeterOptions(root=tmp_path))
    (zone / "energy_uj").write_text(content)
    with pytest.raises(MeterFault, match="energy_uj cannot be read"):
        meter.read()


def test_without_rapl_the_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(MeterFault, match="no RAPL"):
        meters.open_named("rapl", MeterOptions(root=tmp_path))


def test_estimate_is_marked_and_taken_only_after_the_meters(tmp_path: Path) -> None:
    clock = FakeClock()
    options = MeterOptions(root=tmp_path, estimate=ESTIMATE, clock=clock)
    chosen = meters.choose("auto", ["rapl", "estimate"], options)
    assert chosen.meter is not None
    assert chosen.meter.facts.estimated
    assert chosen.reasons == ("rapl: no RAPL: this kernel has no powercap package zone",)
    clock.work(2.0)
    clock.sleep(3.0)
    assert chosen.meter.read() == pytest.approx(5.0 * 2 + 1.0 * 5)


def test_a_real_meter_goes_before_the_estimate(tmp_path: Path) -> None:
    rapl_tree(tmp_path)
    chosen = meters.choose("auto", ["rapl", "estimate"], MeterOptions(root=tmp_path, estimate=ESTIMATE))
    assert chosen.meter is not None
    assert chosen.meter.facts.name == "rapl"


def test_no_meter_at_all_is_a_reason(tmp_path: Path) -> None:
    chosen = meters.choose("auto", ["rapl", "estimate"], MeterOptions(root=tmp_path))
    assert chosen.meter is None
    assert "estimate: no estimate: the target gives no active_w_per_core" in chosen.reasons


def test_unknown_meter_lists_those_there_are() -> None:
    with pytest.raises(MeterFault) as caught:
        meters.open_named("ina9999", MeterOptions())
    assert all(name in str(caught.value.hint) for name in meters.METERS)


def test_fake_meter_takes_its_powers_from_the_argument() -> None:
    clock = FakeClock()
    meter = meters.open_named("fake:idle_w=1,active_w=4", MeterOptions(clock=clock))
    clock.work(1.0)
    clock.sleep(1.0)
    assert meter.read() == pytest.approx(2 * 1 + 4)
    assert meter.facts.simulated
    with pytest.raises(MeterFault, match="cannot read"):
        meters.open_named("fake:watts=3", MeterOptions())


@pytest.mark.parametrize("watts", ["-5", "nan", "inf"])
def test_fake_meter_refuses_powers_that_nothing_draws(watts: str) -> None:
    with pytest.raises(MeterFault, match=f"idle_w is {watts}, watts are 0 or more"):
        meters.open_named(f"fake:idle_w={watts},active_w=0", MeterOptions())


def write_trace(path: Path, kind: str, samples: list[tuple[float, float]]) -> Path:
    head = {"kind": kind, "scope": "board", "source": "a test", "update_s": 0.1}
    lines = [json.dumps(head), *(json.dumps({"time_s": t, "value": v}) for t, v in samples)]
    path.write_text("\n".join(lines))
    return path


def test_replay_of_power_holds_the_last_value_and_repeats(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "trace.jsonl", "power", [(5.0, 1.0), (6.0, 3.0), (7.0, 3.0)])
    clock = FakeClock()
    meter = meters.open_named(f"replay:{path}", MeterOptions(clock=clock))
    seen = []
    for _ in range(5):
        seen.append(meter.read())
        clock.sleep(0.5)
    assert seen == [1.0, 1.0, 3.0, 3.0, 1.0]


def test_replay_of_a_counter_goes_on_rising(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "trace.jsonl", "counter", [(0.0, 10.0), (2.0, 14.0)])
    clock = FakeClock()
    meter = meters.open_named(f"replay:{path}", MeterOptions(clock=clock))
    clock.sleep(5.0)
    assert meter.read() == pytest.approx(10.0)


@pytest.mark.parametrize(
    "samples",
    [[(0.0, 1.0)], [(0.0, 1.0), (0.0, 2.0)], [(0.0, 1.0), (1.0, float("nan"))], [(0.0, 2.0), (1.0, 1.0)]],
)
def test_replay_refuses_what_no_counter_gives(tmp_path: Path, samples: list[tuple[float, float]]) -> None:
    path = write_trace(tmp_path / "trace.jsonl", "counter", samples)
    with pytest.raises(MeterFault, match="cannot be replayed"):
        meters.open_named(f"replay:{path}", MeterOptions())


def test_survey_lists_every_sensor_with_a_reading_or_a_reason(tmp_path: Path) -> None:
    clock = FakeClock()
    rows = {row["name"]: row for row in meters.survey(MeterOptions(root=tmp_path, estimate=ESTIMATE, clock=clock))}
    assert set(rows) == set(meters.names())
    assert {name for name, row in rows.items() if row["usable"]} == {"estimate"}
    assert all(row["reason"] for row in rows.values() if not row["usable"])
    assert rows["estimate"]["estimated"]
    assert rows["estimate"]["power_w"] == pytest.approx(1.0)


def test_a_value_that_stays_the_same_is_new_again_after_a_whole_update() -> None:
    clock = FakeClock()
    facts = MeterFacts("ina", "power", "board", "a test", update_s=0.01, rails=("all",))
    meter = RailsMeter(facts, lambda _names: {"all": 3.0}, clock)
    assert meter.read() == 3.0
    clock.sleep(0.004)
    with pytest.raises(StaleReading):
        meter.read()
    clock.sleep(0.0055)
    # A little early, as a timer may be: values that stay must not count less than values that change.
    assert meter.read() == 3.0
