"""Load a package that only some devices have, when the meter that needs it is opened."""

from __future__ import annotations

import importlib
from typing import Any

from greenup_runtime.errors import MeterFault


def load(module: str, package: str, extra: str) -> Any:
    """An optional package's module. Raises MeterFault that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MeterFault(
            f"{package} is not installed", f"pip install 'greenup-runtime[{extra}]', or pip install {package}"
        ) from error
