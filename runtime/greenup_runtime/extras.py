"""Load a package that only some devices have, when what needs it is used."""

from __future__ import annotations

import importlib
from typing import Any

from greenup_runtime.errors import DeviceFault


def load(module: str, package: str, extra: str, fault: type[DeviceFault] = DeviceFault) -> Any:
    """An optional package's module. Raises a fault that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise fault(
            f"{package} is not installed", f"pip install 'greenup-runtime[{extra}]', or pip install {package}"
        ) from error
