"""Each machine is booted once per session and runs all its scenarios; the tests judge what it said."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_bundle
from lab import machines, qemu

from greenup import bundle as packing

COMMON = ("rapl-wraps", "rapl-forbidden")
CHIPS = ("hwmon-ina219", "hwmon-ina226", "hwmon-ina3221", "iio-ina219", "iio-ina226")
RAW = ("raw-ina219", "raw-ina226", "raw-ina3221", "held-chip", "other-part", "repeated", "brown-out")
QUIRKS = ("default-shunt", "vanishes")
TRIALS = ("trial-rapl", "trial-ina219", "trial-waiting")


@pytest.fixture(scope="session")
def x86(tmp_path_factory: pytest.TempPathFactory) -> qemu.Booted:
    """An x86-64 machine with RAPL and INA sensors."""
    scenarios = [*CHIPS, *RAW, *COMMON, *QUIRKS, *TRIALS]
    return _booted(machines.X86, tmp_path_factory.mktemp("x86"), scenarios, limit_s=280)


def _booted(machine: machines.Machine, work: Path, scenarios: list[str], limit_s: int) -> qemu.Booted:
    if reason := qemu.why_not(machine):
        pytest.skip(reason)
    bundle = small_bundle.make(work / "bundle", widths={"fp32": 20_000, "pruned": 5_000})
    archive = packing.to_tar(bundle, None, list(bundle.blob_names()))
    return qemu.boot(machine, work, {"bundle.tar": archive}, scenarios, limit_s)
