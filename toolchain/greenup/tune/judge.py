"""How much accuracy a candidate loses against the original, on cases that neither has learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from greenup.result import Judgement
from greenup.tune.stages import RIGHT, TuneStages
from greenup.tune.structures import Structure

Right = npt.NDArray[np.bool_]
_ONE_SIDED = 0.95


def paired(original: Right, candidate: Right, on: str) -> Judgement:
    """Compare two models case by case; both arrays are [cases], in the same order.

    The bound is Student's t on the paired differences; the test is McNemar's (Psychometrika 12, 1947), exact.
    """
    differences = original.astype(np.float64) - candidate.astype(np.float64)
    n = len(differences)
    spread = float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    mean = float(differences.mean())
    upper = mean + float(stats.t.ppf(_ONE_SIDED, max(1, n - 1))) * spread
    lost, won = int((differences > 0).sum()), int((differences < 0).sum())
    p = float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    return Judgement(100 * mean, 100 * upper, n, on, p)


def on_validation(stages: TuneStages, candidate: Path) -> Judgement:
    """Judge trained weights on the validation part. Both models chose their epoch by it, so it flatters both."""
    y = stages.data().validation.y
    original, other = (stages.labels(folder) == y for folder in (stages.trained(), candidate))
    return paired(original, other, f"{len(y)} validation cases")


def out_of_fold(stages: TuneStages, structure: Structure, folds: int) -> Judgement:
    """Judge a structure on all training cases; trains the original and the student once per fold."""
    count = len(stages.data().train) + len(stages.data().validation)
    original = _gathered(lambda index: stages.turn_trained(index, folds), folds, count)
    student = _gathered(lambda index: stages.turn_distilled(structure, index, folds), folds, count)
    return paired(original, student, f"{count} out-of-fold cases")


def _gathered(folder: Callable[[int], Path], folds: int, count: int) -> Right:
    right = np.zeros(count, dtype=np.bool_)
    for index in range(folds):
        at, values = np.load(folder(index) / RIGHT, allow_pickle=False)
        right[at] = values.astype(np.bool_)
    return right
