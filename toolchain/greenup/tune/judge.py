"""How much accuracy a candidate loses against the original, on cases that neither has learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from greenup.export import batch_of
from greenup.pipeline import Made
from greenup.result import Judgement
from greenup.stages import MODEL
from greenup.tune.candidates import Shape
from greenup.tune.form_stages import FormStages
from greenup.tune.stages import RIGHT, TuneStages
from greenup_runtime.bundle import BASELINE
from greenup_runtime.engine import Engine

Right = npt.NDArray[np.bool_]
_ONE_SIDED = 0.95
_FEWEST_IN_BUDGET = 2


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


def too_few(drop_points: float, n: int, folds: int) -> str | None:
    """A note where the budget is less than two of the `n` cases that judge, so that one case may decide."""
    cases = drop_points / 100 * n
    if cases >= _FEWEST_IN_BUDGET:
        return None
    more = "more cases would be needed" if folds else "--folds 5 judges on all training cases"
    return f"the budget of {drop_points:g} points is {cases:.1f} of {n} judged cases: single cases decide, {more}"


def on_validation(stages: TuneStages, candidate: Path) -> Judgement:
    """Judge trained weights on the validation part. Both models chose their epoch by it, so it flatters both."""
    y = stages.data().validation.y
    original, other = (stages.labels(folder) == y for folder in (stages.trained(), candidate))
    return paired(original, other, f"{len(y)} validation cases")


def of_form(stages: TuneStages, parent: Made, form: Path, judged: Judgement | None) -> Judgement:
    """Judge a form in `form`/model.onnx of trained weights, whose own loss (None: the original's) was `judged`.

    On validation cases it is compared with the original itself; after a judgement out of fold what it loses on
    validation cases against its parent is added to that.
    """
    held = stages.data().validation
    right, own, first = (
        _labels(path, held.x) == held.y for path in (form, parent.onnx, stages.exported(BASELINE))
    )
    if judged is not None and judged.n != len(held.y):
        return judged.lowered(100 * float(own.mean() - right.mean()), "int8")
    return paired(first, right, f"{len(held.y)} validation cases")


def out_of_fold(stages: FormStages, shape: Shape, folds: int) -> Judgement:
    """Judge a shape on all training cases; trains the original and the shape once per fold."""
    count = len(stages.data().train) + len(stages.data().validation)
    original = _gathered(lambda index: stages.turn_trained(index, folds), folds, count)
    student = _gathered(lambda index: stages.turn_fitted(shape, index, folds), folds, count)
    return paired(original, student, f"{count} out-of-fold cases")


def _gathered(folder: Callable[[int], Path], folds: int, count: int) -> Right:
    right = np.zeros(count, dtype=np.bool_)
    for index in range(folds):
        at, values = np.load(folder(index) / RIGHT, allow_pickle=False)
        right[at] = values.astype(np.bool_)
    return right


def _labels(folder: Path, x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    path = folder / MODEL
    labels: npt.NDArray[np.int64] = Engine(path, batch_of(path)).infer(x).argmax(axis=1)
    return labels
