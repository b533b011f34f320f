"""The classifier and its presets: shapes, normalisation inside, configuration round trip, faults."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from greenup.model import Classifier, ModelConfig, normalize
from greenup.presets import config_for
from greenup.recipe import ModelSpec
from greenup_runtime.errors import UsageFault

SMALL = ModelSpec(layers=1, heads=2, d_model=8, d_ff=16)


def parameters(config: ModelConfig) -> int:
    return sum(p.numel() for p in Classifier(config).parameters() if p.requires_grad)


@pytest.mark.parametrize("preset", ["t1", "t2", "base"])
@pytest.mark.parametrize("how", ["zscore", "minmax", "none"])
def test_logits_have_one_row_per_window(preset: str, how: str) -> None:
    spec = ModelSpec(preset=preset, layers=1, heads=2, d_model=8, d_ff=16)
    config = config_for(spec, channels=3, length=37, classes=5, normalize=how)
    logits = Classifier(config).eval()(torch.randn(4, 3, 37))
    assert logits.shape == (4, 5)
    assert torch.isfinite(logits).all()


def test_every_layer_matters() -> None:
    config = config_for(SMALL.model_copy(update={"layers": 3}), 1, 32, 4, "zscore")
    model = Classifier(config).eval()
    x = torch.randn(2, 1, 32)
    before = model(x)
    for layer in model.layers:
        kept = layer.down.weight.detach().clone()
        layer.down.weight.data.zero_()
        assert not torch.allclose(model(x), before)
        layer.down.weight.data.copy_(kept)


@pytest.mark.parametrize("length", [2, 3, 8, 24, 25, 64, 96, 97, 150, 512, 720, 1344, 1460, 1500])
def test_base_covers_any_length_with_at_most_a_hundred_patches(length: int) -> None:
    config = config_for(ModelSpec(), 1, length, 2, "zscore")
    assert min(20, length - 1) <= config.tokens <= 100 or length < 24
    assert (config.tokens - 1) * config.stride + config.patch >= length + config.padding  # the end is covered
    model = Classifier(dataclasses.replace(config, heads=(1,), d_ff=(8,)))
    assert model.eval()(torch.randn(2, 1, length)).shape == (2, 2)


def test_t1_has_the_parameter_count_of_the_forerunner() -> None:
    # 180,041 is published; 9 classes of UniMiB-SHAR and 32 inputs per patch (4 channels of 8) are our reading.
    assert parameters(config_for(ModelSpec(preset="t1"), 4, 151, 9, "minmax")) == 180_041


def test_t2_is_deeper_than_t1_and_else_the_same() -> None:
    t1, t2 = (config_for(ModelSpec(preset=name), 1, 512, 4, "minmax") for name in ("t1", "t2"))
    assert (len(t1.heads), t1.heads[0], len(t2.heads), t2.heads[0]) == (8, 8, 12, 16)
    assert dataclasses.replace(t2, heads=t1.heads, d_ff=t1.d_ff, d_head=t1.d_head) == t1


def test_config_survives_json() -> None:
    config = dataclasses.replace(
        config_for(ModelSpec(), 2, 100, 3, "none"), heads=(3, 1, 2, 4), d_ff=(8, 16, 24, 32)
    )
    again = ModelConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    Classifier(again).load_state_dict(Classifier(config).state_dict())


@pytest.mark.parametrize(("how", "low", "high"), [("zscore", -20.0, 20.0), ("minmax", 0.0, 1.0)])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 470.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, 470.0, -1e5])
def test_normalised_windows_are_finite_and_bounded(
    how: str, low: float, high: float, scale: float, offset: float
) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(offset, scale, (3, 2, 200)).astype(np.float32))
    normal, features = normalize(x, how)
    assert torch.isfinite(features).all()
    assert normal.min() >= low
    assert normal.max() <= high


@pytest.mark.parametrize("how", ["zscore", "minmax"])
@pytest.mark.parametrize("value", [0.0, 0.1, -470.3, 1e6])
def test_a_constant_channel_gives_zeros(how: str, value: float) -> None:
    normal, features = normalize(torch.full((2, 1, 333), value), how)
    assert (normal == 0).all()
    assert torch.isfinite(features).all()


def test_zscore_takes_away_offset_and_scale_of_each_channel() -> None:
    x = torch.randn(2, 3, 50)
    moved = x * torch.tensor([1.0, 7.0, 0.01]).view(1, 3, 1) + torch.tensor([0.0, -5.0, 40.0]).view(1, 3, 1)
    torch.testing.assert_close(normalize(moved, "zscore")[0], normalize(x, "zscore")[0], rtol=1e-2, atol=1e-2)
    assert not torch.allclose(normalize(moved, "zscore")[1], normalize(x, "zscore")[1])


def test_base_sees_the_amplitude_that_zscore_takes_away() -> None:
    x = torch.randn(1, 1, 64)
    with_it = Classifier(config_for(SMALL, 1, 64, 3, "zscore")).eval()
    without = Classifier(dataclasses.replace(with_it.config, amplitude=False)).eval()
    assert not torch.allclose(with_it(x), with_it(100 * x))
    torch.testing.assert_close(without(x), without(100 * x), rtol=1e-3, atol=1e-3)


def test_filters_that_answer_with_shares_start_with_edges_inside_the_data() -> None:
    torch.manual_seed(0)
    x = 300 + 20 * torch.randn(16, 2, 200)
    model = Classifier(config_for(SMALL, 2, 200, 3, "zscore")).eval()
    model.embed.prime(x)
    _, summary = model.embed.patches(normalize(x, "zscore")[0])
    shares = summary[:, model.config.stem :]
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    assert shares.mean(dim=0).quantile(0.1) < 0.4 < 0.6 < shares.mean(dim=0).quantile(0.9)


def test_priming_leaves_other_filters_alone() -> None:
    model = Classifier(config_for(SMALL.model_copy(update={"filters": "relu"}), 1, 64, 3, "zscore"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.embed.prime(torch.randn(4, 1, 64))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_peak_filters_are_a_plain_stem_without_a_shortcut() -> None:
    config = config_for(SMALL.model_copy(update={"filters": "peak"}), 1, 64, 3, "zscore")
    assert (config.stem_dilations, config.stem_pool, config.shortcut, config.pooling) == (
        (1,),
        "max",
        False,
        "mean",
    )
    assert Classifier(config).embed.summary_width == 0


def test_the_shortcut_lets_the_classes_see_the_filters_beside_the_encoder() -> None:
    model = Classifier(config_for(SMALL, 1, 64, 3, "zscore")).eval()
    model.head.weight.data[:, : 2 * model.config.d_model] = 0  # nothing of the encoder gets through
    one, other = model(torch.randn(2, 1, 64))
    assert not torch.allclose(one, other)


def test_a_dropped_block_is_dropped_in_training_only() -> None:
    config = dataclasses.replace(config_for(SMALL, 1, 64, 3, "zscore"), dropout=0.0, head_dropout=0.0)
    always = Classifier(dataclasses.replace(config, drop_path=0.9)).eval()
    never = Classifier(config).eval()
    never.load_state_dict(always.state_dict())
    x = torch.randn(8, 1, 64)
    torch.testing.assert_close(always(x), never(x))
    torch.manual_seed(0)
    rows = torch.randn(8 * 4, 8)
    layer = always.layers[0].train()
    kept = (layer(rows, 4) != rows).reshape(8, -1).any(dim=1)
    assert 0 < kept.sum() < 8


@pytest.mark.parametrize("positions", ["none", "learned"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "mean+max"])
def test_any_pooling_goes_with_any_positions(positions: str, pooling: str) -> None:
    config = dataclasses.replace(config_for(SMALL, 1, 40, 3, "zscore"), positions=positions, pooling=pooling)
    assert Classifier(config).eval()(torch.randn(2, 1, 40)).shape == (2, 3)


@pytest.mark.parametrize(
    ("spec", "length", "words"),
    [
        (ModelSpec(preset="t1"), 7, ("7 samples", "patch of 8", "model.patch to 7")),
        (ModelSpec(heads=3, d_model=128), 64, ("model.heads = 3", "128", "1, 2, 4, 8")),
        (ModelSpec(patch=4, stride=5), 64, ("model.stride = 5", "model.patch = 4")),
    ],
)
def test_widths_that_do_not_fit_are_the_users_fault(spec: ModelSpec, length: int, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageFault) as caught:
        config_for(spec, 1, length, 3, "zscore")
    text = f"{caught.value.message} {caught.value.hint}"
    assert all(word in text for word in words)
