"""Accuracy of a recipe's trained model and of its int8 form, on validation and test data, per preset.

    python benchmarks/accuracy.py RECIPE … [--preset base …] [--json FILE]

This looks at the test cases: run it when the recipe is fixed. Choices are made with benchmarks/folds.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from greenup import pipeline, targets
from greenup import recipe as recipes
from greenup.cache import Cache
from greenup.cli.progress import shown
from greenup.folders import cache_folder
from greenup_runtime import cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path, nargs="+")
    parser.add_argument("--preset", nargs="+", choices=("base", "t1", "t2"), help="the recipe's own if left out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for path in arguments.recipe:
        recipe = recipes.load(path)
        for preset in arguments.preset or [recipe.model.preset]:
            rows += measure(with_preset(recipe, preset))
            for row in rows[-2:]:
                print(line(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def with_preset(recipe: recipes.Recipe, preset: str) -> recipes.Recipe:
    """The recipe with fp32 and int8 only, and another preset at its own widths."""
    model = recipe.model
    if preset != model.preset:
        model = recipes.ModelSpec.model_validate({"preset": preset})
    return recipe.model_copy(update={"variants": ("fp32", "int8"), "model": model})


def measure(recipe: recipes.Recipe) -> list[dict[str, Any]]:
    """One row per variant. `train_s` is None where the trained model was in the cache."""
    with shown(quiet=True) as report:
        job = pipeline.Build(
            recipe, targets.detect_local(), cpu.isa_features(), Cache(cache_folder()), None, report
        )
        started = time.perf_counter()
        cached = not missing(job)
        train_s = None if cached else time.perf_counter() - started
        bundle = pipeline.build(job)
    keys = ("parameters", "macs", "accuracy")
    return [
        {"data": recipe.name, "preset": recipe.model.preset, "variant": variant["name"], "train_s": train_s}
        | {key: variant[key] for key in keys}
        for variant in bundle.manifest["variants"]
    ]


def missing(job: pipeline.Build) -> bool:
    """Train; whether that was still to do."""
    before = time.time()
    return pipeline.Stages(job).trained().stat().st_mtime >= before


def line(row: dict[str, Any]) -> str:
    """One row for people."""
    validation, test = row["accuracy"]["validation"], row["accuracy"]["test"]
    trained = "cached" if row["train_s"] is None else f"{row['train_s']:.0f} s"
    return (
        f"{row['data']} {row['preset']} {row['variant']}: validation {share(validation)}, test {share(test)}, "
        f"{row['parameters']} parameters, {row['macs'] / 1e6:.2f} M MACs, trained {trained}"
    )


def share(accuracy: dict[str, float]) -> str:
    """A share with its interval."""
    return f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
