"""Print a result: the table on stdout for people, the JSON object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from greenup.cli.options import print_json
from greenup.result import Result

if TYPE_CHECKING:
    from greenup.across import Row


def result(outcome: Result, as_json: bool) -> None:
    """Print a result, and the line that opens its report."""
    if as_json:
        print_json(outcome.to_json())
        return
    from greenup.report.terminal import print_result

    console = Console()
    print_result(outcome, console)
    if outcome.report:
        console.print(f"open the report: {Path(outcome.report).as_uri()}", soft_wrap=True, highlight=False)


def comparisons(tables: Mapping[str, Sequence[Row]], as_json: bool) -> None:
    """Print variants of several trials against one or more baselines."""
    from greenup.across import to_json

    if as_json:
        found = {name: to_json(rows) for name, rows in tables.items()}
        print_json({"schema": "greenup.comparison/1", "baselines": found})
        return
    from greenup.report.comparison import print_comparisons

    print_comparisons(tables, Console())
