"""Variants of several trials, or against other baselines, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greenup.across import Row
from greenup.report.figures import Shown, common_unit, ratio, show

ACROSS = (
    "Between trials nothing pairs the rounds, and what shifts one meter (shunt, gain) does not cancel: "
    "the intervals do not hold it."
)


def print_comparisons(tables: Mapping[str, Sequence[Row]], console: Console) -> None:
    """One table per baseline; figures with their 95 % intervals below them."""
    for baseline, rows in tables.items():
        console.print(_table(baseline, rows))
        console.print()
    if any(len({row.trial for row in rows}) > 1 for rows in tables.values()):
        console.print(Text(ACROSS, style="dim"))


def _table(baseline: str, rows: Sequence[Row]) -> Table:
    energies = [row.comparison.energy for row in rows if row.comparison.energy]
    unit = common_unit("J", (each.gross.value for each in energies))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column(f"Against {baseline}\nof {rows[0].trial[:8]}")
    for heading in (f"Energy\n{unit.name}", "Speedup", "Greenup", "Powerup"):
        table.add_column(heading, justify="right")
    table.add_column("Verdict")
    for row in rows:
        found = row.comparison
        figures = [
            show(found.energy.gross if found.energy else None, unit),
            *(ratio(each) for each in (found.speedup, found.greenup, found.powerup)),
        ]
        name = Text.assemble(row.variant, (f"\n{row.trial[:8]}", "dim"))
        table.add_row(name, *map(_cell, figures), Text(found.verdict))
    return table


def _cell(shown: Shown) -> Text:
    return Text.assemble(shown.value, (f"\n{shown.span}" if shown.span else "", "dim"))
