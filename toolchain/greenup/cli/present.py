"""Print a result: the table on stdout for people, the JSON object for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from greenup.cli.options import print_json
from greenup.result import Result

if TYPE_CHECKING:
    from greenup.tune import Tuned


def tuned(found: Tuned, as_json: bool) -> None:
    """Print what a search found: the result, then what was tried."""
    if as_json:
        print_json(found.to_json())
        return
    from greenup.report.tried import print_tried

    result(found.result, as_json=False)
    print_tried(found, Console())


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
