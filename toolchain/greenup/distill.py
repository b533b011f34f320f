"""Knowledge distillation: a model learns from the probabilities of trained models, not from labels alone.

    loss = (1 − w) · CE(student, label) + w · τ² · KL(teacher/τ ‖ student/τ)

after Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network". The teacher sees the same,
randomly changed windows as the student, so it labels as many new cases as there are epochs ("consistent
teaching", Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent"). Several
teachers are averaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from greenup.model import Classifier, ModelConfig
from greenup.recipe import DistillSpec
from greenup.weights import State

Member = tuple[ModelConfig, State]


class Teacher:
    """One or more trained models, and how strongly a student follows them."""

    def __init__(self, members: Sequence[Member], spec: DistillSpec) -> None:
        self.spec = spec
        self._models = [_frozen(*member) for member in members]

    def probabilities(self, x: Tensor) -> Tensor:
        """Softened probabilities [b, k] of raw windows x [b, c, l], the mean over the teachers."""
        with torch.inference_mode():
            each = [torch.softmax(model(x) / self.spec.temperature, dim=-1) for model in self._models]
        return torch.stack(each).mean(dim=0).clone()

    def blend(self, hard: Tensor, logits: Tensor, x: Tensor) -> Tensor:
        """The student's loss: its loss on the labels, blended with its distance from the teacher on x."""
        temperature, weight = self.spec.temperature, self.spec.weight
        student = F.log_softmax(logits / temperature, dim=-1)
        distance = F.kl_div(student, self.probabilities(x), reduction="batchmean")
        return (1 - weight) * hard + weight * temperature**2 * distance

    def digest(self) -> str:
        """Hex digest of the teachers' weights and of the settings."""
        digest = hashlib.sha256(json.dumps(self.spec.model_dump(mode="json"), sort_keys=True).encode())
        for model in self._models:
            for tensor in model.state_dict().values():
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def _frozen(config: ModelConfig, state: State) -> Classifier:
    model = Classifier(config).eval()
    model.load_state_dict(state)
    return model.requires_grad_(False)
