"""Kill a command at every call that changes a file: see README.md beside this file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

SOURCE = Path(__file__).with_name("killer.c")
Command = Sequence[str | Path]


@dataclass(frozen=True)
class Point:
    """One call that changes a file below the watched folder; `path` is relative to it."""

    number: int
    call: str
    path: str

    def __str__(self) -> str:
        return f"{self.number}-{self.call}-{self.path or '.'}"


@dataclass(frozen=True)
class Run:
    """How a watched run ended, and what it had said until then."""

    killed: bool
    exit_code: int
    stdout: str
    stderr: str
    points: tuple[Point, ...]


@cache
def killer() -> Path:
    """The compiled shim. Skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: the crash tests' shim cannot be built")
    library = Path(mkdtemp(prefix="greenup-crash-")) / "killer.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def run(
    command: Command,
    folder: Path,
    at: int = 0,
    *,
    half: bool = False,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Run:
    """Run a command while the folder is watched, and kill it at a point's number; 0 lets it run to its end.

    `half` kills after half of a write (or after the whole of another call) instead of before it. The command must
    be the process itself: its children are not watched.
    """
    log = Path(mkdtemp(prefix="greenup-crash-")) / "points"
    watched = {
        "LD_PRELOAD": str(killer()),
        "CRASH_FOLDER": str(folder.resolve()),
        "CRASH_LOG": str(log),
        "CRASH_AT": str(at),
        "CRASH_HALF": str(int(half)),
    }
    environment = {**os.environ, **(env or {}), **watched}
    done = subprocess.run(
        [str(part) for part in command], env=environment, input=stdin, capture_output=True, check=False
    )
    points = tuple(_points(log))
    shutil.rmtree(log.parent)
    killed = done.returncode == -signal.SIGKILL
    return Run(killed, done.returncode, done.stdout.decode(), done.stderr.decode(), points)


def enumerate_points(
    command: Command, folder: Path, *, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> list[Point]:
    """Every point of a command that runs to its end, which it must do with exit code 0."""
    done = run(command, folder, env=env, stdin=stdin)
    assert done.exit_code == 0, done.stderr
    return list(done.points)


def killed_runs(
    prepare: Callable[[Path], None],
    command: Callable[[Path], Command],
    base: Path,
    *,
    every: int = 1,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Iterator[tuple[Path, Point, Run]]:
    """For each point of a command: a fresh folder below `base`, made by `prepare`, where a run was killed.

    Each point is visited before the call and in its middle. `every` thins: with 3, every third point, and always
    the first and the last.
    """
    whole = _fresh(base, "whole", prepare)
    points = enumerate_points(command(whole), whole, env=env, stdin=stdin)
    assert points, "the command changed no file"
    for point in [*points[:-1:every], points[-1]]:
        for half in (False, True):
            folder = _fresh(base, f"{point.number}-{int(half)}", prepare)
            done = run(command(folder), folder, point.number, half=half, env=env, stdin=stdin)
            assert done.killed, f"point {point} was not reached: {done.stderr}"
            yield folder, point, done
            shutil.rmtree(folder)


def _fresh(base: Path, name: str, prepare: Callable[[Path], None]) -> Path:
    folder = base / name
    folder.mkdir(parents=True)
    prepare(folder)
    return folder


def _points(log: Path) -> Iterator[Point]:
    for line in log.read_text().splitlines() if log.exists() else []:
        number, call, *path = line.split(" ", 2)
        yield Point(int(number), call, path[0].lstrip("/") if path else "")
