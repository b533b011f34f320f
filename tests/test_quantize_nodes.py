"""int8 node by node: chosen nodes, schemes, dynamic, what each costs, falling back, training with rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import small_model as small
import torch

from greenup import targets
from greenup.distill import Teacher
from greenup.export import export_onnx
from greenup.onnx_facts import facts, weight_names
from greenup.quantize import (
    candidates,
    draw,
    fit,
    ladder,
    notes,
    quantize,
    quantize_dynamic,
    quantize_learnt,
    sensitivity,
    train_quantized,
)
from greenup.recipe import DistillSpec, QuantizeSpec
from greenup_runtime.engine import Engine
from greenup_runtime.errors import DataFault, UsageFault

SPEC = QuantizeSpec()
X, Y = small.VALIDATION.x, small.VALIDATION.y
CALIBRATION = small.TRAIN.x[:32]
PLANTED = "layers.0.attention.out.weight"


@pytest.fixture
def exported(small_onnx: Path) -> Path:
    return small_onnx


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same function, with one of attention's values so loud that int8 hears nothing else behind it."""
    config, state = small.trained("t1")
    state = {name: value.clone() for name, value in state.items()}
    values = 2 * config.heads[0] * config.d_head  # the first row of the values, behind queries and keys
    for part in ("weight", "bias"):
        state[f"layers.0.attention.qkv.{part}"][values] *= 1e4  # mixing values by weights keeps factors
    state[PLANTED][:, 0] *= 1e-4
    path = tmp_path_factory.mktemp("planted") / "model.onnx"
    export_onnx(config, state, path)
    return path


def accuracy(path: Path) -> float:
    return float((Engine(path).infer(X).argmax(axis=1) == Y).mean())


def quantized_weights(path: Path) -> set[str]:
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    return {name.removesuffix("_quantized") for name in names if name.endswith(".weight_quantized")}


def test_only_the_nodes_asked_for_are_quantized(exported: Path, tmp_path: Path) -> None:
    names = weight_names(exported)
    wanted = [node for node in candidates(exported) if "up" in names[node]]
    quantize(exported, tmp_path / "q.onnx", CALIBRATION, SPEC, nodes=wanted)
    assert quantized_weights(tmp_path / "q.onnx") == {"layers.0.up.weight", "layers.1.up.weight"}
    for bad in (["Gemm_999"], []):
        with pytest.raises(UsageFault, match="cannot be quantized"):
            quantize(exported, tmp_path / "no.onnx", CALIBRATION, SPEC, nodes=bad)
    assert not (tmp_path / "no.onnx").exists()


@pytest.mark.parametrize(("activations", "weights"), [("uint8", "int8"), ("int8", "int8"), ("uint8", "uint8")])
def test_every_scheme_keeps_the_accuracy(exported: Path, tmp_path: Path, activations: str, weights: str) -> None:
    scheme = {"activations": activations, "weights": weights}
    quantize(exported, tmp_path / "q.onnx", CALIBRATION, SPEC, **scheme)  # type: ignore[arg-type]
    assert accuracy(tmp_path / "q.onnx") >= accuracy(exported) - 0.05
    zeros = [t for t in onnx.load(tmp_path / "q.onnx").graph.initializer if t.name.endswith("zero_point")]
    if activations == weights == "int8":  # what TensorRT asks for
        assert zeros
        assert all(not onnx.numpy_helper.to_array(zero).any() for zero in zeros)


def test_dynamic_int8_needs_no_calibration(exported: Path, tmp_path: Path) -> None:
    quantize_dynamic(exported, tmp_path / "q.onnx")
    counts = facts(tmp_path / "q.onnx").node_counts
    assert counts["MatMulInteger"] == len(candidates(exported))
    assert counts["DynamicQuantizeLinear"] > 0
    assert accuracy(tmp_path / "q.onnx") >= accuracy(exported) - 0.05


def test_the_table_shows_the_planted_node_as_the_worst(planted: Path) -> None:
    rows = sensitivity(planted, X, Y, CALIBRATION, SPEC)
    assert len(rows) == len(candidates(planted))
    assert rows[-1].weights == PLANTED
    assert rows[-1].logit_error > 3 * rows[-2].logit_error
    assert all(row.won_s is not None and np.isfinite(row.won_s) for row in rows)


def test_a_narrow_budget_gives_up_the_planted_node_first(planted: Path, tmp_path: Path) -> None:
    kept = ladder(planted, tmp_path / "q.onnx", X, Y, CALIBRATION, SPEC, budget_points=2)
    assert kept.accuracy >= kept.float_accuracy - 0.02
    assert weight_names(planted)[kept.left_float[0][0]] == PLANTED
    assert kept.int8


