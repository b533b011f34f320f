"""SIGKILL at every call with which the spool changes a file: nothing promised is lost, nothing is there twice."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from crash import spool_steps
from crash.points import Run, killed_runs

from greenup_runtime.spool import Spool

BATCHES = {
    "first": ["ab", "c"],
    "acknowledge": ["a"],
    "drop": ["abcdef", "ghijkl"],
    "migrate": ["a"],
    "damaged": ["a", "b"],
}
OLD = [f"p{number}" for number in range(1, 9)]


def promised(done: Run, word: str) -> set[str]:
    return {each for line in done.stdout.splitlines() if line.startswith(word) for each in line.split()[1:]}


def may_be_gone(scenario: str, done: Run, told: int) -> set[str]:
    """What need not be there any more: dropped and told of, acknowledged (perhaps just now), on the bad page."""
    if scenario == "drop":
        return set([*OLD, *"".join(BATCHES[scenario])][:told])
    if scenario == "acknowledge":
        return set(OLD if promised(done, "gone") else OLD[:3])
    return {"p5"} if scenario == "damaged" else set()


def check(scenario: str, folder: Path, done: Run) -> None:
    with Spool(folder / "spool.sqlite") as spool:
        rows = spool.since(0)
        appended = spool.append([{"id": "after"}])
    numbers = [row["seq"] for row in rows]
    assert numbers == list(range(appended - len(rows), appended))
    found = [str(row["id"]) for row in rows if "kind" not in row]
    assert len(found) == len(set(found))
    told = sum(row["count"] for row in rows if row.get("kind") == "dropped")
    before = set() if scenario == "first" else set(OLD)
    assert (before | promised(done, "kept")) - set(found) <= may_be_gone(scenario, done, told)
    assert not promised(done, "gone") & set(found)
    for batch in BATCHES[scenario]:
        missing = set(batch) - set(found)
        assert missing == set(batch) or missing <= may_be_gone(scenario, done, told), "half of a batch"


def visit(scenario: str, memory: Path, every: int) -> int:
    steps = Path(spool_steps.__file__)
    ready = memory / "ready"
    ready.mkdir()
    spool_steps.BEFORE[scenario](ready / "spool.sqlite")
    visited = 0
    for folder, _, done in killed_runs(
        lambda folder: shutil.copytree(ready, folder, dirs_exist_ok=True),
        lambda folder: [sys.executable, steps, scenario, folder],
        memory,
        every=every,
    ):
        check(scenario, folder, done)
        visited += 1
    return visited


@pytest.mark.parametrize("scenario", sorted(spool_steps.STEPS))
def test_a_killed_spool_keeps_its_promises(scenario: str, memory: Path) -> None:
    assert visit(scenario, memory, every=40) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("scenario", sorted(spool_steps.STEPS))
def test_a_spool_killed_at_any_point_keeps_its_promises(scenario: str, memory: Path) -> None:
    assert visit(scenario, memory, every=1) >= 40
