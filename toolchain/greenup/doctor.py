"""Check the host and a device; each failed check carries one line of help."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from greenup import permissions, signing, targets
from greenup.cache import writing
from greenup.devices import inventory
from greenup.folders import cache_folder
from greenup_runtime import __version__
from greenup_runtime.errors import GreenupError
from greenup_runtime.meters.sysfs import NO_RIGHT
from greenup_runtime.signing import ssh_keygen

_NEEDED_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "aeon", "numpy", "scipy")
_FREE_BYTES = 2_000_000_000
WATCH_S = 1.0


@dataclass(frozen=True)
class Check:
    """One check's outcome; `needed` says whether its failure stops the work."""

    name: str
    ok: bool
    message: str
    hint: str | None = None
    needed: bool = True


def examine(device: str) -> list[Check]:
    """Every check of the host, then those of the device."""
    checks = [Check("greenup", True, f"{__version__}, Python {platform.python_version()}")]
    checks += [_package(name) for name in _NEEDED_PACKAGES]
    checks += [_try("ssh-keygen", ssh_keygen), _try("signing key", _signing_key)]
    checks += [_try("cache", _cache), _targets()]
    return checks + _device(device)


def to_json(checks: list[Check], device: str) -> dict[str, Any]:
    """What `greenup doctor --json` prints."""
    return {"schema": "greenup.doctor/1", "device": device, "checks": [asdict(check) for check in checks]}


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")


def _signing_key() -> str:
    key = signing.find_key()
    return f"{key.path} ({key.signer})"


def _cache() -> str:
    folder = cache_folder()
    with writing("the cache"):
        folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < _FREE_BYTES:
        raise GreenupError(f"{folder} has {free / 1e9:.1f} GB free", "make room, or set GREENUP_CACHE")
    return f"{folder}, {free / 1e9:.0f} GB free"


def _targets() -> Check:
    found = targets.names()
    return Check("targets", bool(found), ", ".join(found) or "none", None if found else "install greenup again")


def _device(name: str) -> list[Check]:
    def runner() -> str:
        facts = inventory.find(name).runner.hello()
        isa = ", ".join(facts["isa"]) or "no int8 features"
        return f"{facts['runtime']}, onnxruntime {facts['onnxruntime']}, {facts['cpu']} ({isa})"

    checks = [_try(name, runner)]
    if not checks[0].ok:
        return checks
    try:
        device = inventory.find(name)
        rows = device.runner.meters(device.target.meter_settings(), WATCH_S)
    except GreenupError as fault:
        return [*checks, Check("meter", False, fault.message, fault.hint, needed=False)]
    return [*checks, _best_meter(rows), *(_meter(row) for row in rows)]


def _best_meter(rows: list[dict[str, Any]]) -> Check:
    """Whether anything here measures joules rather than estimate them."""
    usable = [row for row in rows if row["usable"] and not row["estimated"]]
    if usable:
        found = ", ".join(f"{row['name']} ({row['scope']})" for row in usable)
        return Check("meter", True, found, needed=False)
    hint = "Greenup needs a meter; without one joules are estimated from CPU time, and marked"
    return Check("meter", False, "no energy meter works here; why not stands below", hint, needed=False)


def _meter(row: dict[str, Any]) -> Check:
    """One meter: source, rails, rate, noise and power while idle, or why it cannot be used."""
    name = f"meter {row['name']}"
    if not row["usable"]:
        return Check(name, False, row["reason"], row["hint"], needed=False)
    rails = ", ".join(f"{rail} {watts:.3g} W" for rail, watts in row["rails"].items())
    mark = "estimated, " if row["estimated"] else ""
    message = (
        f"{row['source']}: {mark}{row['idle_w']:.4g} W idle ± {row['noise_w']:.2g} W noise, "
        f"{row['effective_hz']:.3g} readings/s; rails: {rails}"
    )
    return Check(name, True, message, row.get("warning"), needed=False)


def repair(device: str) -> list[str]:
    """Lines that say what was repaired and what the user has to run, for rights that a meter lacks.

    On this machine a file may be written, and its path is said; of another device only the commands are shown.
    """
    found = inventory.find(device)
    rows = found.runner.meters(found.target.meter_settings())
    (rapl,) = (row for row in rows if row["name"] == "rapl")
    if device == inventory.LOCAL and (rapl["usable"] or _lacks_right(rapl)):
        return permissions.repair()
    if _lacks_right(rapl):
        return [f"on {device}, run:", *permissions.commands()]
    return [f"nothing that doctor can repair: {rapl.get('reason', 'RAPL can be read')}"]


def _lacks_right(row: dict[str, Any]) -> bool:
    return not row["usable"] and row["reason"].startswith(NO_RIGHT)


def _try(name: str, check: Callable[[], str], needed: bool = True) -> Check:
    try:
        return Check(name, True, check(), needed=needed)
    except GreenupError as fault:
        return Check(name, False, fault.message, fault.hint, needed)
