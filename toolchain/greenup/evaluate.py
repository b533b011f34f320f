"""Accuracy of finished variants, computed with the same engine that serves them on a device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup.data import DataSet, Windows
from greenup.export import batch_of
from greenup.intervals import wilson
from greenup.onnx_facts import facts
from greenup_runtime.engine import Engine

Probabilities = npt.NDArray[np.float32]
GOLDEN_CASES = 16
# Float kernels differ between CPUs in the last digits. Integer kernels agree, but the float nodes around them
# can push a value over a rounding edge, which moves a probability by about one quantization step.
TOLERANCE = {True: 0.05, False: 1e-4}


@dataclass(frozen=True)
class Evaluation:
    """One variant's facts for the manifest, and its probabilities on the golden windows."""

    facts: dict[str, Any]
    golden: Probabilities


def evaluate(
    model: Path, data: DataSet, golden: npt.NDArray[np.float32], torch_labels: npt.NDArray[np.int64]
) -> Evaluation:
    """Run a variant over the validation and test cases.

    `torch_labels` [cases] are the labels that the PyTorch model of the same structure gives on validation data;
    `agreement` is the share of them that the variant gives too.
    """
    engine = Engine(model, batch_of(model))
    validation = engine.infer(data.validation.x)
    described = facts(model)
    return Evaluation(
        facts={
            "size_bytes": described.size_bytes,
            "parameters": described.parameters,
            "macs": described.macs,
            "int8_share": described.int8_share,
            "opset": described.opset,
            "shapes": {name: list(shape) for name, shape in described.shapes.items()},
            "accuracy": {
                "validation": _accuracy(validation, data.validation),
                "test": _accuracy(engine.infer(data.test.x), data.test),
            },
            "agreement": float((validation.argmax(axis=1) == torch_labels).mean()),
            "tolerance": TOLERANCE[described.int8_share > 0],
        },
        golden=engine.infer(golden),
    )


def golden_windows(data: DataSet) -> npt.NDArray[np.float32]:
    """Up to 16 windows [cases, channels, length], spread evenly over the validation cases."""
    count = min(GOLDEN_CASES, len(data.validation.x))
    picked = np.linspace(0, len(data.validation.x) - 1, count).round().astype(int)
    return np.ascontiguousarray(data.validation.x[picked])


def _accuracy(probabilities: Probabilities, windows: Windows) -> dict[str, float]:
    right = int((probabilities.argmax(axis=1) == windows.y).sum())
    return asdict(wilson(right, len(windows.y)))
