"""What int8 costs and brings at each node, and a fall-back to float, node by node, until the accuracy holds.

After Neural Compressor's accuracy-aware tuning. Accuracy moves in steps of one case, so nodes are ranked by how
far they push the logits; the figure that must hold is the accuracy.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from greenup.export import batch_of
from greenup.onnx_facts import weight_names
from greenup.quantize.calibration import Float32, Labels, check
from greenup.quantize.static import Calibrated
from greenup.recipe import QuantizeSpec
from greenup_runtime.engine import Engine
from greenup_runtime.errors import DataFault

_ROUNDS = 15
_CALLS = 20


@dataclass(frozen=True)
class NodeRow:
    """One node alone in int8: `weights` names its matrix.

    `logit_error` is the root mean square change of the centred logits, as a share of their own; `lost_points` are
    percentage points of accuracy; `won_s` is time saved per window on this machine, None where not measured.
    """

    node: str
    weights: str
    logit_error: float
    lost_points: float
    won_s: float | None


@dataclass(frozen=True)
class LadderResult:
    """What stayed in int8, what fell back to float and why, and accuracy of both, as shares."""

    int8: tuple[str, ...]
    left_float: tuple[tuple[str, str], ...]
    accuracy: float
    float_accuracy: float


def sensitivity(
    source: Path,
    windows: Float32,
    labels: Labels,
    calibration: Float32,
    spec: QuantizeSpec,
    *,
    timed: bool = True,
    **scheme: Any,
) -> list[NodeRow]:
    """One row per candidate node, the least harmful first.

    Windows [n, c, l] with labels [n] judge; `scheme` is as in `quantize`. Raises DataFault where they cannot.
    """
    _check(windows, labels, calibration)
    with Calibrated(source, calibration, spec) as calibrated:
        return _rows(calibrated, source, windows, labels, timed, scheme)


def ladder(
    source: Path,
    target: Path,
    windows: Float32,
    labels: Labels,
    calibration: Float32,
    spec: QuantizeSpec,
    *,
    budget_points: float,
    nodes: Sequence[str] | None = None,
    **scheme: Any,
) -> LadderResult:
    """Write the int8 form that loses at most `budget_points` of accuracy on windows [n, c, l] with labels [n].

    All candidates (or the `nodes` of them) are tried in int8; while too much is lost, the most harmful of those
    left falls back to float, so the least harmful are kept. If not even one can stay, the float file is copied and
    `int8` is empty.
    """
    _check(windows, labels, calibration)
    engine = Engine(source, batch_of(source))
    whole = _accuracy(engine.infer(windows), labels)
    floor = whole - budget_points / 100
    with Calibrated(source, calibration, spec) as calibrated:
        rows: list[NodeRow] | None = None
        kept = list(calibrated.candidates if nodes is None else nodes)
        left: list[tuple[str, str]] = []
        while kept:
            calibrated.write(target, kept, **scheme)
            accuracy = _accuracy(Engine(target, batch_of(target)).infer(windows), labels)
            if accuracy >= floor:
                return LadderResult(tuple(kept), tuple(left), accuracy, whole)
            if rows is None:
                rows = _rows(calibrated, source, windows, labels, False, scheme)
                kept = [row.node for row in rows if row.node in kept]
            worst = next(row for row in rows if row.node == kept[-1])
            left.append((kept.pop(), _why(worst, accuracy, whole)))
    shutil.copyfile(source, target)
    return LadderResult((), tuple(left), whole, whole)


def _why(row: NodeRow, accuracy: float, whole: float) -> str:
    return (
        f"{row.weights}: alone it moves logits by {row.logit_error:.1%}; with it accuracy was {accuracy:.1%}"
        f" against {whole:.1%} in float"
    )


def _rows(
    calibrated: Calibrated,
    source: Path,
    windows: Float32,
    labels: Labels,
    timed: bool,
    scheme: dict[str, Any],
) -> list[NodeRow]:
    batch, names = batch_of(source), weight_names(source)
    reference = Engine(source, batch)
    expected = reference.infer(windows)
    logits, rows = _logits(expected), []
    with tempfile.TemporaryDirectory(prefix="greenup-ladder-") as folder:
        for node in calibrated.candidates:
            path = Path(folder) / "one.onnx"
            calibrated.write(path, [node], **scheme)
            engine = Engine(path, batch)
            found = engine.infer(windows)
            error = np.sqrt(np.square(_logits(found) - logits).mean() / max(np.square(logits).mean(), 1e-12))
            lost = 100 * (_accuracy(expected, labels) - _accuracy(found, labels))
            won = _won_s(reference, engine, windows[:1]) if timed else None
            rows.append(NodeRow(node, names[node], float(error), lost, won))
    return sorted(rows, key=lambda row: row.logit_error)


def _won_s(float_engine: Engine, int8_engine: Engine, window: Float32) -> float:
    """Seconds per window that int8 saves: median difference of interleaved bursts."""
    differences = []
    for _ in range(_ROUNDS):
        seconds = []
        for engine in (float_engine, int8_engine):
            start = time.perf_counter()
            for _ in range(_CALLS):
                engine.infer_one(window)
            seconds.append((time.perf_counter() - start) / _CALLS)
        differences.append(seconds[0] - seconds[1])
    return float(np.median(differences))


def _logits(probabilities: Float32) -> Float32:
    """Centred logits [n, k]; softmax loses only their mean."""
    logs = np.log(np.maximum(probabilities, np.float32(1e-9)))
    centred: Float32 = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _accuracy(probabilities: Float32, labels: Labels) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _check(windows: Float32, labels: Labels, calibration: Float32) -> None:
    check(calibration)
    if not len(windows) or len(windows) != len(labels):
        raise DataFault(
            f"{len(windows)} windows and {len(labels)} labels cannot judge an int8 model",
            "give one label per window",
        )
