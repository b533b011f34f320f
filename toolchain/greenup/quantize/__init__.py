"""int8: static (static.py), dynamic, by training; which nodes bear it, and which fall back to float.

calibration   windows → ranges
static        QDQ form of chosen nodes
dynamic       ranges at run time
training      ranges and weights learnt with the rounding in place (QAT)
ladder        what each node costs and brings; fall back until the accuracy holds
schemes       signs and range by what the CPU can do
"""

from __future__ import annotations

from greenup.quantize.calibration import draw, notes
from greenup.quantize.dynamic import quantize_dynamic
from greenup.quantize.ladder import LadderResult, NodeRow, ladder, sensitivity
from greenup.quantize.static import Calibrated, candidates, quantize
from greenup.quantize.training import Learnt, quantize_learnt, train_quantized
from greenup.schemes import Fit, fit

__all__ = [
    "Calibrated",
    "Fit",
    "LadderResult",
    "Learnt",
    "NodeRow",
    "candidates",
    "draw",
    "fit",
    "ladder",
    "notes",
    "quantize",
    "quantize_dynamic",
    "quantize_learnt",
    "sensitivity",
    "train_quantized",
]
