"""Tell systemd how the service fares: ready, alive, stopping (sd_notify's protocol; see `man sd_notify`)."""

from __future__ import annotations

import os
import socket

_MICRO = 1e-6


def notify(state: str) -> bool:
    """Send a state such as `READY=1`, if systemd listens; returns whether it was sent."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        try:
            link.sendto(state.encode(), name)
        except OSError:
            return False
    return True


def watchdog_s() -> float | None:
    """Seconds between signs of life that keep systemd's watchdog quiet: half its limit; None without one."""
    limit, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (process and process != str(os.getpid())):
        return None
    return int(limit) * _MICRO / 2
