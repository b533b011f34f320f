"""Put the tables of real runs into README.md and docs/results.md.

    python docs/tables.py greenup-out/acsf1 greenup-out/plaid …

Each argument is a results folder of `greenup build-and-push`; its `result.json` fills the place marked
`<!-- table:NAME -->` … `<!-- /table -->`, where NAME is the folder's name.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs/results.md"]
HEAD = (
    "| variant | size | test accuracy | latency | Speedup | energy per inference | Greenup | verdict |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> None:
    """Fill every place whose folder was named."""
    for name in sys.argv[1:]:
        folder = Path(name)
        block = table(json.loads((folder / "result.json").read_text()), folder.name)
        for page in PAGES:
            page.write_text(fill(page.read_text(), folder.name, block))


def fill(text: str, name: str, block: str) -> str:
    """The page with one place filled anew."""
    place = re.compile(rf"(<!-- table:{re.escape(name)} -->\n).*?(<!-- /table -->)", re.DOTALL)
    return place.sub(lambda found: f"{found[1]}{block}\n{found[2]}", text)


def table(result: dict[str, Any], name: str) -> str:
    """One result as a Markdown table, with its conditions below."""
    rows = [_row(row, result["chosen"]) for row in result["variants"]]
    return "\n".join([HEAD, *rows, "", _conditions(result, name)])


def _row(row: dict[str, Any], chosen: str) -> str:
    name = f"**{row['name']}** (chosen)" if row["name"] == chosen else row["name"]
    latency, energy = row["latency_s"], row["energy_j"]
    cells = (
        name,
        f"{row['size_bytes'] / 1e6:.2f} MB",
        _accuracy(row["accuracy"]),
        f"{latency['median'] * 1e6:.0f} µs ({latency['low'] * 1e6:.0f} – {latency['high'] * 1e6:.0f})",
        _ratio(row["speedup"]),
        _energy(energy),
        _ratio(row["greenup"]),
        row["verdict"],
    )
    return f"| {' | '.join(cells)} |"


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


def _conditions(result: dict[str, Any], name: str) -> str:
    facts, data = result["conditions"], result["dataset"]
    meter = facts["meter"].get("source") or "no meter"
    return (
        f"`greenup build-and-push examples/{name}.toml --device local`: {data['name']}, "
        f"split `{data['split_id']}`, {data['train']}/{data['validation']}/{data['test']} training, validation "
        f"and test cases; {facts['cpu']}, {facts['plan']['threads']} thread, onnxruntime {facts['onnxruntime']}, "
        f"{result['rounds']} rounds; 95 % intervals in brackets; energy from {meter}. "
        f"Chosen: {result['chosen']}, {result['chosen_because']}."
    )


if __name__ == "__main__":
    main()
