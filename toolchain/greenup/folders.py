"""Where greenup keeps things on the workstation, and where its own targets lie."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def cache_folder() -> Path:
    """Finished stages of builds: $GREENUP_CACHE, else `greenup` in the user's cache folder."""
    return _named("GREENUP_CACHE") or _base("XDG_CACHE_HOME", ".cache") / "greenup"


def config_folder() -> Path:
    """Settings and the project key: $GREENUP_CONFIG, else `greenup` in the user's configuration folder."""
    return _named("GREENUP_CONFIG") or _base("XDG_CONFIG_HOME", ".config") / "greenup"


def state_folder() -> Path:
    """The host's store of records: $GREENUP_STATE, else `greenup` in the user's data folder."""
    return _named("GREENUP_STATE") or _base("XDG_DATA_HOME", ".local/share") / "greenup"


def shipped(name: str) -> Path:
    """`targets` or `docker`: in the installed package, else at the root of the checkout it runs from."""
    packed = _PACKAGE / name
    return packed if packed.is_dir() else _PACKAGE.parent.parent / name


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _base(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)
