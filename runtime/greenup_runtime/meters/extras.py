"""Load a package that only some devices have, when the meter that needs it is opened."""

from __future__ import annotations

from typing import Any

from greenup_runtime import extras
from greenup_runtime.errors import MeterFault


def load(module: str, package: str, extra: str) -> Any:
    """An optional package's module. Raises MeterFault that says how to install it."""
    return extras.load(module, package, extra, MeterFault)
