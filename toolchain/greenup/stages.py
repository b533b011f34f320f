"""The work of each stage of a build: values and folders in, one filled folder out."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from greenup import bundle, prune, train, weights
from greenup.distill import Teacher
from greenup.evaluate import evaluate, golden_windows
from greenup.export import BATCH, check_against_torch, export_onnx
from greenup.model import ModelConfig
from greenup.presets import config_for
from greenup.quantize import draw, quantize
from greenup_runtime.bundle import BASELINE

if TYPE_CHECKING:
    from greenup.data import DataSet
    from greenup.pipeline import Stages

_MODEL = "model.onnx"
_LABELS = "validation_labels.npy"
_CHECKPOINTS = "checkpoints"
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
        folder=out / _CHECKPOINTS,
        progress=partial(stages.job.progress, "train"),
    )
    _finish(stages, config, fitted.state, out)


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
        folder=out / _CHECKPOINTS,
        teacher=Teacher([original], recipe.distill),
        progress=partial(stages.job.progress, "prune"),
    )
    _finish(stages, config, fitted.state, out)


def export_stage(stages: Stages, parent: Path, out: Path) -> None:
    """Export to ONNX and check the file against PyTorch on real windows."""
    config, state = weights.load(parent)
    export_onnx(config, state, out / _MODEL, opset=stages.recipe.opset)
    check_against_torch(out / _MODEL, config, state, stages.data().validation.x[:_CHECKED_WINDOWS])


def quantize_stage(stages: Stages, parent: Path, scheme: dict[str, Any], out: Path) -> None:
    """Quantize an exported model, calibrated on training windows drawn by the recipe's seed."""
    spec, data = stages.recipe.quantize, stages.data()
    windows = draw(data.train.x, data.train.y, spec.calibration_windows, stages.recipe.seed)
    quantize(parent / _MODEL, out / _MODEL, windows, spec, **scheme)


def bundle_stage(stages: Stages, models: dict[str, Path], out: Path) -> None:
    """Evaluate every variant and pack them."""
    data = stages.data()
    golden = golden_windows(data)
    packed, expected = [], {}
    for index, (name, folder) in enumerate(models.items()):
        stages.job.progress("evaluate", index, len(models), name)
        labels = np.load(stages.source(name) / _LABELS, allow_pickle=False)
        result = evaluate(folder / _MODEL, data, golden, labels, BATCH)
        isa = stages.job.target.needed_isa(stages.job.features) if name.endswith("int8") else ()
        facts = {**result.facts, "isa": list(isa)}
        packed.append(bundle.PackedVariant(name, (folder / _MODEL).read_bytes(), facts))
        expected[name] = result.golden
    stages.job.progress("evaluate", len(models), len(models), "done")
    bundle.pack(out, _head(stages, data), packed, bundle.golden_bytes(golden, expected))


def _finish(stages: Stages, config: ModelConfig, state: weights.State, out: Path) -> None:
    """Keep the weights and what they say of the validation windows; checkpoints are of no use any more."""
    shutil.rmtree(out / _CHECKPOINTS)
    weights.save(out, config, state)
    probabilities = train.predict(config, state, stages.data().validation.x)
    np.save(out / _LABELS, probabilities.argmax(axis=1).astype(np.int64))


def _head(stages: Stages, data: DataSet) -> dict[str, Any]:
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
            "batch": BATCH,
            "policy": data.policy.to_json(),
        },
    }
