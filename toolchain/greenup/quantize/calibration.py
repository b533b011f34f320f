"""Which training windows calibrate, what is wrong or odd about them, and the ranges that follow.

Windows go through the model one at a time and what they give is folded into the ranges every few windows, so
memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime import quantization as ort
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator

from greenup.export import INPUT
from greenup_runtime.errors import DataFault

Float32 = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
KINDS = ["MatMul", "Gemm"]
_CHUNK = 16
# The library's own 128 bins for entropy are as many as its quantized bins: the result would be that of minmax.
_METHODS: dict[str, tuple[ort.CalibrationMethod, dict[str, object]]] = {
    "minmax": (ort.CalibrationMethod.MinMax, {}),
    "percentile": (ort.CalibrationMethod.Percentile, {"percentile": 99.99}),
    "entropy": (ort.CalibrationMethod.Entropy, {"num_bins": 512, "num_quantized_bins": 128}),
}


def draw(x: Float32, y: Labels, count: int, seed: int) -> Float32:
    """`count` windows [count, c, l] of x [n, c, l], drawn by the seed so that every class comes in turn."""
    order = np.random.default_rng(seed).permutation(len(y))
    turn = np.zeros(len(y), dtype=np.int64)
    for label in np.unique(y):
        mine = order[y[order] == label]
        turn[mine] = np.arange(len(mine))
    return x[order[np.argsort(turn[order], kind="stable")][:count]]


def check(windows: Float32) -> None:
    """Raise DataFault where there are no windows or a value is not a finite number."""
    if not len(windows):
        raise DataFault("there are no windows to calibrate with", "set quantize.calibration_windows to 1 or more")
    if not np.isfinite(windows).all():
        bad = int((~np.isfinite(windows)).any(axis=(1, 2)).sum())
        raise DataFault(
            f"{bad} of {len(windows)} calibration windows hold a value that is not a number or infinite",
            'clean the data, or set data.missing = "interpolate"',
        )


def notes(windows: Float32, labels: Labels, classes: Sequence[str]) -> list[str]:
    """What is odd about calibration windows [n, c, l] and their labels [n], though they can be used."""
    found = []
    flat = [channel for channel in range(windows.shape[1]) if (np.ptp(windows[:, channel], axis=-1) == 0).all()]
    if flat:
        named = ", ".join(map(str, flat))
        found.append(
            f"channel {named} is constant in every calibration window: its range is that of a still signal"
        )
    missing = [name for index, name in enumerate(classes) if not (labels == index).any()]
    if missing:
        found.append(f"no calibration window is of class {', '.join(missing)}: its values may be cut off in int8")
    return found


def ranges(model: Path, windows: Float32, method: str) -> TensorsData:
    """Smallest and largest value of all that goes into and comes out of matrix multiplications."""
    kind, options = _METHODS[method]
    augmented = str(model.with_name("augmented.onnx"))
    calibrator = create_calibrator(model, KINDS, augmented, kind, extra_options=options)
    for start in range(0, len(windows), _CHUNK):
        calibrator.collect_data(_Windows(windows[start : start + _CHUNK]))
    return calibrator.compute_data()


class _Windows:
    """Calibration windows, one at a time, as onnxruntime asks for them."""

    def __init__(self, windows: Float32) -> None:
        self._rest = iter(windows)

    def get_next(self) -> dict[str, Float32] | None:
        """The next window as the model's input [1, c, l], None at the end."""
        window = next(self._rest, None)
        return None if window is None else {INPUT: window[np.newaxis]}
