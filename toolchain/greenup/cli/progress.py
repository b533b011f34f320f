"""Progress on stderr: bars on a terminal, a line per stage elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from greenup.loop import Progress as Report


@contextmanager
def shown(quiet: bool) -> Iterator[Report]:
    """A function (stage, done, total, message) that shows how far the work is."""
    console = Console(stderr=True)
    if quiet:
        yield lambda *_: None
    elif console.is_terminal:
        with _Bars(console) as bars:
            yield bars.report
    else:
        yield _Lines(console).report


class _Bars:
    """One bar per stage."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
        )
        self._progress = Progress(*columns, console=console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, stage: str, done: int, total: int, message: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, message=message)
        self._progress.update(self._tasks[stage], completed=done, total=total, message=message)


class _Lines:
    """A line when a stage begins and when it ends; what lies between would flood a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}

    def report(self, stage: str, done: int, total: int, message: str) -> None:
        if stage not in self._said or done >= total:
            state = message or ("done" if done >= total else "…")
            if self._said.get(stage) in {state, "done"} and state in {"done", "cached"}:
                return  # several stages ask for what they share; it is told once
            self._said[stage] = state
            self._console.print(f"{stage}: {state}", highlight=False, markup=False, soft_wrap=True)
