"""What an ONNX file is, read from the file itself: parameters, multiply-accumulates, what runs in int8.

A pruned or quantized variant is judged by what its graph holds, not by what was asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import shape_inference

from greenup_runtime.errors import IntegrityFault

_INT8 = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
_WEIGHT_MATMULS = {"MatMul", "Gemm"}
_ATTENTION = {"Attention", "MultiHeadAttention"}
_CONTRIB = "com.microsoft"
_WITH_PARAMETERS = {*_WEIGHT_MATMULS, *_ATTENTION, "Conv", "LayerNormalization", "BatchNormalization"}
_WITH_PARAMETERS |= {"Add"}


@dataclass(frozen=True)
class OnnxFacts:
    """Facts of one file.

    `parameters` counts weights, biases and positions, not scales and zero points. `macs` are for one window.
    `int8_share` is the share of the MACs done with int8 weights. `shapes` gives [inputs, outputs] of every
    matrix multiplication with trained weights, by the weights' name; `node_counts` the nodes by operator.
    """

    size_bytes: int
    parameters: int
    macs: int
    int8_share: float
    opset: int
    shapes: dict[str, tuple[int, int]]
    node_counts: dict[str, int]


def facts(path: Path) -> OnnxFacts:
    """Read the facts of a file. Raises IntegrityFault where it is not a readable ONNX file."""
    graph = _Graph(_read(path))
    macs = {node.name: graph.macs(node) for node in graph.nodes}
    in_int8 = sum(macs[node.name] for node in graph.nodes if graph.has_int8_weights(node))
    total = sum(macs.values())
    return OnnxFacts(
        size_bytes=path.stat().st_size,
        parameters=graph.parameters(),
        macs=total,
        int8_share=in_int8 / total if total else 0.0,
        opset=graph.opset,
        shapes=graph.weight_shapes(),
        node_counts=dict(sorted(Counter(node.op_type for node in graph.nodes).items())),
    )


def weight_matmuls(path: Path) -> dict[str, int]:
    """Multiplications by a float constant matrix, as opposed to attention's: rows per window by node name.

    Raises IntegrityFault where the file is not readable.
    """
    graph = _Graph(_read(path))
    return {node.name: graph.rows(node) for node in graph.nodes if graph.multiplies_by_float_weights(node)}


def matmul_shapes(path: Path) -> dict[str, tuple[int, int, int]]:
    """[rows, inputs, outputs] of each multiplication by a float constant matrix, by node name.

    What decides how long a node takes. Raises IntegrityFault where the file is not readable.
    """
    graph = _Graph(_read(path))
    nodes = (node for node in graph.nodes if graph.multiplies_by_float_weights(node))
    return {node.name: (graph.rows(node), *graph.inputs_and_outputs(node)) for node in nodes}


def weight_names(path: Path) -> dict[str, str]:
    """Name of the float weights of each multiplication by a constant matrix, by node name.

    Raises IntegrityFault where the file is not readable.
    """
    graph = _Graph(_read(path))
    return {node.name: node.input[1] for node in graph.nodes if graph.multiplies_by_float_weights(node)}


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise IntegrityFault(f"{path} does not exist", "build it again")
    try:
        onnx.checker.check_model(str(path))
        model = onnx.load(path)
        _fix_batch(model)
        return _with_shapes(model)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise IntegrityFault(f"{path} is not a readable ONNX file: {error}", "build it again") from error


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shapes of all values; onnx is told those of ONNX Runtime's own attention, one after the other."""
    while True:
        model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        graph = model.graph
        known = {value.name: _dimensions(value) for value in (*graph.value_info, *graph.input)}
        weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        node = next((n for n in graph.node if _is_ours(n) and n.output[0] not in known), None)
        if node is None or node.input[0] not in known:
            return model
        shape = list(known[node.input[0]])
        if node.op_type == "Attention":
            shape[-1] = weights[node.input[1]][1] // 3
        elem = onnx.TensorProto.FLOAT
        graph.value_info.append(onnx.helper.make_tensor_value_info(node.output[0], elem, shape))


