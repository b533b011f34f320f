"""The work of each stage of a build: values and folders in, one filled folder out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from greenup import bundle, graph, prune, train, weights
from greenup.distill import Teacher
from greenup.evaluate import evaluate, golden_windows
from greenup.export import batch_of, check_against_torch
from greenup.model import ModelConfig
from greenup.presets import config_for
from greenup.quantize import draw, quantize
from greenup_runtime.bundle import BASELINE

if TYPE_CHECKING:
    from greenup.data import DataSet
    from greenup.pipeline import Made, Stages
    from greenup.result import Judgement

MODEL = "model.onnx"
LABELS = "validation_labels.npy"
CHECKPOINTS = "checkpoints"
_CHECKED_WINDOWS = 8


def train_stage(stages: Stages, out: Path) -> None:
    """Train the recipe's model; the folder keeps checkpoints until it is finished."""
    recipe, data = stages.recipe, stages.data()
    channels, length = data.train.x.shape[1:]
    config = config_for(recipe.model, channels, length, len(data.classes), recipe.data.normalize)
    fitted = train.train(
        config,
        recipe.train,
        data.train,
        data.validation,
        seed=recipe.seed,
        folder=out / CHECKPOINTS,
        progress=partial(stages.job.progress, "train"),
    )
    finish(stages, config, fitted.state, out)


def prune_stage(stages: Stages, parent: Path, out: Path) -> None:
    """Remove what the recipe says from the trained model, and let the rest learn from it shortly."""
    recipe, data = stages.recipe, stages.data()
    original = weights.load(parent)
    config, fitted = prune.gradual(
        *original,
        prune.plan_of(recipe.prune),
        prune.fine_tuning(recipe.train, recipe.prune),
        data.train,
        data.validation,
        steps=recipe.prune.steps,
        seed=recipe.seed,
        folder=out / CHECKPOINTS,
        teacher=Teacher([original], recipe.distill),
        progress=partial(stages.job.progress, "prune"),
    )
    finish(stages, config, fitted.state, out)


def export_stage(stages: Stages, parent: Path, out: Path) -> None:
    """Export to ONNX and check the file against PyTorch on real windows."""
    config, state = weights.load(parent)
    graph.best_form(config, state, stages.recipe.opset)(out / MODEL)
    check_against_torch(out / MODEL, config, state, stages.data().validation.x[:_CHECKED_WINDOWS])


def quantize_stage(stages: Stages, parent: Path, scheme: dict[str, Any], out: Path) -> None:
    """Quantize an exported model, calibrated on training windows drawn by the recipe's seed."""
    spec, data = stages.recipe.quantize, stages.data()
    windows = draw(data.train.x, data.train.y, spec.calibration_windows, stages.recipe.seed)
    quantize(parent / MODEL, out / MODEL, windows, spec, **scheme)


def bundle_stage(stages: Stages, models: Mapping[str, Made], judged: Mapping[str, Judgement], out: Path) -> None:
    """Evaluate every variant and pack them."""
    data = stages.data()
    golden = golden_windows(data)
    packed, expected = [], {}
    found: dict[str, dict[str, Any]] = {}
    for index, (name, made) in enumerate(models.items()):
        stages.job.progress("evaluate", index, len(models), name)
        labels = np.load(made.weights / LABELS, allow_pickle=False)
        result = evaluate(made.onnx / MODEL, data, golden, labels)
        isa = stages.job.target.needed_isa(stages.job.features) if name.endswith("int8") else ()
        facts = {**result.facts, "isa": list(isa)}
        found[name] = facts
        if loss := _loss(name, found, judged):
            facts["judged"] = asdict(loss)
        packed.append(bundle.PackedVariant(name, (made.onnx / MODEL).read_bytes(), facts))
        expected[name] = result.golden
    stages.job.progress("evaluate", len(models), len(models), "done")
    batch = "any" if all(batch_of(made.onnx / MODEL) == "any" for made in models.values()) else "1"
    bundle.pack(out, _head(stages, data, batch), packed, bundle.golden_bytes(golden, expected))


def _loss(name: str, found: Mapping[str, dict[str, Any]], judged: Mapping[str, Judgement]) -> Judgement | None:
    """What a variant was judged to lose; an int8 one loses what its float form does, and its own part."""
    if name in judged:
        return judged[name]
    parent = name.removesuffix("-int8")
    if parent not in judged or parent not in found:
        return None
    before, after = (found[each]["accuracy"]["validation"]["value"] for each in (parent, name))
    return judged[parent].lowered(100 * (before - after), "int8")


def finish(stages: Stages, config: ModelConfig, state: weights.State, out: Path) -> None:
    """Keep the weights and what they say of the validation windows; checkpoints are of no use any more."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    weights.save(out, config, state)
    probabilities = train.predict(config, state, stages.data().validation.x)
    np.save(out / LABELS, probabilities.argmax(axis=1).astype(np.int64))


def _head(stages: Stages, data: DataSet, batch: str) -> dict[str, Any]:
    recipe = stages.recipe
    channels, length = data.train.x.shape[1:]
    return {
        "name": recipe.name,
        "recipe": recipe.digest(),
        "baseline": BASELINE,
        "budget": recipe.budget.model_dump(mode="json"),
        "classes": list(data.classes),
        "dataset": {
            "name": data.name,
            "split_id": data.split_id,
            "files": list(data.files),
            "train": len(data.train.y),
            "validation": len(data.validation.y),
            "test": len(data.test.y),
            "notes": list(data.notes),
        },
        "input": {
            "channels": channels,
            "length": length,
            "dtype": "float32",
            "normalize": recipe.data.normalize,
            "batch": batch,
            "policy": data.policy.to_json(),
        },
    }
