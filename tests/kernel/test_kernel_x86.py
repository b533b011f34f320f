"""The runner's meters on a real kernel's sensors: what they say beside what the plant wrote into its ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lab import judge, ledger
from lab.qemu import Booted

from greenup import gpsup

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1800)]

# A profile of 4 s has three steps and a ramp. Each step can fall half a sampling period away from where the
# samples put it: 4 W × 5 ms each, of 12.6 J. Half a step of the sensor's resolution comes on top.
EDGES = 0.01
WAYS = [f"hwmon-ina{n}" for n in (219, 226, 3221)] + ["iio-ina219", "iio-ina226"]
WAYS += [f"raw-ina{n}" for n in (219, 226, 3221)]


@pytest.mark.parametrize("scenario", WAYS)
def test_joules_of_a_power_profile_come_out_right(x86: Booted, scenario: str) -> None:
    compared = judge.profile(x86.outcome(scenario))
    step = compared.facts.resolution / 2 * 4.0 / compared.true_j
    # An INA226 converts every 35 ms under its driver, so its steps are seen as much later.
    assert abs(compared.error) <= EDGES * max(1.0, compared.facts.update_s / 0.01) + step
    assert compared.updates >= 20
    assert compared.facts.name == "ina"
    assert not compared.facts.estimated


def test_windows_anywhere_in_a_profile_are_inside_their_intervals(x86: Booted) -> None:
    held = {scenario: judge.windows(x86.outcome(scenario)) for scenario in WAYS}
    shares = {scenario: f"{np.mean(each):.2f} of {len(each)}" for scenario, each in held.items()}
    print("inside:", shares)
    assert all(len(each) >= 90 for each in held.values()), shares
    assert min(np.mean(each) for each in held.values()) >= 0.93, shares


@pytest.mark.parametrize("scenario", WAYS)
def test_a_meter_says_which_chip_it_read_and_how(x86: Booted, scenario: str) -> None:
    way, chip = scenario.split("-")
    source = x86.outcome(scenario)["facts"]["source"]
    assert chip in source
    assert {"hwmon": "(hwmon)", "iio": "(IIO)", "raw": "(raw I2C)"}[way] in source


def test_rapl_counts_through_its_wraps(x86: Booted) -> None:
    compared = judge.profile(x86.outcome("rapl-wraps"))
    assert compared.true_j > 2 * 4.0, "a counter of 4 J must have wrapped more than once for this to say anything"
    # The counter moves once a millisecond, so each edge can be off by that much.
    assert abs(compared.metered_j - compared.true_j) <= 2 * 0.001 * 6.0 + 0.005 * compared.true_j


def test_rapl_without_the_right_to_read_it_says_so_and_what_to_do(x86: Booted) -> None:
    outcome = x86.outcome("rapl-forbidden")
    assert outcome["mode"] == 0o400, "the kernel itself makes the counter readable by root only"
    (row,) = (row for row in outcome["meters"] if row["name"] == "rapl")
    assert not row["usable"]
    assert "no right to read" in row["reason"]
    assert "udev rule" in row["hint"]


def test_the_drivers_default_shunt_is_warned_of_and_a_named_shunt_is_used(x86: Booted) -> None:
    outcome = x86.outcome("default-shunt")
    assert outcome["driver_uohm"] == 10_000
    assert outcome["untold"]["power_w"] == pytest.approx(10 * outcome["true_w"], rel=0.02)
    assert "default" in outcome["untold"]["warning"]
    assert "WARNING" in outcome["untold"]["source"]
    assert outcome["told"]["power_w"] == pytest.approx(outcome["true_w"], rel=0.02)
    assert outcome["told"]["warning"] is None


def test_a_meter_whose_driver_lets_go_is_a_fault_and_never_zero_watts(x86: Booted) -> None:
    outcome = x86.outcome("vanishes")
    assert outcome["fault"]
    trace = ledger.pairs(outcome["trace"])
    assert np.all(trace[:, 1] == pytest.approx(outcome["true_w"], rel=0.02))
    # Unbinding takes a moment; nothing may be read from a chip that is gone.
    assert not np.any((trace[:, 0] > outcome["gone_s"] + 0.1) & (trace[:, 0] < outcome["back_s"] - 0.1))
    assert np.any(trace[:, 0] < outcome["gone_s"])


def test_a_chip_that_a_driver_holds_is_refused_with_the_way_out(x86: Booted) -> None:
    outcome = x86.outcome("held-chip")
    assert "a kernel driver holds the chip" in outcome["reason"]
    assert "hwmon" in outcome["hint"]


def test_another_part_at_the_address_is_recognised_and_left_alone(x86: Booted) -> None:
    outcome = x86.outcome("other-part")
    assert "not a ina219" in outcome["reason"] or "not an ina219" in outcome["reason"]
    assert outcome["untouched"]


@pytest.mark.parametrize("way", ["hwmon", "flag"])
def test_a_value_is_not_given_twice(x86: Booted, way: str) -> None:
    first, again, new = x86.outcome("repeated")[way]
    assert first == pytest.approx(3.0, rel=0.02)
    assert again == "stale"
    assert new == pytest.approx(4.0, rel=0.02)


def test_a_chip_that_lost_its_calibration_is_a_fault_and_not_zero_watts(x86: Booted) -> None:
    outcome = x86.outcome("brown-out")
    assert outcome["before_w"] == pytest.approx(3.0, rel=0.02)
    assert "lost its calibration" in outcome["reason"]


@pytest.mark.parametrize("scenario", ["trial-rapl", "trial-ina219", "trial-waiting"])
def test_greenup_of_a_whole_trial_holds_the_truth(x86: Booted, scenario: str, tmp_path: Path) -> None:
    outcome = x86.outcome(scenario)
    measured = judge.fetched(outcome, tmp_path)
    (variant,) = set(measured.variants) - {"fp32"}
    compared = gpsup.compare(measured)[variant]
    truth = judge.true_greenup(measured, outcome, variant)
    assert compared.greenup is not None, compared.reason
    assert compared.greenup.low <= truth <= compared.greenup.high
    assert compared.greenup.value == pytest.approx(truth, rel=0.01)
    assert truth > 1.2


@pytest.mark.parametrize("scenario", ["trial-rapl", "trial-ina219", "trial-waiting"])
def test_each_bursts_joules_are_those_of_the_ledger(x86: Booted, scenario: str, tmp_path: Path) -> None:
    outcome = x86.outcome(scenario)
    measured = judge.fetched(outcome, tmp_path)
    found = judge.bursts(measured, outcome)
    assert len(found) >= 0.9 * len(measured.bursts)
    total = sum(each.metered_j for each in found) / sum(each.true_j for each in found)
    worst = max(abs(each.error) for each in found)
    inside = np.mean([each.inside for each in found])
    print(
        f"{scenario}: sum {100 * (total - 1):+.3f} %, worst burst {100 * worst:.2f} %, inside {100 * inside:.0f} %"
    )
    # A counter has no such edges as a power meter.
    assert total == pytest.approx(1, abs=0.003 if scenario == "trial-ina219" else 0.001)
    assert worst <= 0.01
    assert inside >= 0.93


def test_a_variant_that_waits_saves_less_time_than_energy(x86: Booted, tmp_path: Path) -> None:
    measured = judge.fetched(x86.outcome("trial-waiting"), tmp_path)
    compared = gpsup.compare(measured)["offloaded"]
    assert compared.speedup is not None
    assert compared.greenup is not None
    assert compared.powerup is not None
    assert compared.speedup.value < 1 < compared.greenup.value
    assert compared.powerup.high < 1
    assert compared.category == 4


def test_idle_draws_idle_power(x86: Booted, tmp_path: Path) -> None:
    outcome = x86.outcome("trial-rapl")
    measured = judge.fetched(outcome, tmp_path)
    truth = ledger.pairs(outcome["ledger"])
    idle = [burst for burst in measured.bursts if burst.variant is None]
    busy = [burst for burst in measured.bursts if burst.variant is not None]
    idle_w, busy_w = (
        np.mean([ledger.energy_j(truth, b.start_s, b.end_s) / b.duration_s for b in group])
        for group in (idle, busy)
    )
    assert 2.0 <= idle_w < 4.0
    assert 5.0 < busy_w <= 6.0
