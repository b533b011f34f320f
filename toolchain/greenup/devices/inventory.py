"""Which devices there are. `local`, this machine, always is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from greenup import targets
from greenup.devices.client import RunnerClient
from greenup.devices.link import LocalLink
from greenup.targets import Target
from greenup_runtime.errors import DeviceFault

LOCAL = "local"


@dataclass(frozen=True)
class Device:
    """One real machine: its name, its kind of board, and its runner."""

    name: str
    target: Target
    runner: RunnerClient


def find(name: str) -> Device:
    """A device by its name. Raises DeviceFault for an unknown one."""
    if name != LOCAL:
        near = difflib.get_close_matches(name, [LOCAL], n=1)
        known = f"did you mean {near[0]!r}?" if near else f"known devices: {LOCAL} (this machine)"
        raise DeviceFault(f"there is no device {name!r}", known)
    return Device(LOCAL, targets.detect_local(), RunnerClient(LocalLink()))
