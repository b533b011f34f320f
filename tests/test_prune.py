"""Structured pruning: what is cut, what stays, and that the smaller model computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from greenup import prune as pruning
from greenup.export import export_onnx
from greenup.model import Classifier, ModelConfig
from greenup.onnx_facts import facts
from greenup.presets import config_for
from greenup.recipe import ModelSpec, PruneSpec, TrainSpec
from greenup.train import predict
from greenup.weights import State

CONFIG = config_for(ModelSpec(layers=2, heads=4, d_model=16, d_ff=32, patch=8), 1, 48, 3, "zscore")
X = np.random.default_rng(0).normal(size=(5, 1, 48)).astype(np.float32)


def fresh(config: ModelConfig = CONFIG) -> State:
    torch.manual_seed(0)
    return Classifier(config).state_dict()


def silence_head(state: State, layer: int, head: int) -> None:
    e, width = CONFIG.d_head, CONFIG.heads[layer] * CONFIG.d_head
    rows = slice(head * e, (head + 1) * e)
    for part in range(3):
        for name in ("weight", "bias"):
            state[f"layers.{layer}.attention.qkv.{name}"][part * width :][rows] = 0
    state[f"layers.{layer}.attention.out.weight"][:, rows] = 0


def silence_neuron(state: State, layer: int, neuron: int) -> None:
    state[f"layers.{layer}.up.weight"][neuron] = 0
    state[f"layers.{layer}.up.bias"][neuron] = 0
    state[f"layers.{layer}.down.weight"][:, neuron] = 0


def test_cutting_what_is_zero_changes_no_output() -> None:
    state = fresh()
    for layer, heads in enumerate(((0, 2), (1, 3))):
        for head in heads:
            silence_head(state, layer, head)
        for neuron in range(layer, 32, 2):
            silence_neuron(state, layer, neuron)
    config, smaller = pruning.prune(CONFIG, state, PruneSpec(heads=0.5, ffn=0.5))
    assert (config.heads, config.d_ff) == ((2, 2), (16, 16))
    np.testing.assert_allclose(predict(config, smaller, X), predict(CONFIG, state, X), atol=1e-6)


def test_cutting_what_is_not_zero_changes_outputs() -> None:
    config, smaller = pruning.prune(CONFIG, fresh(), PruneSpec())
    assert np.abs(predict(config, smaller, X) - predict(CONFIG, fresh(), X)).max() > 1e-4


def test_the_smallest_by_l1_norm_go() -> None:
    state = fresh()
    weights = state["layers.0.up.weight"].abs().sum(dim=1) + state["layers.0.down.weight"].abs().sum(dim=0)
    kept = sorted(weights.argsort(descending=True)[:16].tolist())
    _, smaller = pruning.prune(CONFIG, state, PruneSpec(heads=0.0, ffn=0.5))
    assert torch.equal(smaller["layers.0.up.weight"], state["layers.0.up.weight"][kept])
    assert torch.equal(smaller["layers.0.down.weight"], state["layers.0.down.weight"][:, kept])


def test_nothing_to_remove_leaves_the_model_as_it_is() -> None:
    config, same = pruning.prune(CONFIG, fresh(), PruneSpec(heads=0.0, ffn=0.0))
    assert config == CONFIG
    assert all(torch.equal(value, same[name]) for name, value in fresh().items())


def test_the_given_weights_are_not_touched() -> None:
    state = fresh()
    pruning.prune(CONFIG, state, PruneSpec(heads=0.75, ffn=0.75))
    assert all(torch.equal(value, state[name]) for name, value in fresh().items())


@pytest.mark.parametrize(
    ("share", "heads", "neurons"), [(0.01, 4, 32), (0.3, 3, 24), (0.5, 2, 16), (0.75, 1, 8), (0.99, 1, 8)]
)
def test_a_head_and_eight_neurons_always_stay(share: float, heads: int, neurons: int) -> None:
    config, smaller = pruning.prune(CONFIG, fresh(), PruneSpec(heads=share, ffn=share))
    assert config.heads == (heads,) * 2
    assert config.d_ff == (neurons,) * 2
    Classifier(config).load_state_dict(smaller)


def test_fewer_than_eight_neurons_are_left_alone() -> None:
    config = config_for(ModelSpec(layers=1, heads=1, d_model=8, d_ff=5), 1, 48, 3, "zscore")
    assert pruning.prune(config, fresh(config), PruneSpec())[0].d_ff == (5,)


def test_pruning_can_be_repeated() -> None:
    once = pruning.prune(CONFIG, fresh(), PruneSpec())
    config, state = pruning.prune(*once, PruneSpec())
    assert (config.heads, config.d_ff) == ((1, 1), (8, 8))
    assert np.isfinite(predict(config, state, X)).all()


def test_the_exported_matrices_are_smaller(tmp_path: Path) -> None:
    config, smaller = pruning.prune(CONFIG, fresh(), PruneSpec(heads=0.5, ffn=0.5))
    export_onnx(CONFIG, fresh(), tmp_path / "whole.onnx")
    export_onnx(config, smaller, tmp_path / "pruned.onnx")
    whole, pruned = facts(tmp_path / "whole.onnx"), facts(tmp_path / "pruned.onnx")
    assert whole.shapes["layers.1.attention.qkv.weight"] == (16, 48)
    assert pruned.shapes["layers.1.attention.qkv.weight"] == (16, 24)
    assert pruned.shapes["layers.1.attention.out.weight"] == (8, 16)
    assert pruned.shapes["layers.1.up.weight"] == (16, 16)
    assert pruned.shapes["layers.1.down.weight"] == (16, 16)
    assert pruned.macs < whole.macs
    assert pruned.size_bytes < whole.size_bytes


def test_fine_tuning_takes_its_own_epochs_and_rate() -> None:
    spec = pruning.fine_tuning(TrainSpec(batch=7), PruneSpec(epochs=3, learning_rate=1e-5))
    assert (spec.epochs, spec.learning_rate, spec.batch) == (3, 1e-5, 7)
