"""The result on a terminal: two tables that fit 80 columns, then what the figures rest on.

An interval stands below its figure, so that nothing has to be cut on a narrow terminal or in a pipe.
"""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from greenup.report import sentences
from greenup.report.figures import Shown
from greenup.report.rows import Row, Rows, TriedRow, confirmed, rows_of, tried_of
from greenup.result import Result
from greenup_runtime.bundle import BASELINE

CHOSEN_MARK = "▶ "


def print_result(result: Result, console: Console) -> None:
    """Print a result to a console of any width. Colour only repeats what the text says."""
    rows = rows_of(confirmed(result))
    parts: list[Text | Table] = [_title(result), _model_table(rows, measured=result.trial is not None)]
    if result.trial is not None:
        parts.append(_gpsup_table(rows))
    for part in parts:
        console.print(part)
        console.print()
    if result.tried:
        console.print(_tried_table(tried_of(result)))
        console.print()
    console.print(_facts(result))


def _title(result: Result) -> Text:
    return Text.assemble((result.dataset.name, "bold"), " on ", (result.device, "bold"), ", intervals are 95 %")


def _model_table(rows: Rows, measured: bool) -> Table:
    table = _table()
    table.add_column("Variant")
    table.add_column("Size", justify="right")
    table.add_column("Parameters", justify="right")
    table.add_column("Test accuracy\n%", justify="right")
    if measured:
        table.add_column(f"Latency\nmedian, {rows.latency_unit}", justify="right")
        table.add_column(_energy_heading(rows), justify="right")
    for row in rows.rows:
        figures = [row.accuracy, *([row.latency, row.energy] if measured else [])]
        table.add_row(_name(row), Text(row.size), Text(row.parameters), *map(_cell, figures))
    return table


def _gpsup_table(rows: Rows) -> Table:
    table = _table()
    kind = f"\n{rows.energy_kind}" if rows.energy_kind == "simulated" else ""
    table.add_column(f"Against {BASELINE}")
    table.add_column("Speedup", justify="right")
    table.add_column(f"Greenup{kind}", justify="right")
    table.add_column(f"Powerup{kind}", justify="right")
    table.add_column("Verdict")
    for row in rows.rows:
        if row.name != BASELINE:
            figures = [_cell(each) for each in (row.speedup, row.greenup, row.powerup)]
            table.add_row(_name(row), *figures, Text(row.verdict, style=_style(row.verdict)))
    return table


def _tried_table(rows: tuple[TriedRow, ...]) -> Table:
    table = _table()
    table.add_column("Tried", overflow="fold")
    table.add_column("Kind")
    table.add_column("Screened\nµs", justify="right")
    table.add_column("Points lost\n(95 % bound)", justify="right")
    table.add_column("Outcome", overflow="fold")
    for row in (row for row in rows if not row.at_sight):
        table.add_row(row.name, row.kind, row.latency_us, row.lost, row.outcome)
    if at_sight := sum(row.at_sight for row in rows):
        table.caption = (
            f"{at_sight} more were rejected by their time alone, or not needed or tried; the report has them"
        )
        table.caption_justify = "left"
    return table


def _energy_heading(rows: Rows) -> str:
    kind = f", {rows.energy_kind}" if rows.energy_kind else ""
    return f"Energy{kind}\nper inference, {rows.energy_unit}"


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))


def _name(row: Row) -> Text:
    mark = CHOSEN_MARK if row.chosen else " " * len(CHOSEN_MARK)
    return Text(f"{mark}{row.name}", style="bold" if row.chosen else "", overflow="fold")


def _cell(shown: Shown) -> Text:
    return Text.assemble(shown.value, (f"\n{shown.span}" if shown.span else "", "dim"))


def _style(verdict: str) -> str:
    return "green" if ", green:" in verdict else "red" if ", red:" in verdict else ""


def _facts(result: Result) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in _lines(result):
        if text:
            grid.add_row(Text(label, style="dim"), Text(text))
    return grid


def _lines(result: Result) -> list[tuple[str, str]]:
    facts = result.conditions
    started = f", started {facts['started_at']}" if facts.get("started_at") else ""
    measured = f"trial {result.trial}, {result.rounds} rounds{started}" if result.trial else "not measured"
    return [
        ("chosen", f"{CHOSEN_MARK}{result.chosen}: {result.chosen_because}"),
        ("note", "; ".join(result.notes)),
        ("note", sentences.small_set(result)),
        ("note", sentences.no_greenup(result) or sentences.discarded(result)),
        ("at rate", sentences.paced(result)),
        ("data", sentences.data(result)),
        ("device", f"{result.device}, {measured}"),
        ("meter", sentences.meter(result) if result.trial else ""),
        ("overhead", sentences.overhead(result)),
        ("bundle", sentences.bundle(result)),
        ("report", result.report or ""),
    ]
