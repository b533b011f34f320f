"""The on-device half of greenup: verify a bundle, run a variant, measure its energy.

It depends on numpy, onnxruntime and httptools only and never imports torch, onnx, pandas or the toolchain.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenup_runtime.runner import Runner as Runner

# onnxruntime's wheels send vendor telemetry by default, also on Linux, and only this variable,
# set before the first import, stops it. Nobody who imports us may forget it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`greenup_runtime.Runner`, loaded when it is asked for: `greenup-runner status` must not load onnxruntime."""
    if name == "Runner":
        from greenup_runtime.runner import Runner

        return Runner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
