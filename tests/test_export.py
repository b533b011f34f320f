"""Export: equal to PyTorch, equal bytes everywhere, whole operators, nothing told about the maker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from greenup.export import BATCH, check_against_torch, export_onnx
from greenup.model import Classifier, ModelConfig
from greenup.presets import config_for
from greenup.recipe import ModelSpec
from greenup.weights import State, load, save
from greenup_runtime.engine import Engine
from greenup_runtime.errors import IntegrityFault


def small(preset: str = "base", normalize: str = "zscore") -> tuple[ModelConfig, State]:
    """A small model whose weights are all different, as after training."""
    spec = ModelSpec(preset=preset, layers=2, heads=2, d_model=8, d_ff=16, patch=8)  # type: ignore[arg-type]
    config = config_for(spec, 2, 40, 3, normalize)  # type: ignore[arg-type]
    torch.manual_seed(0)
    state = {
        name: value + 0.1 * torch.randn(value.shape) for name, value in Classifier(config).state_dict().items()
    }
    return config, state


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    config, state = small()
    save(folder, config, state)
    export_onnx(config, state, folder / "model.onnx")
    return folder


def hard_windows() -> np.ndarray:
    """Ordinary windows, a constant one, tiny and huge spreads, a large offset."""
    x = np.random.default_rng(0).normal(size=(8, 2, 40)).astype(np.float32)
    x[1] = 3.7
    x[2] *= 3e-5
    x[3] *= 1e5
    x[4] += 470
    x[5, 1] = 0
    return x


def check(path: Path, config: ModelConfig, state: State) -> None:
    x = hard_windows()
    assert check_against_torch(path, config, state, x) < 1e-4
    probabilities = Engine(path, BATCH).infer(x)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_it_gives_what_pytorch_gives(exported: Path) -> None:
    check(exported / "model.onnx", *load(exported))


@pytest.mark.parametrize(("preset", "normalize"), [("base", "none"), ("t1", "minmax")])
def test_so_do_other_presets_and_normalisations(tmp_path: Path, preset: str, normalize: str) -> None:
    config, state = small(preset, normalize)
    export_onnx(config, state, tmp_path / "model.onnx")
    check(tmp_path / "model.onnx", config, state)


def test_one_window_alone_gives_the_same_as_in_a_batch(exported: Path) -> None:
    engine, x = Engine(exported / "model.onnx", BATCH), hard_windows()
    alone = np.concatenate([engine.infer_one(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(alone, engine.infer(x), atol=1e-6)


def test_other_weights_are_found_out(exported: Path) -> None:
    config, state = load(exported)
    state["head.bias"] += torch.tensor([0.0, 0.0, 0.1])
    with pytest.raises(IntegrityFault, match="differs from the trained model"):
        check_against_torch(exported / "model.onnx", config, state, hard_windows())


def test_the_bytes_do_not_depend_on_the_folder_or_the_process(exported: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from greenup.export import export_onnx; from greenup.weights import load;"
        "export_onnx(*load(Path(sys.argv[1])), Path('model.onnx'))"
    )
    folder = tmp_path / "another" / "folder"
    folder.mkdir(parents=True)
    env = {**os.environ, "PYTHONHASHSEED": "7", "HOME": str(folder), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", script, str(exported)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert (folder / "model.onnx").read_bytes() == (exported / "model.onnx").read_bytes()


def test_nothing_in_the_file_tells_who_made_it(exported: Path) -> None:
    whole = (exported / "model.onnx").read_bytes()
    for trace in (b".py", b"torch", b"/", str(Path.home()).encode()):
        assert trace not in _strings(whole), trace
    model = onnx.load_from_string(whole)
    assert not model.metadata_props
    assert model.producer_version == ""
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def _strings(whole: bytes) -> bytes:
    """The file without its tensors, whose bytes may spell anything."""
    model = onnx.load_from_string(whole)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return model.SerializeToString()


def test_input_and_output_are_named_and_shaped_as_promised(exported: Path) -> None:
    graph = onnx.load(exported / "model.onnx").graph
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"input": ["batch", 2, 40], "probabilities": ["batch", 3]}


def test_gelu_and_layer_norm_stay_whole_and_linear_layers_are_one_node_each(exported: Path) -> None:
    operators = [node.op_type for node in onnx.load(exported / "model.onnx").graph.node]
    assert operators.count("Gelu") == 2
    assert operators.count("LayerNormalization") == 5
    assert operators.count("Gemm") == 2 * 4 + 3  # per layer qkv, out, up, down; then patches, amplitude, head
    assert operators.count("MatMul") == 2 * 2
    assert not {"Erf", "Constant", "Identity", "Shape", "Cast"} & set(operators)


def test_a_newer_opset_may_be_asked_for_and_the_exporter_is_silent(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, state = load(exported)
    export_onnx(config, state, tmp_path / "model.onnx", opset=23)
    assert capfd.readouterr() == ("", "")
    files = (exported / "model.onnx", tmp_path / "model.onnx")
    assert [[entry.version for entry in onnx.load(path).opset_import] for path in files] == [[20], [23]]
    check(tmp_path / "model.onnx", config, state)
