"""Time per inference of every variant of a recipe beside PyTorch eager, interleaved in one run on one thread.

    python benchmarks/variants.py [RECIPE] [--json FILE]

Prints a table with Speedup over `fp32` and its 95 % interval by rounds, and writes the same as JSON. No energy:
this is about speed; `greenup build-and-push` measures both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from greenup import pipeline, targets, weights
from greenup import recipe as recipes
from greenup.cache import Cache
from greenup.cli.progress import shown
from greenup.folders import cache_folder
from greenup.gpsup import compare
from greenup.model import Classifier
from greenup_runtime import engine
from greenup_runtime.bundle import Bundle
from greenup_runtime.clock import SystemClock
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.trials import conditions

EAGER = "PyTorch eager"
DEFAULT = Path(__file__).parent.parent / "examples/acsf1.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path, nargs="?", default=DEFAULT)
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "greenup-variants.json")
    arguments = parser.parse_args()
    rows = measure(recipes.load(arguments.recipe))
    show(rows, arguments.recipe.stem)
    arguments.json.write_text(json.dumps({"conditions": conditions(Path("/")), "rows": rows}, indent=2) + "\n")
    print(f"wrote {arguments.json}", file=sys.stderr)


def measure(recipe: recipes.Recipe) -> list[dict[str, Any]]:
    """One row per contender: seconds per inference and Speedup with intervals."""
    with shown(quiet=False) as report:
        job = pipeline.Build(
            recipe, targets.detect_local(), targets.local_features(), Cache(cache_folder()), None, report
        )
        bundle = pipeline.build(job)
        trained = pipeline.Stages(job).trained()
        contenders = {name: onnx_caller(bundle, name) for name in recipe.variants}
        contenders[EAGER] = eager_caller(bundle, trained)
        plan = Plan(variants=tuple(contenders), **_settings(recipe))
        facts = {"bundle": bundle.digest, "device_id": "here"}
        progress = lambda *step: report("measure", *step)  # noqa: E731
        trial = run_trial(plan, contenders, Chosen(None, ("speed only",)), SystemClock(), progress, facts)
    return [
        {
            "name": name,
            "latency_s": _figures(row.latency_s),
            "speedup": _figures(row.speedup),
            "rounds": trial.rounds,
        }
        for name, row in compare(trial).items()
    ]


def onnx_caller(bundle: Bundle, name: str) -> Callable[[], object]:
    """An inference of one golden window after the other, by ONNX Runtime."""
    loaded, windows = engine.load(bundle, name), _windows(bundle)
    return lambda: loaded.infer_one(next(windows))


def eager_caller(bundle: Bundle, trained: Path) -> Callable[[], object]:
    """The same windows through the trained PyTorch model, on one thread."""
    torch.set_num_threads(1)
    config, state = weights.load(trained)
    model = Classifier(config).eval()
    model.load_state_dict(state)
    windows = _windows(bundle)

    def call() -> object:
        with torch.inference_mode():
            return torch.softmax(model(torch.from_numpy(next(windows))), dim=-1)

    return call


def show(rows: list[dict[str, Any]], title: str) -> None:
    table = Table(title=f"{title}: time per inference, one thread, batch 1, {rows[0]['rounds']} rounds")
    for column in ("contender", "median", "95 % interval", "Speedup over fp32", "95 % interval"):
        table.add_column(column)
    for row in rows:
        latency, speedup = row["latency_s"], row["speedup"]
        ratio = (
            (f"{speedup['value']:.2f}", f"{speedup['low']:.2f} – {speedup['high']:.2f}") if speedup else ("1", "—")
        )
        spread = f"{latency['low'] * 1e6:.0f} – {latency['high'] * 1e6:.0f} µs"
        table.add_row(row["name"], f"{latency['value'] * 1e6:.0f} µs", spread, *ratio)
    Console().print(table)


def _windows(bundle: Bundle) -> Any:
    return itertools.cycle([np.ascontiguousarray(window[None]) for window in bundle.golden().windows])


def _settings(recipe: recipes.Recipe) -> dict[str, Any]:
    return recipe.measure.model_dump()


def _figures(interval: Any) -> dict[str, float] | None:
    return asdict(interval) if interval else None


if __name__ == "__main__":
    main()
