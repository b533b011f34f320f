"""Facts of a file, checked against graphs small enough to count by hand, and against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from greenup.export import export_onnx
from greenup.model import Classifier
from greenup.onnx_facts import facts
from greenup.presets import config_for
from greenup.recipe import ModelSpec
from greenup_runtime.errors import IntegrityFault


def constant(name: str, *shape: int, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def write(path: Path, nodes: list[onnx.NodeProto], constants: list[TensorProto], shape: list[int | str]) -> Path:
    graph = helper.make_graph(
        nodes,
        "by-hand",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        constants,
    )
    graph.output[0].type.tensor_type.shape.dim.add().dim_param = "batch"
    for _ in shape:
        graph.output[0].type.tensor_type.shape.dim.add()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_multiplication_and_its_bias(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["wide"], "multiply"),
        helper.make_node("Add", ["wide", "b"], ["output"], "add"),
    ]
    found = facts(write(tmp_path / "m.onnx", nodes, [constant("w", 5, 7), constant("b", 7)], [3, 5]))
    assert found.macs == 3 * 5 * 7
    assert found.parameters == 5 * 7 + 7
    assert found.shapes == {"w": (5, 7)}
    assert found.node_counts == {"Add": 1, "MatMul": 1}
    assert (found.opset, found.int8_share) == (20, 0.0)
    assert found.size_bytes == (tmp_path / "m.onnx").stat().st_size


def test_a_convolution(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["input", "w"], ["output"], "filters", strides=[2])]
    found = facts(write(tmp_path / "m.onnx", nodes, [constant("w", 4, 3, 5)], [3, 21]))
    assert found.macs == 9 * 4 * 3 * 5  # nine places, four filters, three channels, five samples
    assert found.parameters == 60
    assert found.shapes == {}


def test_products_of_activations_count_as_macs_and_not_as_parameters(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["input"], ["turned"], "turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["input", "turned"], ["output"], "multiply"),
    ]
    found = facts(write(tmp_path / "m.onnx", nodes, [], [4, 6]))
    assert (found.macs, found.parameters, found.shapes) == (4 * 4 * 6, 0, {})


def test_int8_weights_are_parameters_and_their_scales_are_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w_quantized", "ws", "wz"], ["w"], "weights", axis=1),
        helper.make_node("MatMul", ["x", "w"], ["wide"], "first"),
        helper.make_node("MatMul", ["wide", "v"], ["output"], "second"),
    ]
    constants = [
        constant("s"),
        constant("z", dtype=np.uint8),
        constant("w_quantized", 5, 7, dtype=np.int8),
        constant("ws", 7),
        constant("wz", 7, dtype=np.int8),
        constant("v", 7, 2),
    ]
    found = facts(write(tmp_path / "m.onnx", nodes, constants, [3, 5]))
    assert found.parameters == 5 * 7 + 7 * 2
    assert found.macs == 3 * 5 * 7 + 3 * 7 * 2
    assert found.int8_share == pytest.approx(35 / 49)
    assert found.shapes == {"w": (5, 7), "v": (7, 2)}


@pytest.mark.parametrize("preset", ["base", "t1"])
def test_parameters_are_those_of_pytorch(tmp_path: Path, preset: str) -> None:
    spec = ModelSpec(preset=preset, layers=2, heads=2, d_model=8, d_ff=16)  # type: ignore[arg-type]
    config = config_for(spec, 2, 40, 3, "zscore")
    torch.manual_seed(0)
    state = {name: value + torch.randn(value.shape) for name, value in Classifier(config).state_dict().items()}
    export_onnx(config, state, tmp_path / "model.onnx")
    found = facts(tmp_path / "model.onnx")
    # The class token is folded into the first position; how many batches a norm has seen is not exported.
    left_out = ("embed.cls", "summary_norm.num_batches_tracked")
    assert found.parameters == sum(value.numel() for name, value in state.items() if name not in left_out)
    linear = 2 * 4 + (3 if preset == "base" else 2)
    assert len(found.shapes) == linear
    assert found.shapes["layers.1.up.weight"] == (8, 16)


@pytest.mark.parametrize("content", [None, b"", b"no model at all"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IntegrityFault, match=r"does not exist|not a readable ONNX file"):
        facts(path)