def test_the_planted_node_falls_back_and_the_others_stay(planted: Path, tmp_path: Path) -> None:
    kept = ladder(planted, tmp_path / "q.onnx", X, Y, CALIBRATION, SPEC, budget_points=5)
    assert kept.accuracy >= kept.float_accuracy - 0.05
    assert accuracy(tmp_path / "q.onnx") == kept.accuracy
    assert [weight_names(planted)[node] for node, _ in kept.left_float] == [PLANTED]
    assert "moves logits by" in kept.left_float[0][1]
    assert len(kept.int8) == len(candidates(planted)) - 1
    assert PLANTED not in quantized_weights(tmp_path / "q.onnx")


def test_a_budget_that_holds_at_once_leaves_nothing_in_float(exported: Path, tmp_path: Path) -> None:
    kept = ladder(exported, tmp_path / "q.onnx", X, Y, CALIBRATION, SPEC, budget_points=10)
    assert (kept.left_float, len(kept.int8)) == ((), len(candidates(exported)))


def test_a_budget_that_no_node_meets_gives_the_float_file(exported: Path, tmp_path: Path) -> None:
    kept = ladder(exported, tmp_path / "q.onnx", X, Y, CALIBRATION, SPEC, budget_points=-100)
    assert (kept.int8, len(kept.left_float)) == ((), len(candidates(exported)))
    assert (tmp_path / "q.onnx").read_bytes() == exported.read_bytes()


def test_windows_without_labels_cannot_judge(exported: Path) -> None:
    with pytest.raises(DataFault, match="60 windows and 59 labels"):
        sensitivity(exported, X, Y[1:], CALIBRATION, SPEC)
    with pytest.raises(DataFault, match="not a number"):
        sensitivity(exported, X, Y, np.full_like(CALIBRATION, np.nan), SPEC)


def test_training_with_the_rounding_keeps_the_accuracy_and_its_ranges(tmp_path: Path) -> None:
    config, state = small.trained()
    spec = small.SPEC.model_copy(update={"epochs": 2, "learning_rate": 1e-3})
    teacher = Teacher([(config, state)], DistillSpec())
    common = {"seed": 0, "folder": tmp_path / "run", "teacher": teacher}
    learnt = train_quantized(config, state, spec, small.TRAIN, small.VALIDATION, **common)
    again = train_quantized(config, state, spec, small.TRAIN, small.VALIDATION, **common)
    assert again.ranges == learnt.ranges
    assert set(learnt.state) == set(state)
    assert all(torch.equal(value, again.state[name]) for name, value in learnt.state.items())
    export_onnx(config, learnt.state, tmp_path / "float.onnx")
    quantize_learnt(tmp_path / "float.onnx", tmp_path / "q.onnx", learnt)
    assert quantized_weights(tmp_path / "q.onnx") == set(learnt.ranges)
    assert accuracy(tmp_path / "q.onnx") == pytest.approx(learnt.validation_accuracy, abs=0.02)
    scales = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "q.onnx").graph.initializer}
    node = next(n for n, w in weight_names(tmp_path / "float.onnx").items() if w == "layers.0.up.weight")
    value = next(n.input[0] for n in onnx.load(tmp_path / "float.onnx").graph.node if n.name == node)
    low, high = learnt.ranges["layers.0.up.weight"]
    assert any(
        np.isclose(scale, (high - low) / 255)
        for name, scale in scales.items()
        if "scale" in name and not scale.shape
    ), value


def test_calibration_windows_hold_every_class_and_follow_from_the_seed() -> None:
    y = np.array([0] * 50 + [1] * 3 + [2])
    x = np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1).repeat(2, axis=2)
    drawn = draw(x, y, 6, seed=4)
    assert sorted(np.bincount(y[drawn[:, 0, 0].astype(int)])) == [1, 2, 3]
    assert np.array_equal(drawn, draw(x, y, 6, seed=4))
    assert not np.array_equal(drawn, draw(x, y, 6, seed=5))
    assert len(draw(x, y, 500, seed=0)) == len(y)


def test_a_still_channel_and_a_missing_class_are_said() -> None:
    windows = small.TRAIN.x[:9].copy()
    windows[:, 1] = 3
    said = notes(windows, np.zeros(9, dtype=np.int64), ["fridge", "kettle"])
    assert "channel 1 is constant" in said[0]
    assert "no calibration window is of class kettle" in said[1]
    assert notes(small.TRAIN.x, small.TRAIN.y, ["a", "b", "c"]) == []


def test_a_cpu_that_the_scheme_does_not_fit_gets_seven_bits_or_nothing() -> None:
    target = targets.load("x86-64")
    assert fit(target, ("vnni",)).settings == {"activations": "uint8", "weights": "int8", "reduce_range": False}
    reduced = fit(target, ())
    assert reduced.settings["reduce_range"]
    assert "weights keep seven bits" in str(reduced.note)
    strict = target.quantization.model_copy(update={"reduce_range_without_isa": False})
    with pytest.raises(UsageFault, match="saturate on a CPU without vnni"):
        fit(target.model_copy(update={"quantization": strict}), ())
