"""The Jetson-like board: its device tree names sensors, rails and shunts, and the kernel does the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chips
import trial
from rig import ledger, load, meter, plant, sampled

from greenup_runtime.meters.base import HasRails

Found = dict[str, Any]
SHARES = (1.0, 0.5, 0.25)
RAILS = {"kind": "ina3221", "address": 0x40, "shunt_ohm": 0.005, "shares": SHARES}
BEYOND = {"kind": "ina219", "address": 0x41, "shunt_ohm": 0.1}


def board() -> None:
    """Switch the board on: the parts on their bus, then the drivers, which find them by the device tree."""
    load("i2c-stub chip_addr=0x40,0x41")
    chips.Ina3221(0x40, 0.005, SHARES).power_on()
    chips.Ina219(0x41, 0.1).power_on()
    load("ina2xx", "ina3221")


def rails() -> Found:
    """Every rail by its label, and the sensor beside the module by its device."""
    board()
    with plant({"points": [[0, 8.0]]}, RAILS, BEYOND):
        jetson, beside = meter("jetson"), meter(f"ina:{chips.stub_bus()}-0041")
        assert isinstance(jetson, HasRails)
        return {
            "model": Path("/proc/device-tree/model").read_text().strip("\0"),
            "true_w": {"VDD_IN": 8.0, "VDD_CPU_GPU_CV": 4.0, "VDD_SOC": 2.0},
            "rails_w": jetson.read_rails(),
            "power_w": jetson.read(),
            "facts": vars(jetson.facts),
            "beside": {"power_w": beside.read(), "source": beside.facts.source, "warning": beside.warning},
        }


def profile() -> Found:
    """The module's power along a profile, by its total rail."""
    board()
    opened = meter("jetson")
    points = [
        [0, 5.0],
        [0.713, 5.0],
        [0.713, 15.0],
        [1.531, 15.0],
        [1.531, 4.0],
        [2.307, 4.0],
        [4, 12.0],
    ]
    with plant({"points": points}, RAILS):
        seen = sampled(opened, 4.0)
    return {**seen, "ledger": ledger()}


def whole_trial() -> Found:
    """Install, prove, measure and fetch on the board, by its own rails."""
    board()
    with plant({"idle_w": 5.0, "busy_w": 10.0}, RAILS):
        found = trial.measured("jetson", burst_s=1.0, prove=True)
    return {**found, "ledger": ledger()}
