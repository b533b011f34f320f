"""Out-of-fold predictions: every training case is judged by a model that has never seen it.

A validation part of 75 cases refuses a truly equal candidate under a budget of half a point in two cases out of
five. Judging on all training cases, fold by fold, makes that figure several times sharper. In each turn one fold
is judged, the next one chooses the epoch, the others are learnt from:

    turn 0   judged   chooses  learnt   learnt   learnt
    turn 1   learnt   judged   chooses  learnt   learnt     …
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenup.data import DataSet, Windows

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Turn:
    """One turn's parts; `judged_at` are the places of the judged cases among all training cases."""

    learnt: Windows
    choosing: Windows
    judged: Windows
    judged_at: Indices


def everything(data: DataSet) -> Windows:
    """All cases that are not test: training and validation."""
    parts = (data.train, data.validation)
    return Windows(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.unit for part in parts]),
    )


def turn(data: DataSet, index: int, folds: int, seed: int) -> Turn:
    """The parts of one turn; the same for the same data, number of folds and seed."""
    cases = everything(data)
    fold = divide(cases, folds, seed)
    judged, choosing = fold == index, fold == (index + 1) % folds
    return Turn(
        learnt=_taken(cases, ~(judged | choosing)),
        choosing=_taken(cases, choosing),
        judged=_taken(cases, judged),
        judged_at=np.flatnonzero(judged),
    )


def divide(cases: Windows, folds: int, seed: int) -> Indices:
    """The fold of each case [n]. Cases of one unit (a recording, a household) stay together.

    Units are dealt out class by class in random order, so each fold has its share of every class.
    """
    names, of_case = np.unique(cases.unit, return_inverse=True)
    classes = np.array([np.bincount(cases.y[of_case == unit]).argmax() for unit in range(len(names))])
    order = np.random.default_rng(seed).permutation(len(names))
    dealt = order[np.argsort(classes[order], kind="stable")]
    fold = np.empty(len(names), dtype=np.int64)
    fold[dealt] = np.arange(len(names)) % folds
    answer: Indices = fold[of_case]
    return answer


def _taken(cases: Windows, chosen: npt.NDArray[np.bool_]) -> Windows:
    return Windows(cases.x[chosen], cases.y[chosen], cases.unit[chosen])
