"""Tables of compression.py on the terminal."""

from __future__ import annotations

from typing import Any

from contenders import CHOSEN, CHOSEN_INT8, DYNAMIC, EAGER, MINIROCKET, OLIVE_INT8, QUANT, STATIC
from rich.console import Console
from rich.table import Table
from verdicts import GAINS

from greenup_runtime.bundle import BASELINE

_MARKS = {True: "met", False: "MISSED", None: "—"}
_OTHERS = {
    BASELINE: "own fp32 in ONNX Runtime",
    EAGER: EAGER,
    STATIC: "ONNX Runtime, default static int8",
    DYNAMIC: "ONNX Runtime, dynamic int8",
    OLIVE_INT8: OLIVE_INT8,
    **{label: f"only {what}" for label, what in GAINS.items()},
    "pruned-int8": "pruning and quantization",
    CHOSEN: "chosen",
    CHOSEN_INT8: "the chosen structure in int8",
    MINIROCKET: MINIROCKET,
    QUANT: QUANT,
}


def show(report: dict[str, Any]) -> None:
    """One table per data set and preset, then the goals."""
    console = Console(width=130)
    if report["quick"]:
        console.print(
            "Quick run: one seed, few epochs, short bursts. It shows that all runs; no figure means anything."
        )
    for entry in report["summary"]:
        console.print(_contenders(entry))
    console.print(_goals(report["goals"]))


def _contenders(entry: dict[str, Any]) -> Table:
    seeds = f"{entry['seeds']} seed{'s' if entry['seeds'] > 1 else ''}"
    table = Table(title=f"{entry['set']}, {entry['preset']}: {seeds}, one thread, batch 1")
    for column in ("contender", "µs", "Speedup over fp32", "test accuracy %", "note"):
        table.add_column(column, justify="left" if column in ("contender", "note") else "right")
    for label, name in _OTHERS.items():
        if label in entry["contenders"]:
            table.add_row(name, *cells(label, entry))
    return table


def cells(label: str, entry: dict[str, Any]) -> tuple[str, str, str, str]:
    """Time, ratio, accuracy and a note of one contender of a summary's entry."""
    own = entry["contenders"][label]
    if "failed" in own:
        return "—", "—", "—", own["failed"]
    speedup = own["over"].get(BASELINE)
    ratio = f"{speedup['value']:.2f} ({speedup['low']:.2f} – {speedup['high']:.2f})" if speedup else "1"
    accuracy = own["accuracy"]
    share = f"{100 * accuracy['value']:.1f}"
    if accuracy["low"] is not None:
        share += f" ({100 * accuracy['low']:.1f} – {100 * accuracy['high']:.1f})"
    note = ""
    if label == CHOSEN:
        lost = entry["loss"]
        note = f"{', '.join(own['variants'])}; loses {lost['points']:+.1f} points, "
        note += f"at most {lost['bound_points']:+.1f}"
        note += f" (95 %, over {lost['over']})"
    return f"{own['latency_s'] * 1e6:.0f}", ratio, share, note


def _goals(goals: list[dict[str, Any]]) -> Table:
    table = Table(title="Goals")
    for column in ("set, preset", "goal", "reached", ""):
        table.add_column(column)
    for goal in goals:
        table.add_row(f"{goal['set']}, {goal['preset']}", goal["goal"], goal["reached"], _MARKS[goal["met"]])
    return table
