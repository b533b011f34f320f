"""What compression gains: every contender's time and accuracy, interleaved in one run, one core, batch 1.

    python benchmarks/compression.py [--sets plaid …] [--presets base t1 t2] [--seeds 1] [--json FILE]

For each data set and preset the model is trained and tuned (all of that is cached: run it again for the timing
alone), then timed beside PyTorch eager, ONNX Runtime's own default static and dynamic quantization, and, with
`--olive PYTHON` (a Python in which olive-ai is installed), Olive's int8. `--classics` adds MiniRocket and QUANT.
The chosen variant is chosen without test data; test accuracy is shown for it and for all others.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import contenders
from rich.console import Console
from rich.table import Table

from greenup import loop, signing
from greenup import recipe as recipes
from greenup.cli.progress import shown
from greenup.devices import inventory
from greenup.gpsup import compare
from greenup.intervals import wilson
from greenup.tune import Settings, tune
from greenup_runtime.bundle import BASELINE, open_folder
from greenup_runtime.clock import SystemClock
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.trials import conditions

ROOT = Path(__file__).parent.parent
SETS = ("refrigeration-devices", "plaid", "small-kitchen-appliances")
PRESETS = ("base", "t1", "t2")
CHOSEN = "chosen"


def main() -> None:
    """Tune, time and print every combination; the JSON is written after each, so nothing is lost by a stop."""
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    for name in arguments.sets:
        for preset in arguments.presets:
            for seed in range(arguments.seeds):
                rows += combination(name, preset, seed, arguments)
                report = {"conditions": conditions(Path("/")), "rows": rows}
                arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    show(rows)
    print(f"wrote {arguments.json}", file=sys.stderr)


def combination(name: str, preset: str, seed: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Tune one recipe and time its contenders: a row each."""
    recipe = recipes.load(ROOT / f"examples/{name}.toml", seed)
    if preset != recipe.model.preset:
        # A recipe's own widths and training are for its own preset: with its learning rate t1 learns nothing.
        own = {"model": recipes.ModelSpec(preset=preset), "train": recipes.TrainSpec()}
        recipe = recipe.model_copy(update=own)
    out = arguments.out / f"{name}-{preset}-{seed}"
    with shown(quiet=False) as report:
        session = loop.Session(inventory.find("local"), out, signing.find_key(), report)
        found = tune(session, recipe, Settings(arguments.minutes, arguments.folds, "none"), arguments.data_dir)
        bundle = open_folder(session.bundle_folder)
        field = contenders.of(session, recipe, bundle, found.chosen, arguments)
        plan = Plan(variants=tuple(field), burst_s=0.2, warmup_s=2.0, pilot_rounds=8, max_rounds=20)
        facts = {"bundle": bundle.digest, "device_id": "here"}
        calls = {label: each.call for label, each in field.items()}
        trial = run_trial(
            plan, calls, Chosen(None, ("speed only",)), SystemClock(), lambda *step: report("time", *step), facts
        )
    compared = compare(trial, BASELINE)
    return [
        {
            "set": name,
            "preset": preset,
            "seed": seed,
            "contender": label,
            "variant": each.variant,
            "latency_s": contenders.interval(compared[label].latency_s),
            "speedup": contenders.interval(compared[label].speedup),
            "test_accuracy": contenders.interval(wilson(each.right, each.cases)),
            "rounds": trial.rounds,
        }
        for label, each in field.items()
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """One table per data set and preset."""
    for key in dict.fromkeys((row["set"], row["preset"], row["seed"]) for row in rows):
        own = [row for row in rows if (row["set"], row["preset"], row["seed"]) == key]
        table = Table(title=f"{key[0]}, {key[1]}, seed {key[2]}: one thread, batch 1, {own[0]['rounds']} rounds")
        for column in ("contender", "median µs", "Speedup over fp32", "95 % interval", "test accuracy %"):
            table.add_column(column, justify="left" if column == "contender" else "right")
        for row in own:
            table.add_row(*_cells(row))
        Console(width=110).print(table)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    speedup, accuracy = row["speedup"], row["test_accuracy"]
    label = f"{row['contender']} ({row['variant']})" if row["contender"] == CHOSEN else row["contender"]
    ratio = f"{speedup['value']:.2f}" if speedup else "1"
    span = f"{speedup['low']:.2f} – {speedup['high']:.2f}" if speedup else "—"
    shown_accuracy = f"{100 * accuracy['value']:.1f} ({100 * accuracy['low']:.1f} – {100 * accuracy['high']:.1f})"
    return label, f"{row['latency_s']['value'] * 1e6:.0f}", ratio, span, shown_accuracy


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--presets", nargs="+", default=PRESETS, choices=PRESETS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10, help="for the training of each search")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=ROOT / "greenup-out" / "bench")
    parser.add_argument("--json", type=Path, default=ROOT / "greenup-out" / "compression.json")
    parser.add_argument("--olive", type=Path, default=None, help="a Python with olive-ai")
    parser.add_argument("--classics", action="store_true", help="MiniRocket and QUANT too")
    arguments = parser.parse_args()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
