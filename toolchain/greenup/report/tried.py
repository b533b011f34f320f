"""What a search tried, as a table on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from greenup.report.figures import NONE

if TYPE_CHECKING:
    from greenup.tune import Tuned


def print_tried(found: Tuned, console: Console) -> None:
    """Print every candidate with its time, what it loses, and how far it came; then the search's notes."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("Tried")
    table.add_column("Untrained, on\nthe device, µs", justify="right")
    table.add_column("Points lost\n(95 % bound)", justify="right")
    table.add_column("Outcome", overflow="fold")
    for row in found.tried:
        table.add_row(row["name"], f"{row['screen_latency_s'] * 1e6:.0f}", lost(row["judgement"]), row["outcome"])
    console.print(table)
    for note in found.notes:
        console.print(f"note  {note}", highlight=False, soft_wrap=True)


def lost(judgement: dict[str, Any] | None) -> str:
    """Points of accuracy lost and their one-sided bound, as text."""
    if judgement is None:
        return NONE
    return f"{judgement['drop_points']:.1f} (≤ {judgement['upper_points']:.1f})"
