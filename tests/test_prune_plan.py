"""What a plan may ask for: layers, width, global ranking, Taylor importance, steps; and what it may not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import small_model as small
import torch

from greenup import prune, weights
from greenup.distill import Teacher
from greenup.export import check_against_torch, export_onnx
from greenup.model import Classifier
from greenup.onnx_facts import facts
from greenup.prune import PrunePlan
from greenup.recipe import DistillSpec
from greenup.train import predict
from greenup_runtime.errors import DataFault, UsageFault


def accuracy(config: object, state: object) -> float:
    found = predict(config, state, small.VALIDATION.x).argmax(axis=1)  # type: ignore[arg-type]
    return float((found == small.VALIDATION.y).mean())


def test_layers_and_width_go_too_and_the_model_reloads_from_its_configuration(tmp_path: Path) -> None:
    config, state = small.trained()
    plan = PrunePlan(heads=0.5, ffn=0.5, layers=0.5, width=0.5, multiple=8)
    smaller, pruned = prune.shrink(config, state, plan)
    assert (smaller.heads, smaller.d_ff, smaller.d_model) == ((2,), (16,), 8)
    weights.save(tmp_path, smaller, pruned)
    again, loaded = weights.load(tmp_path)
    Classifier(again).load_state_dict(loaded)
    export_onnx(again, loaded, tmp_path / "model.onnx")
    check_against_torch(tmp_path / "model.onnx", again, loaded, small.VALIDATION.x[:4])
    shapes = facts(tmp_path / "model.onnx").shapes
    assert shapes["layers.0.attention.qkv.weight"] == (8, 3 * 2 * config.d_head)
    assert shapes["layers.0.up.weight"] == (8, 16)
    assert shapes["embed.patches.mix.weight"] == (2 * config.stem, 8)  # largest and mean answers
    assert not any(name.startswith("layers.1.") for name in shapes)


@pytest.mark.parametrize("preset", ["base", "t1"])
def test_narrower_tokens_keep_the_same_places_everywhere(preset: str) -> None:
    config, state = small.trained(preset)
    smaller, pruned = prune.shrink(config, state, PrunePlan(width=0.5))
    positions, kept = state["embed.positions"], pruned["embed.positions"]
    places = [int((positions == kept[..., i : i + 1]).all(dim=1).nonzero()[0, 1]) for i in range(8)]
    assert places == sorted(places)
    assert torch.equal(pruned["layers.1.up.weight"], state["layers.1.up.weight"][:, places])
    assert torch.equal(pruned["layers.0.attention.out.bias"], state["layers.0.attention.out.bias"][places])
    assert np.isfinite(predict(smaller, pruned, small.VALIDATION.x)).all()


def test_global_ranking_may_leave_layers_of_different_width() -> None:
    config, state = small.trained()
    louder = {name: value * (5 if name.startswith("layers.1.") else 1) for name, value in state.items()}
    smaller, pruned = prune.shrink(config, louder, PrunePlan(heads=0.5, ffn=0.5, scope="global"))
    assert (smaller.heads, smaller.d_ff) == ((1, 4), (8, 32))
    Classifier(smaller).load_state_dict(pruned)


def test_widths_stay_multiples_of_what_the_target_likes() -> None:
    config, state = small.trained()
    smaller, _ = prune.shrink(config, state, PrunePlan(ffn=0.4, width=0.3, multiple=4))
    assert (smaller.d_ff, smaller.d_model) == ((20, 20), 12)


def test_taylor_sees_a_head_that_is_large_and_does_nothing() -> None:
    config, state = small.trained()
    state = {name: value.clone() for name, value in state.items()}
    by_head = state["layers.0.attention.qkv.weight"].view(3, 4, config.d_head, -1)
    by_head[:2, 1] *= 100
    by_head[2, 1] = 0
    state["layers.0.attention.qkv.bias"].view(3, 4, config.d_head)[2, 1] = 0
    batches = prune.batches_of(small.TRAIN, seed=0, size=30)
    _, by_l1 = prune.shrink(config, state, PrunePlan(heads=0.25))
    _, by_taylor = prune.shrink(config, state, PrunePlan(heads=0.25, importance="taylor"), batches)
    kept = {"l1": by_l1, "taylor": by_taylor}
    largest = {k: float(v["layers.0.attention.qkv.weight"].abs().max()) for k, v in kept.items()}
    assert largest["l1"] > 10 > largest["taylor"]


@pytest.mark.parametrize("key", ["heads", "ffn", "layers", "width"])
@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(key: str, share: float) -> None:
    with pytest.raises(UsageFault, match=f"prune.{key} = ") as fault:
        PrunePlan(**{key: share})
    assert "below 1" in str(fault.value.hint)


def test_taylor_without_usable_windows_is_refused() -> None:
    config, state = small.trained()
    plan = PrunePlan(heads=0.5, importance="taylor")
    with pytest.raises(UsageFault, match="needs training windows"):
        prune.shrink(config, state, plan)
    with pytest.raises(DataFault, match="there are none"):
        prune.shrink(config, state, plan, [])
    bad = torch.full((2, 2, small.LENGTH), torch.nan), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(DataFault, match="not a number"):
        prune.shrink(config, state, plan, [bad])


def test_steps_end_at_the_widths_of_one_cut_and_resume_with_the_same_bits(tmp_path: Path) -> None:
    config, state = small.trained()
    plan = PrunePlan(heads=0.75, ffn=0.75, layers=0.5, importance="taylor")
    spec = small.SPEC.model_copy(update={"epochs": 2})
    teacher = Teacher([(config, state)], DistillSpec())
    told: list[str] = []

    class Killed(Exception):
        pass

    def run(folder: Path, stop_after: int | None = None) -> tuple[object, dict[str, torch.Tensor]]:
        def progress(done: int, total: int, message: str) -> None:
            told.append(message)
            if stop_after is not None and len(told) == stop_after:
                raise Killed

        common = {"steps": 2, "seed": 3, "folder": folder, "teacher": teacher, "progress": progress}
        smaller, result = prune.gradual(config, state, plan, spec, small.TRAIN, small.VALIDATION, **common)
        return smaller, result.state

    whole, expected = run(tmp_path / "whole")
    assert dataclasses.replace(config, heads=(1,), d_ff=(8,)) == whole
    told.clear()
    with pytest.raises(Killed):
        run(tmp_path / "killed", stop_after=4)  # in the second step
    again, found = run(tmp_path / "killed")
    assert again == whole
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert accuracy(whole, expected) > 0.5
    with pytest.raises(UsageFault, match="0 steps"):
        prune.gradual(config, state, plan, spec, small.TRAIN, small.VALIDATION, steps=0, seed=0, folder=tmp_path)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_masks_make_zeros_and_nothing_smaller(tmp_path: Path, small_onnx: Path, scope: str) -> None:
    config, state = small.trained()
    masked = prune.unstructured(config, state, 0.5, scope)  # type: ignore[arg-type]
    matrices = [name for name, value in masked.items() if value.ndim > 1 and name != "embed.positions"]
    zeros = {name: float((masked[name] == 0).float().mean()) for name in matrices}
    total = sum(zeros[name] * masked[name].numel() for name in matrices) / sum(masked[n].numel() for n in matrices)
    assert total == pytest.approx(0.5, abs=0.01)
    if scope == "layer":
        assert all(share == pytest.approx(0.5, abs=0.02) for share in zeros.values())
    kept = masked["layers.0.up.weight"] != 0
    assert torch.equal(masked["layers.0.up.weight"][kept], state["layers.0.up.weight"][kept])
    export_onnx(config, masked, tmp_path / "masked.onnx")
    whole, after = facts(small_onnx), facts(tmp_path / "masked.onnx")
    assert (after.shapes, after.macs, after.size_bytes) == (whole.shapes, whole.macs, whole.size_bytes)
    with pytest.raises(UsageFault):
        prune.unstructured(config, state, 1.0)
