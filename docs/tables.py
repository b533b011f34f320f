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
from collections.abc import Iterable
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
        make = {"compression": compression, "truth": truth}.get(path.stem, result)
        block = make(found, path.stem)
        for page in PAGES:
            page.write_text(fill(page.read_text(), path.stem, block))


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
    """One line per data set, preset and seed: Speedup over the same `fp32`, and test accuracy in percent."""
    rows = [_compressed(own) for own in _by(found["rows"], ("set", "preset", "seed"))]
    facts = found["conditions"]
    return "\n".join(
        [
            *_table(("set, preset", *_CONTENDERS.values(), "accuracy fp32 → chosen"), rows),
            "",
            "`python benchmarks/compression.py`: Speedup over ONNX Runtime's `fp32`, with its 95 % interval; "
            "one thread, batch 1, all contenders interleaved in one run; "
            f"{facts['cpu']}, onnxruntime {facts['onnxruntime']}.",
        ]
    )


_CONTENDERS = {
    "fp32": "`fp32`, µs",
    "PyTorch eager": "PyTorch eager",
    "ORT default static": "ORT static",
    "ORT dynamic": "ORT dynamic",
    "int8": "int8",
    "pruned": "pruned",
    "pruned-int8": "pruned-int8",
    "chosen": "chosen",
}


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


def _compressed(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    by_name = {row["contender"]: row for row in rows}
    first, chosen = rows[0], by_name["chosen"]
    cells = [f"{by_name['fp32']['latency_s']['value'] * 1e6:.0f}"]
    cells += [_ratio(by_name[name]["speedup"]) if name in by_name else "—" for name in list(_CONTENDERS)[1:-1]]
    cells.append(f"**{_ratio(chosen['speedup'])}** {chosen['variant']}")
    accuracies = [f"{100 * row['test_accuracy']['value']:.1f}" for row in (by_name["fp32"], chosen)]
    cells.append(f"{' → '.join(accuracies)} (n {chosen['test_accuracy']['n']})")
    return (f"{first['set']}, {first['preset']}, seed {first['seed']}", *cells)


def _by(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(groups.values())


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


if __name__ == "__main__":
    main()
