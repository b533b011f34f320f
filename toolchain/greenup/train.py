"""Training that can be killed and resumed at any point and ends with the same bits as if it had not been.

All randomness of an epoch follows from (seed, epoch), so a checkpoint needs no generator states: weights, the
optimizer's moments and the number of finished epochs are all there is. The best epoch is chosen on validation
data: highest accuracy, then lowest loss. Epoch 0 is the state before the first step, so fine-tuning never
returns something worse (on validation data) than what it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from greenup import checkpoint
from greenup.distill import Teacher
from greenup.epochs import PREDICT_BATCH, Cases, Epoch, Run, logits_of
from greenup.model import Classifier, ModelConfig
from greenup.recipe import TrainSpec
from greenup.reproducible import reproducible
from greenup.weights import State
from greenup_runtime.errors import DataFault

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class TrainResult:
    """The best epoch's weights, and how it came to them; `notes` say what was unusual."""

    state: State
    best_epoch: int
    history: tuple[Epoch, ...]
    validation_accuracy: float
    notes: tuple[str, ...] = ()


def train(
    config: ModelConfig,
    spec: TrainSpec,
    train: Cases,
    validation: Cases,
    *,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    initial_state: State | None = None,
    teacher: Teacher | None = None,
) -> TrainResult:
    """Train a model, or train one on from `initial_state`; checkpoints go to `folder` after each epoch.

    With a `teacher` it learns from its probabilities too. Called again with the same arguments after a kill, it
    resumes; on one machine the same arguments give the same bits. Raises DataFault for an empty split,
    GreenupError where the loss is no longer a number.
    """
    _check_split(train, validation)
    path = folder / "checkpoint.pt"
    report = progress or (lambda done, total, message: None)
    with reproducible(spec.threads):
        run = Run(config, spec, train, validation, seed, initial_state, teacher)
        found, note = checkpoint.load(path, run.key)
        if note:
            report(0, spec.epochs, note)
        run.start(found)
        while not run.finished:
            run.epoch()
            checkpoint.save(path, run.key, run.snapshot())
            report(run.done, spec.epochs, run.message())
        report(spec.epochs, spec.epochs, run.message())
    accuracy = run.history[run.best_epoch].validation_accuracy
    return TrainResult(run.best, run.best_epoch, tuple(run.history), accuracy, (note,) if note else ())


def predict(
    config: ModelConfig, state: State, x: npt.NDArray[np.float32], batch: int = PREDICT_BATCH
) -> npt.NDArray[np.float32]:
    """Probabilities [n, classes] of raw windows x [n, c, l], by PyTorch."""
    model = Classifier(config)
    model.load_state_dict(state)
    logits = logits_of(model, torch.from_numpy(x), batch)
    return torch.softmax(logits, dim=-1).numpy()


def _check_split(train: Cases, validation: Cases) -> None:
    for name, cases in (("training", train), ("validation", validation)):
        if not len(cases.y):
            raise DataFault(f"the {name} split has no cases", "give more data, or change data.validation")
