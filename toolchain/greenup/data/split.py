"""Divide recordings into training, validation and test, by seed, so that nothing of one side is on another.

`stratified` keeps the share of every class; `group` keeps every group (a household, a device) on one side, and
among 64 random divisions takes the one that comes nearest to the shares of the classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenup.data.recordings import Recording, listed
from greenup.recipe import DataSpec
from greenup_runtime.errors import DataFault

Indices = npt.NDArray[np.int64]
_TRIES = 64


@dataclass(frozen=True)
class Parts:
    """Indices of recordings, each part rising. `test` counts in the test files where the data has such."""

    train: Indices
    validation: Indices
    test: Indices


def divide(recordings: Sequence[Recording], spec: DataSpec, seed: int, own_test: int | None) -> Parts:
    """The three parts; `own_test` is the number of test recordings that come with the data, None without any.

    `validation` is a share of what is not test. Raises DataFault where a class or the groups are too few.
    """
    labels = np.array([recording.label for recording in recordings])
    groups = _groups(recordings, spec) if spec.split == "group" else None
    _check_counts(labels, groups, parts=2 if own_test is not None else 3)
    generator = np.random.default_rng(seed)
    every = np.arange(len(labels))
    if own_test is not None:
        rest, test = every, np.arange(own_test)
    else:
        rest, test = _take(every, labels, groups, spec.test, generator, keep=2)
    train, validation = _take(rest, labels, groups, spec.validation, generator, keep=1)
    return Parts(train, validation, test)


def _groups(recordings: Sequence[Recording], spec: DataSpec) -> npt.NDArray[np.str_]:
    if nameless := [recording.origin for recording in recordings if not recording.group]:
        raise DataFault(
            f'split = "group": {len(nameless)} recordings have no {spec.group}, the first is {nameless[0]}',
            'fill it in, or use split = "stratified"; .ts files hold no groups',
        )
    return np.array([recording.group for recording in recordings])


def _check_counts(labels: npt.NDArray[np.str_], groups: npt.NDArray[np.str_] | None, parts: int) -> None:
    sides = "training, validation and test" if parts == 3 else "training and validation"
    if groups is not None:
        if len(names := np.unique(groups)) < parts:
            raise DataFault(
                f'split = "group" needs {parts} groups or more for {sides}, '
                f"there are {len(names)}: {listed(names)}",
                'record more of them, or use split = "stratified"',
            )
        return
    few = [f"{label!r} has {count}" for label, count in Counter(labels.tolist()).items() if count < parts]
    if few:
        raise DataFault(
            f"every class needs {parts} recordings or more for {sides}: class {listed(few)}",
            "add recordings of it, cut one long file into several, or leave the class out",
        )


def _take(
    among: Indices,
    labels: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_] | None,
    share: float,
    generator: np.random.Generator,
    keep: int,
) -> tuple[Indices, Indices]:
    """What stays and what is taken; at least `keep` recordings of a class, or groups, stay."""
    if groups is None:
        taken = _stratified(labels[among], share, generator, keep)
    else:
        taken = _grouped(labels[among], groups[among], share, generator, keep)
    return among[~taken], among[taken]


def _stratified(
    labels: npt.NDArray[np.str_], share: float, generator: np.random.Generator, keep: int
) -> npt.NDArray[np.bool_]:
    taken = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        cases = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(round(share * len(cases)), 1), len(cases) - keep)
        taken[cases[:count]] = True
    return taken


def _grouped(
    labels: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_],
    share: float,
    generator: np.random.Generator,
    keep: int,
) -> npt.NDArray[np.bool_]:
    classes, label_codes = np.unique(labels, return_inverse=True)
    names, group_codes = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_codes, label_codes), 1)
    divisions = [_some_groups(counts, share, generator, keep) for _ in range(_TRIES)]
    best = min(divisions, key=lambda chosen: _distance(counts, chosen, share))
    lost = classes[counts[~best].sum(axis=0) == 0]
    if lost.size:
        raise DataFault(
            f"in none of {_TRIES} divisions by group a training case is left of class {listed(lost)}",
            "a class needs groups enough for every part; record it in more of them",
        )
    chosen: npt.NDArray[np.bool_] = best[group_codes]
    return chosen


def _some_groups(
    counts: npt.NDArray[np.float64], share: float, generator: np.random.Generator, keep: int
) -> npt.NDArray[np.bool_]:
    """Random groups until the share of all cases is reached."""
    order = generator.permutation(len(counts))
    reached = np.cumsum(counts[order].sum(axis=1)) >= share * counts.sum()
    needed = int(np.argmax(reached)) + 1
    chosen = np.zeros(len(counts), dtype=np.bool_)
    chosen[order[: min(needed, len(counts) - keep)]] = True
    return chosen


def _distance(counts: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_], share: float) -> float:
    """How far the chosen groups are from the share of every class; a class with nothing left weighs most."""
    totals = counts.sum(axis=0)
    lost = np.count_nonzero(counts[~chosen].sum(axis=0) == 0)
    return float(np.abs(counts[chosen].sum(axis=0) / totals - share).mean() + 10.0 * lost)
