"""Check the host and a device; each failed check carries one line of help."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from greenup import signing
from greenup.cache import writing
from greenup.devices import inventory
from greenup.folders import cache_folder, shipped
from greenup_runtime import __version__
from greenup_runtime.errors import GreenupError

_NEEDED_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "aeon", "numpy", "scipy")
_FREE_BYTES = 2_000_000_000


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
    checks += [_try("signing key", _signing_key), _try("cache", _cache), _targets()]
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
    found = sorted(path.stem for path in shipped("targets").glob("*.toml"))
    return Check("targets", bool(found), ", ".join(found) or "none", "install greenup again")


def _device(name: str) -> list[Check]:
    def runner() -> str:
        facts = inventory.find(name).runner.hello()
        isa = ", ".join(facts["isa"]) or "no int8 features"
        return f"{facts['runtime']}, onnxruntime {facts['onnxruntime']}, {facts['cpu']} ({isa})"

    def meter() -> str:
        rows = inventory.find(name).runner.meters()
        usable = [row for row in rows if row["usable"] and not row.get("estimated")]
        if not usable:
            why = "; ".join(row["reason"] for row in rows if not row["usable"])
            raise GreenupError(
                why, "Greenup needs a meter; without one joules are estimated from CPU time, and marked"
            )
        return ", ".join(f"{row['name']} ({row['scope']})" for row in usable)

    return [_try(f"{name}", runner), _try("meter", meter, needed=False)]


def _try(name: str, check: Callable[[], str], needed: bool = True) -> Check:
    try:
        return Check(name, True, check(), needed=needed)
    except GreenupError as fault:
        return Check(name, False, fault.message, fault.hint, needed)
