"""Whether a device has the meter that was asked for, before anything long is begun."""

from __future__ import annotations

from greenup.devices.inventory import Device
from greenup_runtime.errors import UsageFault

_NEEDS_NO_CHECK = frozenset({"auto", "none"})


def check_meter(device: Device, request: str) -> None:
    """Open the meter once on the device. Raises UsageFault, which lists those it has, where that fails."""
    if request in _NEEDS_NO_CHECK:
        return
    settings = device.target.meter_settings()
    (row,) = device.runner.meters(settings, only=request)
    if row["usable"]:
        return
    usable = [each["name"] for each in device.runner.meters(settings) if each["usable"]]
    has = f"{device.name} has: {', '.join(usable) or 'no meter'}; auto takes the best, none measures times only"
    raise UsageFault(f"--meter {request}: {row['reason']}", "; ".join(text for text in (has, row["hint"]) if text))
