"""Static int8 in QDQ form, of the matrix multiplications of tokens with weights and of nothing else.

ONNX Runtime's default puts quantize/dequantize pairs around nearly every node. Most of these models' nodes are
small, so the pairs cost more than int8 saves. Here only `MatMul`/`Gemm` with constant weights get int8 inputs,
and their outputs stay float because the next node is a float one: each becomes one integer kernel.
Attention's own products, norms, softmax and convolutions stay float.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime import quantization as ort
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from greenup.export import INPUT, write_model
from greenup.onnx_facts import facts, weight_matmuls
from greenup.recipe import QuantizeSpec
from greenup_runtime.errors import DataFault, UsageFault

Float32 = npt.NDArray[np.float32]
EightBits = Literal["uint8", "int8"]
_TYPES = {"uint8": ort.QuantType.QUInt8, "int8": ort.QuantType.QInt8}
# The library's own 128 bins for entropy are as many as its quantized bins: the result would be that of minmax.
_METHODS: dict[str, tuple[ort.CalibrationMethod, dict[str, object]]] = {
    "minmax": (ort.CalibrationMethod.MinMax, {}),
    "percentile": (ort.CalibrationMethod.Percentile, {"percentile": 99.99}),
    "entropy": (ort.CalibrationMethod.Entropy, {"num_bins": 512, "num_quantized_bins": 128}),
}
_KINDS = ["MatMul", "Gemm"]


def quantize(
    source: Path,
    target: Path,
    calibration: Float32,
    spec: QuantizeSpec,
    *,
    activations: EightBits = "uint8",
    weights: EightBits = "int8",
    reduce_range: bool = False,
) -> None:
    """Write an int8 form of an exported model.

    `calibration` [n, c, l] are raw training windows, from which the ranges of the activations are taken.
    `reduce_range` keeps weights to seven bits, for CPUs whose eight-bit products saturate. Raises DataFault
    where the windows cannot calibrate the model, UsageFault where it has nothing to quantize.
    """
    _check(calibration)
    nodes = _worth_it(source)
    with tempfile.TemporaryDirectory(prefix="greenup-quantize-") as folder, _silence():
        prepared = Path(folder) / "prepared.onnx"
        # Optimising here would tie the file to this CPU; the device's runtime optimises when it loads.
        quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantizer = QDQQuantizer(
            onnx.load(prepared),
            spec.per_channel,
            reduce_range,
            _TYPES[weights],
            _TYPES[activations],
            _ranges(prepared, calibration, spec.method),
            nodes,
            [],
            _KINDS,
            _options(activations),
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    write_model(quantizer.model.model, target)


def _ranges(model: Path, windows: Float32, method: str) -> TensorsData:
    """Smallest and largest value of all that goes into and comes out of matrix multiplications."""
    kind, options = _METHODS[method]
    augmented = str(model.with_name("augmented.onnx"))
    calibrator = create_calibrator(model, _KINDS, augmented, kind, extra_options=options)
    calibrator.collect_data(_Windows(windows))
    return calibrator.compute_data()


def _options(activations: EightBits) -> dict[str, object]:
    return {
        "OpTypesToExcludeOutputQuantization": _KINDS,
        # Signed activations need zero point 0 to meet the kernels (and TensorRT); unsigned ones have no such rule.
        "ActivationSymmetric": activations == "int8",
        "WeightSymmetric": True,
    }


def _check(calibration: Float32) -> None:
    if not len(calibration):
        raise DataFault("there are no windows to calibrate with", "set quantize.calibration_windows to 1 or more")
    if not np.isfinite(calibration).all():
        bad = int((~np.isfinite(calibration)).any(axis=(1, 2)).sum())
        raise DataFault(
            f"{bad} of {len(calibration)} calibration windows hold a value that is not a number or infinite",
            'clean the data, or set data.missing = "interpolate"',
        )


def _worth_it(source: Path) -> list[str]:
    """Weight multiplications that are done per token.

    Those done once per window (amplitude, the classes) are so small that int8 gains no time and loses digits.
    """
    rows = weight_matmuls(source)
    if not rows or facts(source).int8_share:
        raise UsageFault(
            f"{source.name} is quantized already, or has no matrix multiplication with constant weights",
            "give the float model that greenup exported",
        )
    return [name for name, count in rows.items() if count > 1] or list(rows)


class _Windows:
    """Calibration windows, one at a time, as onnxruntime asks for them."""

    def __init__(self, windows: Float32) -> None:
        self._rest = iter(windows)

    def get_next(self) -> dict[str, Float32] | None:
        """The next window as the model's input [1, c, l], None at the end."""
        window = next(self._rest, None)
        return None if window is None else {INPUT: window[np.newaxis]}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the library's prints and log lines from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
