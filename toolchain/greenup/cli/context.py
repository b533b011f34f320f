"""Make the session that a verb's options describe."""

from __future__ import annotations

from pathlib import Path

from greenup import signing
from greenup.devices import inventory
from greenup.loop import Progress, Session


def session(device: str, out: Path, progress: Progress, *, allow_unsigned: bool) -> Session:
    """A session on a device; with `allow_unsigned` nothing is signed and no key is looked for."""
    key = None if allow_unsigned else signing.find_key()
    return Session(inventory.find(device), out, key, progress, allow_unsigned)


def default_out(name: str) -> Path:
    """Where the results of a recipe go if nothing else was said."""
    return Path("greenup-out") / name
