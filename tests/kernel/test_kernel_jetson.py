"""The Jetson's rails through a real device tree and the real INA3221 driver, on an emulated arm64 board."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import judge
from lab.qemu import Booted

from greenup import gpsup

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1800)]


def test_rails_are_read_by_their_labels_and_the_total_alone_counts(jetson: Booted) -> None:
    outcome = jetson.outcome("jetson-rails")
    facts = outcome["facts"]
    assert facts["name"] == "jetson"
    assert facts["rails"] == ["VDD_IN"]
    assert set(outcome["rails_w"]) == set(outcome["true_w"]), "neither NC nor the sum of shunt voltages is a rail"
    # A step of the shunt's voltage is 8 mA here, which is 40 mW.
    for rail, true_w in outcome["true_w"].items():
        assert outcome["rails_w"][rail] == pytest.approx(true_w, abs=0.045)
    assert outcome["power_w"] == pytest.approx(8.0, abs=0.045)
    assert facts["resolution"] == pytest.approx(0.04, rel=0.05)


def test_the_device_tree_tells_the_driver_the_shunt(jetson: Booted) -> None:
    outcome = jetson.outcome("jetson-rails")
    assert "Jetson" in outcome["model"]
    assert outcome["beside"]["power_w"] == pytest.approx(8.0, rel=0.02)
    assert "shunt 100 mΩ" in outcome["beside"]["source"]
    assert outcome["beside"]["warning"] is None


def test_joules_of_a_power_profile_come_out_right(jetson: Booted) -> None:
    compared = judge.profile(jetson.outcome("jetson-profile"))
    # Steps of up to 11 W, each seen up to half a sampling period of 13 ms off, of 32 J; and half a step of 40 mW.
    assert abs(compared.error) <= 0.01
    assert compared.updates >= 50


def test_greenup_of_a_whole_trial_holds_the_truth(jetson: Booted, tmp_path: Path) -> None:
    outcome = jetson.outcome("jetson-trial")
    measured = judge.fetched(outcome, tmp_path)
    compared = gpsup.compare(measured)["pruned"]
    truth = judge.true_greenup(measured, outcome, "pruned")
    assert compared.greenup is not None, compared.reason
    assert compared.greenup.low <= truth <= compared.greenup.high
    assert compared.greenup.value == pytest.approx(truth, rel=0.01)
    assert measured.facts["architecture"] == "aarch64"


def test_each_bursts_joules_are_those_of_the_ledger(jetson: Booted, tmp_path: Path) -> None:
    outcome = jetson.outcome("jetson-trial")
    measured = judge.fetched(outcome, tmp_path)
    found = judge.bursts(measured, outcome)
    assert len(found) >= 0.9 * len(measured.bursts)
    total = sum(each.metered_j for each in found) / sum(each.true_j for each in found)
    assert total == pytest.approx(1, abs=0.005)
