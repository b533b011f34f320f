"""Whole trials in the closed loop: the plant makes power of how busy the processor is, the runner measures it."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import chips
from rig import ADDRESS, chip_on_bus, ledger, load, meter, plant

from greenup_runtime.clock import SystemClock
from greenup_runtime.measure import Infer, Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.trial import save

Found = dict[str, Any]
LOOP = {"idle_w": 2.0, "busy_w": 4.0}
HOME = "/tmp/runner"
ROUNDS = 6
_PATIENCE_S = 300.0


def runner(*argv: str, stdin: bytes = b"", user: int | None = None) -> Any:
    """The real `greenup-runner`, as a process of its own; returns its JSON."""
    home = f"{HOME}-{user}" if user else HOME
    Path(home).mkdir(exist_ok=True)
    Path(home).chmod(0o777)
    command = [sys.executable, "-m", "greenup_runtime.cli", "--home", home, "--json", *argv]
    done = subprocess.run(command, input=stdin, capture_output=True, user=user, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: exit code {done.returncode}: {done.stderr.decode()}")
    return json.loads(done.stdout) if argv[:2] != ("job", "fetch") else done.stdout


def on_rapl() -> Found:
    """Install, prove, measure, fetch, with RAPL: what `greenup push` and `greenup measure` do over a link."""
    load("fakerapl range_uj=20000000")
    with plant(LOOP, {"kind": "rapl"}):
        found = measured("rapl", burst_s=0.5, prove=True)
    return {**found, "ledger": ledger()}


def on_ina219() -> Found:
    """The same with an INA219 under its hwmon driver."""
    load(f"i2c-stub chip_addr={ADDRESS:#x}", "ina2xx")
    chips.Ina219(ADDRESS, 0.1).power_on()
    power = {"kind": "ina219", "address": ADDRESS, "shunt_ohm": 0.1}
    with chip_on_bus("ina219"), plant(LOOP, power):
        found = measured("ina:shunt_ohm=0.1", burst_s=1.0)
    return {**found, "ledger": ledger()}


def measured(request: str, burst_s: float, *, prove: bool = False) -> Found:
    """The runner's verbs in the order in which a host calls them; what is installed and proven stays so."""
    if prove:
        runner("install", stdin=Path("/input/bundle.tar").read_bytes())
    bundle = Path("/input/bundle.digest").read_text()
    proof = runner("prove", "--allow-unsigned", bundle) if prove else None
    plan = {
        "variants": ["fp32", "pruned"],
        "burst_s": burst_s,
        "warmup_s": 0.5,
        "pilot_rounds": ROUNDS,
        "max_rounds": ROUNDS,
        "meter": request,
    }
    job = runner("job", "start", stdin=json.dumps({"bundle": bundle, "plan": plan}).encode())["job"]
    _wait_for(Path(HOME) / "jobs" / job / "progress.json")
    status = runner("job", "status", job)
    assert status["state"] == "done", status
    return {"proof": proof, "trial": base64.b64encode(runner("job", "fetch", job)).decode()}


def _wait_for(progress: Path) -> None:
    """Look at the job's own note: to ask the runner costs this machine a second that the trial would have had."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while json.loads(progress.read_text())["state"] in {"starting", "running"}:
        assert time.monotonic() < give_up_s, progress.read_text()
        time.sleep(1)


def waiting() -> Found:
    """Two callables instead of models: one computes, one mostly waits, as for an accelerator of its own.

    They differ in power, not only in time, so Greenup and Speedup are not the same number.
    """
    engines: dict[str, Infer] = {
        "fp32": lambda: _compute(0.006),
        "offloaded": lambda: (_compute(0.001), time.sleep(0.007)),
    }
    plan = Plan(
        variants=tuple(engines), burst_s=0.5, warmup_s=0.2, pilot_rounds=ROUNDS, max_rounds=ROUNDS, meter="rapl"
    )
    facts = {"bundle": "0" * 64, "device_id": "emulated"}
    load("fakerapl")
    with plant(LOOP, {"kind": "rapl"}):
        measured = run_trial(plan, engines, Chosen(meter("rapl"), ()), SystemClock(), lambda *_: None, facts)
    with tempfile.TemporaryDirectory() as folder:
        save(measured, Path(folder))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path in sorted(Path(folder).iterdir()):
                archive.add(path, arcname=path.name)
    return {"trial": base64.b64encode(buffer.getvalue()).decode(), "ledger": ledger()}


def _compute(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        pass
