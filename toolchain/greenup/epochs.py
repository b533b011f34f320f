"""One training as it moves from epoch to epoch: rate, loss, what is the best so far, what a checkpoint holds."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from greenup.augment import augment
from greenup.distill import Teacher
from greenup.model import Classifier, ModelConfig
from greenup.recipe import TrainSpec
from greenup.weights import State
from greenup_runtime.errors import GreenupError

PREDICT_BATCH = 256
_PRIMING_WINDOWS = 64
_WARMUP_SHARE = 0.05
_NOT_DECAYED = ("embed.cls", "embed.positions", "embed.patches.filters")
_LARGEST_GRADIENT = 1.0
_USUAL_CHANGES = ("crop", "scale", "mask", "jitter")


class Cases(Protocol):
    """Raw windows x [n, c, l], float32, and their classes y [n], int64."""

    @property
    def x(self) -> npt.NDArray[np.float32]:
        """Raw windows [n, c, l]."""

    @property
    def y(self) -> npt.NDArray[np.int64]:
        """Their classes [n]."""


@dataclass(frozen=True)
class Epoch:
    """One line of the history; `train_loss` is NaN for epoch 0, which trains nothing."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float


class Run:
    """One training: what is fixed, and what moves from epoch to epoch."""

    def __init__(
        self,
        config: ModelConfig,
        spec: TrainSpec,
        train: Cases,
        validation: Cases,
        seed: int,
        initial_state: State | None,
        teacher: Teacher | None = None,
    ) -> None:
        self.spec, self.seed, self.teacher = spec, seed, teacher
        self.changes = _changes(spec.augment)
        self.x, self.y = torch.from_numpy(train.x), torch.from_numpy(train.y)
        self.held_x, self.held_y = torch.from_numpy(validation.x), torch.from_numpy(validation.y)
        self.class_weights = _class_weights(self.y, config.classes) if spec.balance == "loss" else None
        torch.manual_seed(_derived_seed(seed, "weights"))
        self.model = Classifier(config)
        if initial_state is not None:
            self.model.load_state_dict(initial_state)
        else:
            self.model.embed.prime(self.x[torch.randperm(len(self.x))[:_PRIMING_WINDOWS]])
        self.averaged = copy.deepcopy(self.model).requires_grad_(False) if spec.average else None
        self.optimizer = _optimizer(self.model, spec)
        settings = {"config": config.to_json(), "spec": spec.model_dump(mode="json"), "seed": seed}
        settings["teacher"] = teacher.digest() if teacher else None
        self.key = _run_key(settings, self.model, [self.x, self.y, self.held_x, self.held_y])
        self.steps = 0
        self.history: list[Epoch] = []
        self.best: State = {}
        self.best_epoch = 0

    @property
    def done(self) -> int:
        """Finished epochs."""
        return len(self.history) - 1

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or the last `patience` of them brought nothing."""
        tired = self.spec.choose == "best" and self.done - self.best_epoch >= self.spec.patience
        return self.done >= self.spec.epochs or tired

    def start(self, found: dict[str, Any] | None) -> None:
        """Continue from a checkpoint's progress, or begin by judging the initial weights."""
        if found is None:
            self._judge(math.nan)
            return
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(found["averaged"])
        self.best, self.best_epoch = found["best"], found["best_epoch"]
        self.history = [Epoch(**line) for line in found["history"]]
        self.steps = self.done * -(-len(self.x) // self.spec.batch)

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": [asdict(line) for line in self.history],
        }

    def epoch(self) -> None:
        """One pass over the training windows, then a look at the validation windows."""
        generator = torch.Generator().manual_seed(_derived_seed(self.seed, self.done))
        torch.manual_seed(_derived_seed(self.seed, f"dropout {self.done}"))
        self.model.train()
        order = torch.randperm(len(self.x), generator=generator)
        # Of equal size: a batch of one left over would have no spread to normalise by.
        batches = torch.tensor_split(order, -(-len(order) // self.spec.batch))
        total = 0.0
        for index, rows in enumerate(batches):
            self._set_rate((self.done * len(batches) + index) / (self.spec.epochs * len(batches)))
            x = augment(self.x[rows], generator, self.changes)
            total += self._step(x, self.y[rows]) * len(rows)
        self._judge(total / len(self.x))

    def message(self) -> str:
        """How it stands, for people."""
        last, best = self.history[-1], self.history[self.best_epoch]
        return (
            f"validation {last.validation_accuracy:.1%}, best {best.validation_accuracy:.1%}"
            f" in epoch {self.best_epoch}"
        )

    def _set_rate(self, at: float) -> None:
        """Linear warm-up, then half a cosine down to zero; `at` is the share of all steps that is done."""
        warm = min(1.0, (at + 1e-3) / _WARMUP_SHARE)
        for group in self.optimizer.param_groups:
            group["lr"] = self.spec.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * at))

    def _step(self, x: Tensor, y: Tensor) -> float:
        logits = self.model(x)
        loss = F.cross_entropy(logits, y, weight=self.class_weights, label_smoothing=self.spec.label_smoothing)
        if self.teacher is not None:
            loss = self.teacher.blend(loss, logits, x)
        if not torch.isfinite(loss):
            raise GreenupError(
                f"training diverged in epoch {self.done + 1}: the loss is {loss.item()}",
                f"lower train.learning_rate (it is {self.spec.learning_rate:g}), and look for extreme values",
            )
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        self._average()
        return loss.item()

    def _average(self) -> None:
        """Move the averaged weights a step towards the trained ones, early on in longer steps."""
        if self.averaged is None:
            return
        self.steps += 1
        share = max(1 - self.spec.average, 1 / (1 + self.steps / 10))
        for mean, value in zip(self.averaged.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    def _judge(self, train_loss: float) -> None:
        judged = self.averaged or self.model
        logits = logits_of(judged, self.held_x, PREDICT_BATCH)
        loss = F.cross_entropy(logits, self.held_y).item()
        accuracy = (logits.argmax(dim=1) == self.held_y).float().mean().item()
        self.history.append(Epoch(len(self.history), train_loss, loss, accuracy))
        last = self.spec.choose == "last"
        if self.done == 0 or last or self._rank(self.done) > self._rank(self.best_epoch):
            self.best_epoch = self.done
            self.best = {name: value.detach().clone() for name, value in judged.state_dict().items()}

    def _rank(self, epoch: int) -> tuple[float, float]:
        line = self.history[epoch]
        return line.validation_accuracy, -line.validation_loss


def logits_of(model: Classifier, x: Tensor, batch: int) -> Tensor:
    """Logits [n, k] of raw windows x [n, c, l], `batch` at a time."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(part) for part in torch.split(x, batch)])


def _changes(wanted: bool | tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(wanted, bool):
        return _USUAL_CHANGES if wanted else ()
    return wanted


def _optimizer(model: Classifier, spec: TrainSpec) -> torch.optim.Optimizer:
    """AdamW that decays matrices only: shrinking norms, biases, filters and positions would do harm."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.ndim > 1 and not name.startswith(_NOT_DECAYED)]
    kept = {id(p) for p in matrices}
    others = [p for _, p in trained if id(p) not in kept]
    groups = [{"params": matrices, "weight_decay": spec.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=spec.learning_rate)


def _class_weights(y: Tensor, classes: int) -> Tensor:
    """Weight of each class [k], the inverse of its share; 1 on average over the cases."""
    counts = torch.zeros(classes).index_add(0, y, torch.ones(len(y)))
    present = counts > 0
    return torch.where(present, len(y) / (present.sum() * counts.clamp(min=1)), 0.0)


def _derived_seed(seed: int, purpose: int | str) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _run_key(settings: dict[str, Any], model: Classifier, data: list[Tensor]) -> str:
    """Digest of all that decides the outcome, so that a checkpoint is never taken up by another run."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in [*model.state_dict().values(), *data]:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
