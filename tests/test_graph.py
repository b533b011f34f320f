"""Graph forms: the same probabilities, and as many nodes as each claims."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_model as small
import torch

from greenup import export, graph
from greenup.model import Classifier, ModelConfig
from greenup.onnx_facts import facts
from greenup.students import student
from greenup.weights import State
from greenup_runtime.engine import Engine
from greenup_runtime.errors import IntegrityFault, UsageFault

T1 = dataclasses.replace(small.small("t1"), channels=1, length=50)  # padded to whole patches
MODELS = {
    "t1": T1,
    "t1, one head": student(T1, heads=1),
    "base": small.small(),
    "base, class token": student(small.small(), pooling="cls", layers=1),
    "minmax, overlapping": dataclasses.replace(small.small("t1"), normalize="minmax", stride=4),
}


def with_weights(config: ModelConfig) -> State:
    torch.manual_seed(0)
    return {name: v + 0.1 * torch.randn(v.shape) for name, v in Classifier(config).state_dict().items()}


Written = Callable[..., tuple[Path, Counter[str]]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A form's file and its operators; each is written once for all tests of this file."""
    folder = tmp_path_factory.mktemp("forms")
    files: dict[tuple[ModelConfig, str, int], Path] = {}

    def write(config: ModelConfig, name: str, opset_max: int = 20) -> tuple[Path, Counter[str]]:
        asked = config, name, opset_max
        if asked not in files:
            path = folder / f"{len(files)}.onnx"
            graph.forms(config, with_weights(config), opset_max)[name](path)
            files[asked] = path
        path = files[asked]
        return path, Counter(node.op_type for node in onnx.load(path).graph.node)

    return write


@pytest.mark.parametrize("model", MODELS)
def test_the_lean_form_gives_what_pytorch_gives(model: str, written: Written) -> None:
    config = MODELS[model]
    path, counts = written(config, "lean")
    x = np.random.default_rng(0).normal(size=(8, config.channels, config.length)).astype(np.float32)
    x[1], x[2], x[3], x[4] = 3.7, x[2] * 1e5, x[3] + 470, x[4] * 3e-3
    assert export.check_against_torch(path, config, with_weights(config), x) < 1e-4
    assert export.batch_of(path) == "1"
    assert not {"Shape", "Constant", "Identity", "Cast", "Unsqueeze" if not config.stem else "Erf"} & set(counts)
    assert facts(path).macs > 0


def test_the_lean_form_has_two_thirds_of_the_nodes(written: Written) -> None:
    _, plain = written(T1, "plain")
    _, lean = written(T1, "lean")
    _, one_head = written(student(T1, heads=1), "lean")
    assert (sum(plain.values()), sum(lean.values()), sum(one_head.values())) == (64, 44, 39)
    assert (plain["Reshape"], lean["Reshape"]) == (10, 5)
    assert (plain["Transpose"], lean["Transpose"]) == (9, 4)
    assert one_head["Reshape"] == 3  # patches, and two of the one query of the class token
    assert one_head["Gemm"] == lean["Gemm"] - 1  # the output map is merged into the values


def test_a_last_layer_for_the_class_token_alone_saves_its_work(written: Written) -> None:
    lean, _ = written(T1, "lean")
    whole, _ = written(T1, "lean-all")
    assert facts(lean).macs < 0.7 * facts(whole).macs


@pytest.mark.parametrize(
    ("name", "operator", "count"),
    [
        ("lean-fused", "MultiHeadAttention", 2),
        ("lean-packed", "Attention", 2),
        ("lean-standard", "Attention", 2),
        ("lean-separate", "Gemm", 2 * 6 + 3),
        ("lean-lines", "MaxPool", 1),
        ("lean-blocks", "ReduceMax", 3),
        ("transformers", "Gelu", 2),
        ("fixed", "Gemm", 2 * 4 + 3),
    ],
)
def test_every_other_form_is_what_it_says(name: str, operator: str, count: int, written: Written) -> None:
    path, counts = written(MODELS["base"], name, opset_max=23)
    assert counts[operator] == count
    plain, _ = written(MODELS["base"], "plain")
    assert facts(path).macs == facts(plain).macs
    assert Engine(path, export.batch_of(path)).infer(small.VALIDATION.x[:2]).shape == (2, 3)


def test_forms_are_only_those_that_fit() -> None:
    state = with_weights(T1)
    assert "lean-standard" not in graph.forms(T1, state, 20)
    assert "lean-blocks" not in graph.forms(T1, state, 20)
    assert "lean-all" not in graph.forms(MODELS["base"], with_weights(MODELS["base"]), 20)
    with pytest.raises(UsageFault, match="opset 17"):
        graph.forms(T1, state, 17)


def test_a_form_that_computes_something_else_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenup.graph.lean._EPSILON", 10.0)
    with pytest.raises(IntegrityFault, match="differs from the trained model"):
        graph.forms(T1, with_weights(T1))["lean"](tmp_path / "lean.onnx")
