"""Put the tables of real runs into README.md and docs/results.md.

    python docs/tables.py greenup-out/acsf1 greenup-out/plaid … greenup-out/compression.json greenup-out/truth.json

A folder is a results folder of `greenup build-and-push`: its `result.json` fills the place marked
`<!-- table:NAME -->` … `<!-- /table -->`, where NAME is the folder's name. A file is what a benchmark wrote; its
name says which place it fills.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs/results.md"]


def main() -> None:
    """Fill every place whose folder or file was named; nothing is written where one of them has no place."""
    paths = [Path(name) for name in sys.argv[1:]]
    pages = "".join(page.read_text() for page in PAGES)
    if lost := [path.stem for path in paths if not _place(path.stem).search(pages)]:
        names = " or ".join(page.name for page in PAGES)
        marks = ", ".join(f"<!-- table:{name} --> … <!-- /table -->" for name in lost)
        sys.exit(f"error: no place for {', '.join(lost)}\nhint: put {marks} into {names}")
    for path in paths:
        found = json.loads((path / "result.json" if path.is_dir() else path).read_text())
        for name, make in MAKERS.get(path.stem, {path.stem: result}).items():
            block = make(found, path.stem)
            for page in PAGES:
                page.write_text(fill(page.read_text(), name, block))


def fill(text: str, name: str, block: str) -> str:
    """The page with one place filled anew."""
    return _place(name).sub(lambda found: f"{found[1]}{block}\n{found[2]}", text)


def _place(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- table:{re.escape(name)} -->\n).*?(<!-- /table -->)", re.DOTALL)


def result(found: dict[str, Any], name: str) -> str:
    """One result of the loop, with its conditions below."""
    head = ("variant", "size", "test accuracy", "latency", "Speedup", "energy per inference", "Greenup", "verdict")
    rows = [_row(row, found["chosen"]) for row in found["variants"]]
    return "\n".join([*_table(head, rows), "", _conditions(found, name)])


def compression(found: dict[str, Any], _name: str) -> str:
    """Speedup over the same `fp32` by contender, accuracy lost, what users would pick instead, and the goals."""
    entries = found["summary"]
    head = (
        "set, preset, seeds",
        "`fp32`, µs",
        *_OTHERS.values(),
        *_GAINS.values(),
        "chosen",
        "chosen loses, points",
    )
    classic = [row for entry in entries for row in _classic_rows(entry)]
    return "\n".join(
        [
            *_table(head, map(_compressed, entries)),
            "",
            *_table(("set", "way", "µs a case", "test accuracy"), classic),
            "",
            *_goals(found["goals"]),
            "",
            _benchmark(found, "Speedup over ONNX Runtime's `fp32`; contenders interleaved in one run."),
        ]
    )


def compression_short(found: dict[str, Any], _name: str) -> str:
    """What the chosen variant gains: for the README."""
    head = ("set, preset", "`fp32`", "chosen", "Speedup", "over PyTorch", "over Olive's int8", "test accuracy")
    return "\n".join([*_table(head, map(_short, found["summary"])), "", _benchmark(found, "")])


_OTHERS = {
    "PyTorch eager": "PyTorch eager",
    "ORT default static": "ORT static",
    "ORT dynamic": "ORT dynamic",
    "Olive int8": "Olive int8",
}
_GAINS = {"pruned": "only pruning", "int8": "only quantization", "distilled": "only distillation"}
_CLASSICS = {"chosen": "greenup, chosen", "MiniRocket (aeon)": "MiniRocket", "QUANT (aeon)": "QUANT"}
_MET = {True: "yes", False: "**no**", None: "—"}


def paper(found: dict[str, Any], _name: str) -> str:
    """The paper's ways on `t1` and `t2` beside what it reports for them."""
    rows = [
        (
            f"{entry['set']}, {entry['preset']}",
            entry["variant"],
            entry["claim"] or "",
            f"{entry['latency_s'] * 1e6:.0f}",
            _ratio(entry["speedup"]),
            _paper_greenup(entry),
            f"{100 * entry['accuracy']['value']:.1f} %",
        )
        for entry in found["summary"]
    ]
    head = ("set, preset", "way", "the paper", "µs", "Speedup", "Greenup", "test accuracy")
    closing = (
        f"{100 * found['share']:g} % of the weights masked, without training afterwards; structures as in the "
        "recipe, with its training afterwards; all ways interleaved in one run."
    )
    return "\n".join([*_table(head, rows), "", _benchmark(found, closing)])


def serving(found: dict[str, Any], _name: str) -> str:
    """What serving costs, way by way, and the goals."""
    ways = [(row["way"], *(row[key] for key in ("median", "p99", "throughput"))) for row in found["ways"]]
    rest = [(row["what"], row["reached"]) for row in found["others"]]
    return "\n".join(
        [
            *_table(("way", "median overhead", "p99", "8 connections, one core"), ways),
            "",
            *_table(("what", "measured"), rest),
            "",
            *_goals(found["goals"]),
            "",
            _benchmark(
                found, "Overhead over a bare `session.run` of the same round; ways interleaved in one run."
            ),
        ]
    )


def truth(found: dict[str, Any], _name: str) -> str:
    """Whether joules and intervals hold on simulated boards whose power is known."""
    rows = [
        (_GOALS[name], each["reached"], "yes" if each["met"] else "**no**")
        for name, each in found["goals"].items()
    ]
    size = f"{len(found['settings'])} settings, {found['trials_per_setting']} trials in each"
    closing = f"`python benchmarks/truth.py`: {size}, {found['windows_per_length']} windows of each length."
    return "\n".join([*_table(("goal", "reached", "met"), rows), "", closing])


