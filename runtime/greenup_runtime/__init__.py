"""The on-device half of greenup: verify a bundle, run a variant, measure its energy.

It depends on numpy and onnxruntime only and never imports torch, onnx, pandas or the toolchain.
"""

from __future__ import annotations

import os

# onnxruntime's wheels send vendor telemetry by default, also on Linux, and only this variable,
# set before the first import, stops it. Nobody who imports us may forget it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
