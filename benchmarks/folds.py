"""Out-of-fold accuracy of a recipe's model and training on the training cases; test cases are never looked at.

    python benchmarks/folds.py RECIPE [--set train.epochs=40 …] [--config stem=128 …] [--folds 5] [--seed 0]
                               [--blocks]

Every training case (training and validation split together) is predicted by a model that saw neither it nor
another case of its unit; `greenup tune` divides alike. The epochs are fixed and the last one's weights are taken:
the held-out fold chooses nothing.

`--blocks` divides the cases of each class in the order of their file instead. Neighbours in the archive's
appliance sets look alike, so folds drawn by chance judge a case by its neighbours (docs/accuracy.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomllib
import torch

from greenup import recipe as recipes
from greenup.data import Windows, load
from greenup.intervals import wilson
from greenup.model import Classifier, ModelConfig
from greenup.presets import config_for
from greenup.train import predict, train
from greenup.tune.folds import divide, everything
from greenup_runtime.errors import UsageFault


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe's key")
    parser.add_argument(
        "--config", action="append", default=[], metavar="FIELD=VALUE", help="… a ModelConfig field"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="train no more than this many of the folds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blocks", action="store_true", help="folds are runs of neighbours in the file")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    recipe = recipes.parse(overridden(arguments.recipe, arguments.set))
    figures = out_of_fold(recipe, arguments)
    print(
        "{recipe}: {accuracy:.3f} [{low:.3f}, {high:.3f}] out of fold, {cases} cases, loss {loss:.3f}, "
        "{parameters} parameters, {train_s:.0f} s a fold".format(recipe=recipe.name, **figures),
        flush=True,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def overridden(path: Path, changes: list[str]) -> dict[str, Any]:
    """The recipe's table with `section.key=value` changes, values in TOML."""
    table = tomllib.loads(path.read_text())
    table["train"] = {**table.get("train", {}), "choose": "last", "threads": 1}
    for change in changes:
        name, value = change.split("=", 1)
        section, key = name.split(".")
        table.setdefault(section, {})[key] = tomllib.loads(f"x = {value}")["x"]
    return table


def out_of_fold(recipe: recipes.Recipe, arguments: argparse.Namespace) -> dict[str, Any]:
    """Accuracy, log loss, time and size over the folds."""
    data = load(recipe.data, name=recipe.data.dataset or recipe.name, seed=recipe.seed)
    cases = everything(data)
    x, y = cases.x, cases.y
    config = config_for(recipe.model, *x.shape[1:], len(data.classes), recipe.data.normalize)
    config = changed(config, arguments.config)
    fold_of = (
        blocks(cases, arguments.folds) if arguments.blocks else divide(cases, arguments.folds, arguments.seed)
    )
    probabilities = np.full((len(y), len(data.classes)), np.nan)
    started = time.perf_counter()
    folds = range(arguments.only or arguments.folds)
    for fold in folds:
        held = fold_of == fold
        with tempfile.TemporaryDirectory() as folder:
            parts = taken(cases, ~held), taken(cases, held)
            fitted = train(config, recipe.train, *parts, seed=arguments.seed, folder=Path(folder))
        probabilities[held] = predict(config, fitted.state, x[held])
    seen = fold_of < len(folds)
    right = probabilities[seen].argmax(axis=1) == y[seen]
    chance = np.take_along_axis(probabilities[seen], y[seen, None], axis=1)
    return {
        **{"accuracy": float(right.mean()), "cases": int(seen.sum())},
        **{name: getattr(wilson(int(right.sum()), len(right)), name) for name in ("low", "high")},
        "loss": float(-np.log(np.maximum(chance, 1e-7)).mean()),
        "parameters": sum(p.numel() for p in Classifier(config).parameters() if p.requires_grad),
        "train_s": (time.perf_counter() - started) / len(folds),
    }


def blocks(cases: Windows, folds: int) -> npt.NDArray[np.int64]:
    """The fold of each case [n]: within each class a run of neighbours in the file, whose place its unit names.

    Raises UsageFault for units without a place, which only the archive's sets have.
    """
    places = [re.match(r"case (\d+) of ", str(unit)) for unit in cases.unit]
    if not all(places):
        raise UsageFault("--blocks needs the cases' places in one file", "leave --blocks out: units divide them")
    at = np.array([int(place[1]) for place in places if place])
    fold = np.empty(len(at), dtype=np.int64)
    for label in np.unique(cases.y):
        members = np.flatnonzero(cases.y == label)
        fold[members[np.argsort(at[members])]] = np.arange(len(members)) * folds // len(members)
    return fold


def changed(config: ModelConfig, changes: list[str]) -> ModelConfig:
    """The configuration with `field=value` changes, values in TOML."""
    values = dict(change.split("=", 1) for change in changes)
    table = {name: tomllib.loads(f"x = {value}")["x"] for name, value in values.items()}
    return ModelConfig.from_json({**dataclasses.asdict(config), **table})


def taken(cases: Windows, chosen: npt.NDArray[np.bool_]) -> Windows:
    """Some of the cases."""
    return Windows(cases.x[chosen], cases.y[chosen], cases.unit[chosen])


if __name__ == "__main__":
    torch.set_num_interop_threads(1)
    main()
