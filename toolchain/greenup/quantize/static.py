"""Static int8 in QDQ form, of the matrix multiplications of tokens with weights and of nothing else.

ONNX Runtime's default puts quantize/dequantize pairs around nearly every node. Most of these models' nodes are
small, so the pairs cost more than int8 saves. Here only `MatMul`/`Gemm` with constant weights get int8 inputs,
and their outputs stay float because the next node is a float one: each becomes one integer kernel.
Attention's own products, norms, softmax and convolutions stay float.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import onnx
from onnxruntime import quantization as ort
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from greenup.export import silence, write_model
from greenup.onnx_facts import facts, weight_matmuls
from greenup.quantize.calibration import KINDS, Float32, check, ranges
from greenup.recipe import QuantizeSpec
from greenup_runtime.errors import UsageFault

EightBits = Literal["uint8", "int8"]
TYPES = {"uint8": ort.QuantType.QUInt8, "int8": ort.QuantType.QInt8}


def quantize(
    source: Path,
    target: Path,
    calibration: Float32,
    spec: QuantizeSpec,
    *,
    activations: EightBits = "uint8",
    weights: EightBits = "int8",
    reduce_range: bool = False,
    nodes: Sequence[str] | None = None,
) -> None:
    """Write an int8 form of an exported model.

    `calibration` [n, c, l] are raw training windows, from which the ranges of the activations are taken.
    `reduce_range` keeps weights to seven bits, for CPUs whose eight-bit products saturate. `nodes` are the names
    of the multiplications to quantize, all of `candidates` if left out. Raises DataFault where the windows cannot
    calibrate the model, UsageFault where it has nothing to quantize or a node is not one of its candidates.
    """
    check(calibration)
    with Calibrated(source, calibration, spec) as calibrated:
        calibrated.write(target, nodes, activations=activations, weights=weights, reduce_range=reduce_range)


def candidates(source: Path) -> list[str]:
    """Names of the weight multiplications that are done per token.

    Those done once per window (amplitude, the classes) are so small that int8 gains no time and loses digits.
    Raises UsageFault where there is none or the file is quantized already.
    """
    rows = weight_matmuls(source)
    if not rows or facts(source).int8_share:
        raise UsageFault(
            f"{source.name} is quantized already, or has no matrix multiplication with constant weights",
            "give the float model that greenup exported",
        )
    return [name for name, count in rows.items() if count > 1] or list(rows)


class Calibrated:
    """An exported model with the ranges of its activations, from which several int8 forms can be written.

    A context manager: a folder for the prepared model lives as long.
    """

    def __init__(self, source: Path, calibration: Float32, spec: QuantizeSpec) -> None:
        self.candidates = candidates(source)
        self._source, self._windows, self._spec = source, calibration, spec
        self._folder = tempfile.TemporaryDirectory(prefix="greenup-quantize-")
        self._ranges: TensorsData | None = None
        self._path = Path(self._folder.name) / "prepared.onnx"

    def __enter__(self) -> Self:
        try:
            with silence():
                # Optimising here would tie the file to this CPU; the device's runtime optimises when it loads.
                quant_pre_process(self._source, self._path, skip_optimization=True, skip_symbolic_shape=True)
                self._ranges = ranges(self._path, self._windows, self._spec.method)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def write(
        self,
        target: Path,
        nodes: Sequence[str] | None = None,
        *,
        activations: EightBits = "uint8",
        weights: EightBits = "int8",
        reduce_range: bool = False,
    ) -> None:
        """Write the model with these nodes in int8. Raises UsageFault for a node that is not a candidate."""
        assert self._ranges is not None
        picked = self.candidates if nodes is None else list(nodes)
        unknown = sorted(set(picked) - set(self.candidates))
        if unknown or not picked:
            raise UsageFault(
                f"{', '.join(unknown) or 'no node'} cannot be quantized in {self._source.name}",
                f"name some of: {', '.join(self.candidates)}",
            )
        write_qdq(
            self._path, target, picked, self._ranges, self._spec.per_channel, activations, weights, reduce_range
        )


def write_qdq(
    prepared: Path,
    target: Path,
    nodes: list[str],
    found: TensorsData,
    per_channel: bool,
    activations: EightBits,
    weights: EightBits,
    reduce_range: bool,
) -> None:
    """Write the QDQ form of some nodes, given the ranges of their inputs."""
    with silence():
        quantizer = QDQQuantizer(
            onnx.load(prepared),
            per_channel,
            reduce_range,
            TYPES[weights],
            TYPES[activations],
            found,
            nodes,
            [],
            KINDS,
            _options(activations),
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    write_model(quantizer.model.model, target)


def _options(activations: EightBits) -> dict[str, object]:
    return {
        "OpTypesToExcludeOutputQuantization": KINDS,
        # Signed activations need zero point 0 to meet the kernels (and TensorRT); unsigned ones have no such rule.
        "ActivationSymmetric": activations == "int8",
        "WeightSymmetric": True,
    }
