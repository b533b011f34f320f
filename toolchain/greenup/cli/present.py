"""Print a result: the table on stdout for people, the JSON object for programs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from greenup.cli.options import print_json
from greenup.result import Result


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
