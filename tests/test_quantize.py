"""Static int8: only where weights are multiplied, in integer kernels, the same bytes twice, clear faults."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from greenup.export import export_onnx
from greenup.model import Classifier
from greenup.onnx_facts import facts
from greenup.presets import config_for
from greenup.quantize import quantize
from greenup.recipe import ModelSpec, QuantizeSpec
from greenup_runtime.engine import Engine
from greenup_runtime.errors import DataFault, UsageFault

WINDOWS = np.random.default_rng(0).normal(size=(12, 2, 64)).astype(np.float32)
WINDOWS[3] = 5.0  # a constant window
WINDOWS[:, 1] = 0  # a dead channel
MATMULS = 2 * 4 + 1  # per layer qkv, out, up, down; then patches
ONCE_PER_WINDOW = 2  # amplitude, head


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ModelSpec(layers=2, heads=2, d_model=16, d_ff=32, patch=8)
    config = config_for(spec, 2, 64, 3, "zscore")
    torch.manual_seed(0)
    state = {
        name: value + 0.1 * torch.randn(value.shape) for name, value in Classifier(config).state_dict().items()
    }
    path = tmp_path_factory.mktemp("quantize") / "model.onnx"
    export_onnx(config, state, path)
    return path


@pytest.fixture(scope="module")
def int8(exported: Path) -> Path:
    path = exported.with_name("int8.onnx")
    quantize(exported, path, WINDOWS, QuantizeSpec())
    return path


def test_only_inputs_of_weight_multiplications_are_quantized(int8: Path) -> None:
    graph = onnx.load(int8).graph
    made_by = {output: node for node in graph.node for output in node.output}
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    fed = {node.name: [made_by.get(name) for name in node.input] for node in graph.node}
    quantized = [node for node in graph.node if any(n and n.op_type == "DequantizeLinear" for n in fed[node.name])]
    assert {node.op_type for node in quantized} == {"Gemm"}
    assert len(quantized) == MATMULS
    for node in quantized:
        activation, weights = fed[node.name][:2]
        assert activation is not None
        assert weights is not None
        assert activation.op_type == weights.op_type == "DequantizeLinear"
        assert made_by[activation.input[0]].op_type == "QuantizeLinear"
        assert stored[weights.input[0]] == onnx.TensorProto.INT8
    counts = Counter(node.op_type for node in graph.node)
    assert counts["QuantizeLinear"] == MATMULS  # none behind an output
    assert counts["Gemm"] == MATMULS + ONCE_PER_WINDOW


def test_each_becomes_one_integer_kernel(int8: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(int8), options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert counts["QGemm"] == MATMULS
    assert counts["Gemm"] == ONCE_PER_WINDOW
    assert counts["DequantizeLinear"] == 0


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_probabilities_stay_close(exported: Path, tmp_path: Path, method: str, activations: str) -> None:
    spec = QuantizeSpec(method=method)  # type: ignore[arg-type]
    quantize(exported, tmp_path / "q.onnx", WINDOWS, spec, activations=activations)  # type: ignore[arg-type]
    difference = np.abs(Engine(tmp_path / "q.onnx").infer(WINDOWS) - Engine(exported).infer(WINDOWS))
    assert 0 < difference.max() < 0.1


def test_methods_of_calibration_differ(exported: Path, tmp_path: Path) -> None:
    digests = set()
    for method in ("minmax", "percentile", "entropy"):
        quantize(exported, tmp_path / "q.onnx", WINDOWS, QuantizeSpec(method=method))  # type: ignore[arg-type]
        digests.add(hashlib.sha256((tmp_path / "q.onnx").read_bytes()).hexdigest())
    assert len(digests) == 3


def test_a_reduced_range_keeps_weights_to_seven_bits(exported: Path, tmp_path: Path) -> None:
    def largest(**options: bool) -> int:
        quantize(exported, tmp_path / "q.onnx", WINDOWS, QuantizeSpec(), **options)  # type: ignore[arg-type]
        tensors = onnx.load(tmp_path / "q.onnx").graph.initializer
        return max(
            int(np.abs(onnx.numpy_helper.to_array(t).astype(int)).max())
            for t in tensors
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2
        )

    assert largest() == 127
    assert largest(reduce_range=True) == 64


@pytest.mark.parametrize("per_channel", [True, False])
def test_scales_are_per_channel_where_asked(exported: Path, tmp_path: Path, per_channel: bool) -> None:
    quantize(exported, tmp_path / "q.onnx", WINDOWS, QuantizeSpec(per_channel=per_channel))
    scales = {t.name: list(t.dims) for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert scales["layers.0.up.weight_scale"] == ([32] if per_channel else [])


def test_the_bytes_do_not_depend_on_the_process(exported: Path, int8: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "windows.npy", WINDOWS)
    script = (
        "import sys, numpy as np; from pathlib import Path; from greenup.quantize import quantize;"
        "from greenup.recipe import QuantizeSpec;"
        "quantize(Path(sys.argv[1]), Path('int8.onnx'), np.load('windows.npy'), QuantizeSpec())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7", "HOME": str(tmp_path), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", script, str(exported)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert (tmp_path / "int8.onnx").read_bytes() == int8.read_bytes()


def test_only_the_target_is_left_behind(exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = exported.read_bytes()
    quantize(exported, tmp_path / "q.onnx", WINDOWS, QuantizeSpec())
    assert [path.name for path in tmp_path.iterdir()] == ["q.onnx"]
    assert exported.read_bytes() == before
    assert capfd.readouterr() == ("", "")


def test_facts_tell_float_from_int8(exported: Path, int8: Path) -> None:
    before, after = facts(exported), facts(int8)
    assert before.int8_share == 0
    assert 0.3 < after.int8_share < 1
    assert after.size_bytes < before.size_bytes
    assert (after.macs, after.parameters, after.shapes) == (before.macs, before.parameters, before.shapes)


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        (WINDOWS[:0], "no windows to calibrate with"),
        (np.where(WINDOWS > 2, np.float32(np.nan), WINDOWS), "of 12 calibration windows"),
    ],
)
def test_windows_that_cannot_calibrate_are_a_fault_of_the_data(
    exported: Path, tmp_path: Path, windows: np.ndarray, words: str
) -> None:
    with pytest.raises(DataFault, match=words):
        quantize(exported, tmp_path / "q.onnx", windows, QuantizeSpec())
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_is_not_quantized_again(int8: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="quantized already"):
        quantize(int8, tmp_path / "q.onnx", WINDOWS, QuantizeSpec())


def test_what_is_done_once_per_window_stays_float(int8: Path) -> None:
    float_weights = {t.name for t in onnx.load(int8).graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    assert {"embed.amplitude.weight", "head.weight"} <= float_weights
    assert not {"embed.patches.mix.weight", "layers.0.up.weight"} & float_weights
