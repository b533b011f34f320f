"""The store's layout on disk: made on first use, brought up to date, left alone where it is newer.

| version | what it is |
|---|---|
| 1 | `state.json` knows one step back (`previous`); manifests arrive last |
| 2 | `state.json` knows several (`history`), `incoming/`, `proof.json`, `revoked_keys`, `store.lock` |
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from greenup_runtime.errors import DeviceFault, IntegrityFault
from greenup_runtime.files import locked, make_folder, write_json

VERSION = 2
LOCK_NAME = "store.lock"
BUSY = "another install, proof, commit, rollback or gc runs on this device"
FOLDERS = ("blobs/sha256", "bundles", "incoming")


def prepare(home: Path, wait_s: float) -> str:
    """Make the layout, or bring an older one up to date; returns the device's id.

    Raises DeviceFault for a newer layout, IntegrityFault for a damaged file of it.
    """
    if _version(home) == VERSION:
        return _device_id(home)
    make_folder(home)
    with locked(home / LOCK_NAME, wait_s, BUSY):
        _bring_up_to_date(home)
    return _device_id(home)


def _bring_up_to_date(home: Path) -> None:
    """The version is written last: a crash before it repeats every step, and each can be repeated."""
    version = _version(home)
    for folder in FOLDERS:
        make_folder(home / folder)
    if not (home / "device.json").exists():
        write_json(home / "device.json", {"id": uuid.uuid4().hex})
    if version == 1:
        _migrate_state(home / "state.json")
    if version != VERSION:
        write_json(home / "layout.json", {"version": VERSION})


def _migrate_state(path: Path) -> None:
    if not path.exists():
        return
    state = read_json(path)
    if "history" not in state:
        previous = state.pop("previous", None)
        write_json(path, {**state, "history": [previous] if previous else []})


def _version(home: Path) -> int | None:
    path = home / "layout.json"
    if not path.exists():
        return None
    version = read_json(path).get("version")
    if not isinstance(version, int):
        raise damaged(path, "it names no version")
    if version > VERSION:
        raise DeviceFault(f"{home} has layout version {version}, this runner knows {VERSION}", "update the runner")
    return version


def _device_id(home: Path) -> str:
    return str(read_json(home / "device.json").get("id"))


def read_json(path: Path) -> dict[str, Any]:
    """One of the store's own files. Raises IntegrityFault where it is damaged."""
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(value, dict):
        raise damaged(path, "it is no object")
    return value


def damaged(path: Path, why: object) -> IntegrityFault:
    """The fault of a file that only the runner writes, and that is not as it was written."""
    return IntegrityFault(f"{path} is damaged: {why}", "is the disk failing? move the file away, and push again")