def _is_ours(node: onnx.NodeProto) -> bool:
    return node.domain == _CONTRIB and node.op_type in _ATTENTION


def _fix_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


class _Graph:
    """A graph with the shapes of all its values and the constant behind every dequantized one."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
        self._shapes = {value.name: _dimensions(value) for value in values}
        self._shapes |= {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        self._stored = {
            node.output[0]: self.constants[node.input[0]]
            for node in self.nodes
            if node.op_type == "DequantizeLinear" and node.input[0] in self.constants
        }

    def weights(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """The stored weights of a convolution or matrix multiplication, int8 or float; None for activations."""
        if node.op_type not in {*_WEIGHT_MATMULS, "Conv"}:
            return None
        return self._constant(node.input[1])

    def has_int8_weights(self, node: onnx.NodeProto) -> bool:
        """Whether a node's weights are stored in eight bits."""
        weights = self.weights(node)
        return weights is not None and weights.data_type in _INT8

    def multiplies_by_float_weights(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a matrix multiplication with constant weights, not yet quantized.

        One whose bias differs from row to row (positions folded in) does not count: no integer kernel takes it.
        """
        if node.op_type not in _WEIGHT_MATMULS or node.input[1] not in self.constants:
            return False
        return len(node.input) < 3 or len(self._shapes[node.input[2]]) == 1

    def rows(self, node: onnx.NodeProto) -> int:
        """In how many rows of one window a matrix multiplication uses the same weights."""
        return math.prod(self._shapes[node.output[0]][:-1])

    def macs(self, node: onnx.NodeProto) -> int:
        """Multiply-accumulates for one window: outputs times the terms that each sums up."""
        if node.op_type in _ATTENTION:
            return self._attention_macs(node)
        if node.op_type not in {*_WEIGHT_MATMULS, "Conv"}:
            return 0
        outputs = math.prod(self._shapes[node.output[0]])
        if node.op_type == "Conv":
            return outputs * math.prod(self._shapes[node.input[1]][1:])
        left = self._shapes[node.input[0]]
        return outputs * (left[0] if _attribute(node, "transA") else left[-1])

    def _attention_macs(self, node: onnx.NodeProto) -> int:
        """Scores and mixing, and the map of queries, keys and values where the node holds it too."""
        *_, tokens, width = self._shapes[node.output[0]]
        packed = node.domain == _CONTRIB and node.op_type == "Attention"
        mapped = tokens * math.prod(self._shapes[node.input[1]]) if packed else 0
        return 2 * tokens * tokens * width + mapped

    def parameters(self) -> int:
        """Numbers that were trained, or fixed like positions: constants of the nodes that carry any."""
        found = {}
        for node in self.nodes:
            if node.op_type in _WITH_PARAMETERS:
                for name in node.input:
                    tensor = self._constant(name)
                    if tensor is not None and len(tensor.dims):
                        found[tensor.name] = math.prod(tensor.dims)
        return sum(found.values())

    def weight_shapes(self) -> dict[str, tuple[int, int]]:
        """[inputs, outputs] by the name of the weights."""
        shapes = {}
        for node in self.nodes:
            weights = self.weights(node)
            if weights is not None and node.op_type in _WEIGHT_MATMULS:
                shapes[weights.name.removesuffix("_quantized")] = self.inputs_and_outputs(node)
        return shapes

    def inputs_and_outputs(self, node: onnx.NodeProto) -> tuple[int, int]:
        """Terms that each output sums up, and outputs, of a multiplication by a constant matrix."""
        weights = self.weights(node)
        assert weights is not None
        inputs, outputs = weights.dims
        return (outputs, inputs) if _attribute(node, "transB") else (inputs, outputs)

    def _constant(self, name: str) -> onnx.TensorProto | None:
        return self._stored.get(name, self.constants.get(name))


def _dimensions(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)