_GOALS = {
    "bias": "bias of a burst's energy ≤ 0.3 % in every setting",
    "error": "error ≤ 1 % (95 of 100 bursts) from 100 updates of the meter on",
    "inside": "inside the interval that is stated with it: ≥ 93 %, at any length",
    "coverage": "95 % interval of Greenup holds the truth: ≥ 93.5 % over all, no setting < 91 %",
    "alarms": "two equal variants look different: ≤ 5.5 % over all, no setting > 8 %",
}


def _compressed(entry: dict[str, Any]) -> tuple[str, ...]:
    own, lost = entry["contenders"], entry["loss"]
    cells = [_over(own.get(label)) for label in (*_OTHERS, *_GAINS)]
    chosen = f"**{_over(own['chosen'])}** {', '.join(own['chosen']['variants'])}"
    loss = f"{lost['points']:+.1f}, at most {lost['bound_points']:+.1f} (over {lost['over']})"
    place = f"{entry['set']}, {entry['preset']}, {entry['seeds']}"
    return (place, f"{own['fp32']['latency_s'] * 1e6:.0f}", *cells, chosen, loss)


def _over(own: dict[str, Any] | None, base: str = "fp32") -> str:
    if own is None:
        return "—"
    return own["failed"] if "failed" in own else _ratio(own["over"].get(base))


def _classic_rows(entry: dict[str, Any]) -> list[tuple[str, ...]]:
    own = entry["contenders"]
    if "MiniRocket (aeon)" not in own:
        return []
    return [
        (
            f"{entry['set']}, {entry['preset']}",
            text,
            f"{own[label]['latency_s'] * 1e6:.0f}",
            f"{100 * own[label]['accuracy']['value']:.1f} %",
        )
        for label, text in _CLASSICS.items()
    ]


def _short(entry: dict[str, Any]) -> tuple[str, ...]:
    own = entry["contenders"]
    chosen = own["chosen"]
    accuracies = [f"{100 * own[label]['accuracy']['value']:.1f}" for label in ("fp32", "chosen")]
    return (
        f"{entry['set']}, {entry['preset']}",
        f"{own['fp32']['latency_s'] * 1e6:.0f} µs",
        f"{chosen['latency_s'] * 1e6:.0f} µs",
        *(_over(chosen, base) for base in ("fp32", "PyTorch eager", "Olive int8")),
        f"{' → '.join(accuracies)} %",
    )


def _goals(goals: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            *([f"{goal['set']}, {goal['preset']}"] if "set" in goal else []),
            goal["goal"],
            goal["reached"],
            _MET[goal["met"]],
        )
        for goal in goals
    ]
    head = ("goal", "reached", "met")
    return _table(("set, preset", *head) if goals and "set" in goals[0] else head, rows)


def _paper_greenup(entry: dict[str, Any]) -> str:
    if entry["speedup"] is None:
        return "—"
    return ", ".join(map(_ratio, entry["greenup"])) if entry["greenup"] else "needs a meter"


def _benchmark(found: dict[str, Any], more: str) -> str:
    facts = found["conditions"]
    quick = " A quick run: no figure here means anything." if found["quick"] else ""
    more = f" {more}" if more else ""
    aside = f", which was put aside (nice {facts['nice']})" if facts.get("nice", 0) < 0 else ""
    return (
        f"`{found['command']}`:{more} One thread, batch 1; 95 % intervals in brackets; "
        f"{facts['cpu']}, onnxruntime {facts['onnxruntime']}, "
        f"load {facts['load_at_start']:.1f} on {facts['cores']} cores{aside}.{quick}"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    columns = list(head)
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _row(row: dict[str, Any], chosen: str) -> tuple[str, ...]:
    latency = row["latency_s"]
    return (
        f"**{row['name']}** (chosen)" if row["name"] == chosen else row["name"],
        f"{row['size_bytes'] / 1e6:.2f} MB",
        _accuracy(row["accuracy"]),
        f"{latency['median'] * 1e6:.0f} µs ({latency['low'] * 1e6:.0f} – {latency['high'] * 1e6:.0f})",
        _ratio(row["speedup"]),
        _energy(row["energy_j"]),
        _ratio(row["greenup"]),
        row["verdict"],
    )


def _accuracy(share: dict[str, float]) -> str:
    value, low, high = (100 * share[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} – {high:.1f}, n {share['n']})"


def _ratio(ratio: dict[str, float] | None) -> str:
    return f"{ratio['value']:.2f} ({ratio['low']:.2f} – {ratio['high']:.2f})" if ratio else "—"


def _energy(energy: dict[str, Any] | None) -> str:
    if energy is None:
        return "—"
    mark = " estimated" if energy["estimated"] else " simulated" if energy["simulated"] else ""
    return f"{energy['gross']['value'] * 1e3:.3g} mJ{mark}"


def _conditions(found: dict[str, Any], name: str) -> str:
    facts, data = found["conditions"], found["dataset"]
    meter = facts["meter"].get("source") or "no meter"
    return (
        f"`greenup build-and-push examples/{name}.toml --device local`: {data['name']}, "
        f"split `{data['split_id']}`, {data['train']}/{data['validation']}/{data['test']} training, validation "
        f"and test cases; {facts['cpu']}, {facts['plan']['threads']} thread, onnxruntime {facts['onnxruntime']}, "
        f"{found['rounds']} rounds; 95 % intervals in brackets; energy from {meter}. "
        f"Chosen: {found['chosen']}, {found['chosen_because']}."
    )


# The places that a benchmark's file fills, by the file's name.
MAKERS: dict[str, dict[str, Callable[[dict[str, Any], str], str]]] = {
    "compression": {"compression": compression, "compression-short": compression_short},
    "paper": {"paper": paper},
    "serving": {"serving": serving},
    "truth": {"truth": truth},
}


if __name__ == "__main__":
    main()
