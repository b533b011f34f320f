"""Dynamic int8: weights are stored in eight bits, ranges of activations are taken anew for each window.

It needs no calibration and pays for that at every inference: a candidate like the others.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnxruntime import quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process

from greenup.export import silence, write_model
from greenup.quantize.calibration import KINDS
from greenup.quantize.static import TYPES, EightBits, candidates


def quantize_dynamic(
    source: Path,
    target: Path,
    *,
    weights: EightBits = "int8",
    per_channel: bool = True,
    reduce_range: bool = False,
) -> None:
    """Write the dynamic int8 form of an exported model, of the same nodes as the static one.

    Raises UsageFault where the model has nothing to quantize.
    """
    nodes = candidates(source)
    with tempfile.TemporaryDirectory(prefix="greenup-quantize-") as folder, silence():
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "dynamic.onnx"
        quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
        ort.quantize_dynamic(
            prepared,
            written,
            KINDS,
            per_channel,
            reduce_range,
            TYPES[weights],
            nodes_to_quantize=_after_split(prepared, nodes),
            extra_options={"MatMulConstBOnly": True},
        )
        model = onnx.load(written)
    write_model(model, target)


def _after_split(prepared: Path, nodes: list[str]) -> list[str]:
    """The nodes' names after the library has split each `Gemm` into `MatMul` and `Add`."""
    kinds = {node.name: node.op_type for node in onnx.load(prepared).graph.node}
    return [f"{name}_MatMul" if kinds[name] == "Gemm" else name for name in nodes]
