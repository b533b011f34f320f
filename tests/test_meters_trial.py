"""From a target's table to a trial's trace, through the real runner with a sensor's tree as its root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_bundle
from boards import ina

from greenup import bundle as packing
from greenup import loop, targets
from greenup.devices.client import RunnerClient
from greenup.devices.inventory import LOCAL, Device
from greenup.devices.link import LocalLink
from greenup.recipe import MeasureSpec
from greenup.signing import find_key


def test_the_shunt_of_the_target_reaches_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ina.hwmon(tmp_path / "root", "ina226", shunt_uohm=10_000)
    monkeypatch.setenv("GREENUP_RUNNER_ROOT", str(tmp_path / "root"))
    meters = targets.Meters(order=("jetson", "ina"), ina=targets.InaTable(shunt_ohm=0.1))
    target = targets.load("x86-64").model_copy(update={"meters": meters})
    device = Device(LOCAL, target, RunnerClient(LocalLink()))
    session = loop.Session(device, tmp_path / "out", find_key(), lambda *_: None)
    small_bundle.make(session.bundle_folder)
    packing.sign(session.bundle_folder, find_key())
    spec = MeasureSpec(burst_s=0.1, max_burst_s=0.1, warmup_s=0.0, pilot_rounds=3, max_rounds=3)
    _, trial = loop.open_trial(loop.measure(session, spec, "auto", 0, again=False))
    assert trial.meter is not None
    assert trial.meter.name == "ina"
    assert "shunt 100 mΩ, rescaled from the driver's 10 mΩ" in trial.meter.source
    assert len(trial.trace) > 3
    assert np.allclose(trial.trace[:, 1], 0.256)
    assert trial.facts["passed_over"] == ["jetson: no Jetson: no INA3221 with a Jetson's rails is here"]
