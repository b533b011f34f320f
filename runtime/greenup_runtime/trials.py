"""Measure the variants of an installed bundle on this device, and log what was seen."""

from __future__ import annotations

import fcntl
import itertools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from greenup_runtime import __version__, cpu, engine, meters, records
from greenup_runtime.bundle import Bundle
from greenup_runtime.clock import SystemClock
from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.measure import Infer, Plan, Progress, run_trial
from greenup_runtime.meters import MeterOptions
from greenup_runtime.store import Store
from greenup_runtime.thermal import BoardProbe
from greenup_runtime.trial import Trial, save


def measure_bundle(store: Store, request: dict[str, Any], progress: Progress, folder: Path, root: Path) -> Trial:
    """Run the trial that a request asks for, save it into the folder, and put its records into the spool.

    The request holds `bundle`, `plan`, and of the target `meters` (names in order) and `estimate`.
    """
    bundle, signature = store.bundle(request["bundle"])
    plan = Plan.from_json(request["plan"])
    tables = request.get("meter_settings", {})
    options = MeterOptions(root=root, estimate=request.get("estimate", {}), settings=tables)
    with measurement_lock(store):
        chosen = meters.choose(plan.meter, request.get("meters", []), options)
        engines = {name: _caller(bundle, name, plan.threads) for name in plan.variants}
        kept = store.proof(bundle.digest)
        signed = {"signer": kept["signer"] if kept else None, "unsigned": not signature}
        facts = {**conditions(root), **signed, "bundle": bundle.digest, "device_id": store.device_id}
        # `auto` may have passed over others; what went away is looked for by its own name.
        name = chosen.meter.facts.name if chosen.meter and plan.meter == "auto" else plan.meter
        trial = run_trial(
            plan,
            engines,
            chosen,
            SystemClock(),
            progress,
            facts,
            probe=BoardProbe(root),
            reopen=lambda: meters.open_named(name, options),
        )
    save(trial, folder)
    with store.spool() as spool:
        spool.append(records.of_trial(trial))
    return trial


def conditions(root: Path) -> dict[str, Any]:
    """What stands beside every figure of a trial: processor, versions, governor, load."""
    return {
        "cpu": cpu.model_name(root),
        "isa": list(cpu.isa_features(root)),
        "governor": cpu.governor(root),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "runtime": __version__,
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0],
    }


@contextmanager
def measurement_lock(store: Store) -> Iterator[None]:
    """Hold the device's one measurement lock. Raises DeviceFault where another measurement holds it."""
    with (store.home / "measure.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeviceFault(
                "another measurement runs on this device", "wait for it, or cancel its job"
            ) from error
        yield


def _caller(bundle: Bundle, variant: str, threads: int) -> Infer:
    """An inference of one golden window after the other, so that no variant sees one input only."""
    loaded = engine.load(bundle, variant, threads)
    windows = itertools.cycle([np.ascontiguousarray(window[None]) for window in bundle.golden().windows])
    return lambda: loaded.infer_one(next(windows))


def check_request(request: dict[str, Any]) -> None:
    """Raise UsageFault for a request that no trial can be made of, before a process is started for it."""
    if missing := [key for key in ("bundle", "plan") if key not in request]:
        raise UsageFault(f"the measurement's request lacks {', '.join(missing)}")
    Plan.from_json(request["plan"])
