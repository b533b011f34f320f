"""Each machine is booted once per session and runs all its scenarios; the tests judge what it said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import small_bundle
from lab import judge, machines, qemu

from greenup import bundle as packing

SENSORS = ("hwmon-ina219", "hwmon-ina226", "hwmon-ina3221", "iio-ina219", "iio-ina226")
RAW = ("raw-ina219", "raw-ina226", "raw-ina3221", "held-chip", "other-part", "repeated", "brown-out")
QUIRKS = ("rapl-wraps", "rapl-forbidden", "default-shunt", "vanishes")
TRIALS = ("trial-rapl", "trial-ina219", "trial-waiting")
BOARD = ("jetson-rails", "jetson-profile", "jetson-trial")
# Long enough for a machine that does other work as well; an idle one needs a fourth of it.
LIMIT_S = 1500
# A folder in which the machines' trials are left, for docs/pictures.py.
KEEP_VARIABLE = "GREENUP_KERNEL_KEEP"


@pytest.fixture(scope="session")
def x86(tmp_path_factory: pytest.TempPathFactory) -> qemu.Booted:
    """An x86-64 machine with RAPL and INA sensors."""
    return _booted(machines.X86, tmp_path_factory.mktemp("x86"), [*SENSORS, *RAW, *QUIRKS, *TRIALS])


@pytest.fixture(scope="session")
def jetson(tmp_path_factory: pytest.TempPathFactory) -> qemu.Booted:
    """An arm64 machine with a Jetson-like device tree."""
    return _booted(machines.JETSON, tmp_path_factory.mktemp("jetson"), [*BOARD])


def _booted(machine: machines.Machine, work: Path, scenarios: list[str]) -> qemu.Booted:
    if reason := qemu.why_not(machine):
        pytest.skip(reason)
    bundle = small_bundle.make(work / "bundle", widths={"fp32": 20_000, "pruned": 5_000})
    archive = packing.to_tar(bundle, None, list(bundle.blob_names()))
    booted = qemu.boot(
        machine, work, {"bundle.tar": archive, "bundle.digest": bundle.digest.encode()}, scenarios, LIMIT_S
    )
    if keep := os.environ.get(KEEP_VARIABLE):
        for name, outcome in booted.outcomes.items():
            if "trial" in outcome:
                judge.fetched(outcome, Path(keep) / name)
    return booted
