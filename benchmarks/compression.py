"""What compression gains: every contender's time and accuracy, interleaved in one run, one thread, batch 1.

    python benchmarks/compression.py [--sets plaid …] [--presets base t1 t2] [--seeds N] [--classics] [--quick]

For each data set, preset and seed the model is trained and tuned (all of that is cached: run it again for the
timing alone), then timed beside PyTorch eager, ONNX Runtime's own default static and dynamic quantization, and
Olive's int8 from the environment that `environments.py olive` makes. `--classics` adds MiniRocket and QUANT to
the preset `base`. The chosen variant is chosen without test data; test accuracy is shown for it and for all
others. `--quick` trains a few epochs only: it shows that everything runs, and its accuracies mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import contenders
import environments
import timing
from combinations import OUT, REPORTED, Combination, add_to, command_line, own_runner, wanted
from present import show
from verdicts import goals, summary

from greenup import loop, signing
from greenup.cli.progress import shown
from greenup.devices import inventory
from greenup.result import Result
from greenup.tune import Settings, tune
from greenup.tune.stages import TuneStages
from greenup_runtime.bundle import BASELINE, Bundle, open_folder
from greenup_runtime.errors import DeviceFault

_QUICK_MINUTES = 0.3
# A run of hours must not end because somebody measures on this machine for a minute.
BUSY = "another measurement runs"
_WAIT_S, _PATIENCE_S = 15.0, 3600.0
_OVER = (BASELINE, contenders.EAGER, contenders.OLIVE_INT8, contenders.MINIROCKET)


def main() -> None:
    """Tune, time and print every combination; the JSON is written after each, so nothing is lost by a stop."""
    arguments = _arguments()
    own_runner()
    kept = earlier(arguments.json) if arguments.add else []
    for one in wanted(arguments):
        began_s = time.monotonic()
        fresh = combination(one, arguments)
        kept = [row for row in kept if Combination(row["set"], row["preset"], row["seed"]) != one] + fresh
        write(arguments, kept)
        print(f"{one.name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    show(json.loads(arguments.json.read_text()))
    print(f"wrote {arguments.json}", file=sys.stderr)


def combination(one: Combination, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Tune one recipe and time its contenders: a row each."""
    recipe = one.recipe(arguments.quick)
    with shown(quiet=False) as report:
        session, found = searched(one, arguments, report)
        bundle = open_folder(session.bundle_folder)
        stages = TuneStages(loop.job(session, recipe, arguments.data_dir))
        field = contenders.of(stages, bundle, found.chosen, arguments.olive)
        if arguments.classics and one.preset == REPORTED:
            field |= contenders.classics(stages.data(), recipe.seed)
        trial = timing.timed(field, report, quick=arguments.quick)
    head = {**one._asdict(), "budget_points": recipe.budget.accuracy_drop_points}
    head |= {"validation_accuracy": _validation(bundle), "notes": list(found.notes)}
    return [{**head, **row} for row in timing.rows(field, trial, _OVER)]


def searched(
    one: Combination, arguments: argparse.Namespace, report: loop.Progress
) -> tuple[loop.Session, Result]:
    """The search of one combination: its session, in a folder of its own, and what it came to."""
    minutes = _QUICK_MINUTES if arguments.quick else arguments.minutes
    session = loop.Session(inventory.find("local"), arguments.out / one.name, signing.find_key(), report)
    settings, recipe = Settings(minutes, arguments.folds, "none"), one.recipe(arguments.quick)
    give_up_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return session, tune(session, recipe, settings, arguments.data_dir)
        except DeviceFault as fault:
            # All that was trained until here is cached; only somebody else's measurement is worth waiting for.
            if BUSY not in fault.message or time.monotonic() > give_up_s:
                raise
            report("search", 0, 1, "waiting for the other measurement")
            time.sleep(_WAIT_S)


def write(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Rows, what they come to over seeds, and the goals, in one file."""
    report = {
        "command": command_line("compression.py"),
        "quick": arguments.quick,
        "conditions": timing.run_conditions(),
        "goals": goals(rows),
        "summary": summary(rows),
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def earlier(path: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run, or none."""
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def _validation(bundle: Bundle) -> float:
    entry = next(each for each in bundle.manifest["variants"] if each["name"] == BASELINE)
    return float(entry["accuracy"]["validation"]["value"])


def add_search(parser: argparse.ArgumentParser) -> None:
    """The options of the searches, which train-all needs too."""
    parser.add_argument("--minutes", type=float, default=10, help="for the training of each search")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folders of the searches")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_to(parser)
    add_search(parser)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--add", action="store_true", help="keep the JSON's rows of other combinations")
    parser.add_argument("--olive", type=Path, help="a Python with olive-ai, if not that of environments.py")
    parser.add_argument("--classics", action="store_true", help="MiniRocket and QUANT too")
    arguments = parser.parse_args()
    # A quick run must not overwrite the figures of a real one.
    suffix = "-quick" if arguments.quick else ""
    arguments.out = arguments.out or OUT / f"bench{suffix}"
    arguments.json = arguments.json or OUT / f"compression{suffix}.json"
    arguments.olive = arguments.olive or environments.python_of("olive")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
