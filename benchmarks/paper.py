"""The paper's claims on its own kind of models: what its ways gain in time, energy and accuracy, measured.

    python benchmarks/paper.py [--sets plaid …] [--presets t1 t2] [--seeds N] [--share 0.5] [--quick]

arXiv 2502.16627 reports for transformers on appliance data: static quantization −29.14 % energy, L1 pruning 1.63×
the speed, both together −37.08 % energy, accuracy kept. Here each way is applied to `t1` and `t2`, the presets
after the paper's public forerunner, and all are timed in one interleaved run, one thread, batch 1. Pruning stands
twice: masks of zeros (what `torch.nn.utils.prune` does) and structures that are cut out. So does static
quantization: ONNX Runtime's default and ours. Greenup needs a meter; without one there is Speedup alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import contenders
import timing
from combinations import OUT, Combination, add_to, command_line, own_runner, wanted
from contenders import Field
from rich.console import Console
from rich.table import Table
from verdicts import groups, mean, ratio

from greenup import graph, loop, prune, weights
from greenup.cli.progress import shown
from greenup.devices import inventory
from greenup.stages import MODEL
from greenup.tune.stages import TuneStages
from greenup_runtime.bundle import BASELINE

MASKS, STRUCTURED = "L1 masks", "structured L1"
DEFAULT, OURS, BOTH = "static, ORT default", "static, ours", "structured L1 + static, ours"
CLAIMS = {
    MASKS: "1.63× speed",
    STRUCTURED: "1.63× speed",
    DEFAULT: "−29.14 % energy",
    OURS: "−29.14 % energy",
    BOTH: "−37.08 % energy",
}


def main() -> None:
    """Measure and print every combination; the JSON is written after each."""
    arguments = _arguments()
    own_runner()
    rows: list[dict[str, Any]] = []
    for one in wanted(arguments, ("t1", "t2")):
        rows += combination(one, arguments)
        report = {
            "command": command_line("paper.py"),
            "quick": arguments.quick,
            "share": arguments.share,
            "conditions": timing.run_conditions(),
            "summary": summary(rows),
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    show(report)
    print(f"wrote {arguments.json}", file=sys.stderr)


def combination(one: Combination, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train one model (or take it from the cache), make the paper's variants and time them together."""
    recipe = one.recipe(arguments.quick)
    with shown(quiet=False) as report:
        session = loop.Session(inventory.find("local"), OUT / "paper", None, report)
        stages = TuneStages(loop.job(session, recipe, arguments.data_dir))
        with tempfile.TemporaryDirectory(prefix="greenup-paper-") as scratch:
            field = variants(stages, Path(scratch), arguments.share)
        meter = timing.real_meter(tuple(session.device.target.meters.order))
        trial = timing.timed(field, report, meter, quick=arguments.quick)
    return [{**one._asdict(), **row} for row in timing.rows(field, trial)]


def variants(stages: TuneStages, scratch: Path, share: float) -> Field:
    """`fp32` and what the paper's ways make of it, as ONNX files."""
    data, fp32 = stages.data(), stages.exported(BASELINE) / MODEL
    files = {
        BASELINE: fp32,
        MASKS: _masked(stages, scratch / "masks.onnx", share),
        STRUCTURED: stages.exported("pruned") / MODEL,
        DEFAULT: contenders.default_static(fp32, scratch / "static.onnx", data),
        OURS: stages.quantized("int8") / MODEL,
        BOTH: stages.quantized("pruned-int8") / MODEL,
    }
    return {label: contenders.onnx(path, data, label) for label, path in files.items()}


def _masked(stages: TuneStages, target: Path, share: float) -> Path:
    config, state = weights.load(stages.trained())
    graph.best_form(config, prune.unstructured(config, state, share), stages.recipe.opset)(target)
    return target


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry per set, preset and variant, over seeds."""
    return [
        {
            "set": name,
            "preset": preset,
            "variant": label,
            "claim": CLAIMS.get(label),
            "seeds": len(own),
            "latency_s": mean([row["latency_s"]["value"] for row in own])["value"],
            "speedup": ratio(own, BASELINE) if label != BASELINE else None,
            "greenup": [row["greenup"] for row in own] if all(row["greenup"] for row in own) else None,
            "greenup_missing": own[0]["greenup_missing"],
            "accuracy": mean([row["test_accuracy"]["value"] for row in own]),
        }
        for (name, preset), by_label in groups(rows).items()
        for label, own in by_label.items()
    ]


def show(report: dict[str, Any]) -> None:
    """One table of all."""
    console = Console(width=150)
    if report["quick"]:
        console.print(
            "Quick run: one seed, few epochs, short bursts. It shows that all runs; no figure means anything."
        )
    table = Table(title=f"The paper's ways, one thread, batch 1; {100 * report['share']:g} % masked")
    for column in ("set, preset", "way", "the paper", "µs", "Speedup", "Greenup", "test accuracy %"):
        table.add_column(column)
    for entry in report["summary"]:
        speedup, place = entry["speedup"], f"{entry['set']}, {entry['preset']}"
        ratio_text = f"{speedup['value']:.2f} ({speedup['low']:.2f} – {speedup['high']:.2f})" if speedup else "1"
        latency, accuracy = f"{entry['latency_s'] * 1e6:.0f}", f"{100 * entry['accuracy']['value']:.1f}"
        claim = entry["claim"] or ""
        table.add_row(place, entry["variant"], claim, latency, ratio_text, greenup_text(entry), accuracy)
    console.print(table)


def greenup_text(entry: dict[str, Any]) -> str:
    """Greenup of each seed with its interval, or what is missing."""
    if entry["speedup"] is None:
        return "1"
    if not entry["greenup"]:
        return "needs a meter"
    return ", ".join(f"{each['value']:.2f} ({each['low']:.2f} – {each['high']:.2f})" for each in entry["greenup"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_to(parser)
    parser.add_argument("--share", type=float, default=0.5, help="share of weights that the masks set to zero")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.json = arguments.json or OUT / ("paper-quick.json" if arguments.quick else "paper.json")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    return arguments


if __name__ == "__main__":
    main()
