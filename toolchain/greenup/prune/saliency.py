"""How much each single weight matters. What a structure matters is the sum over its weights.

l1       |w|                          Li et al. 2017, "Pruning filters for efficient ConvNets"
taylor   Σ over batches |w · ∂L/∂w|   Molchanov et al. 2019, "Importance estimation for neural network pruning"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from greenup.epochs import Cases
from greenup.model import Classifier, ModelConfig
from greenup.weights import State
from greenup_runtime.errors import DataFault, UsageFault

Importance = Literal["l1", "taylor"]
Batch = tuple[Tensor, Tensor]


def saliency(config: ModelConfig, state: State, importance: Importance, batches: Iterable[Batch] | None) -> State:
    """What each weight matters, in the shapes of `state`.

    `batches` are raw training windows [b, c, l] with their classes [b]; only `taylor` looks at them. Raises
    UsageFault where it needs them and there are none, DataFault where they give no number.
    """
    if importance == "l1":
        return {name: value.abs() for name, value in state.items()}
    if batches is None:
        raise UsageFault(
            "importance by Taylor needs training windows, and none were given",
            'give batches of training windows, or use importance = "l1"',
        )
    return _taylor(config, state, batches)


def batches_of(cases: Cases, *, seed: int, size: int = 32, most: int = 16) -> list[Batch]:
    """At most `most` batches of `size` cases, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(cases.y))[: size * most]
    x, y = torch.from_numpy(cases.x[order]), torch.from_numpy(cases.y[order])
    return list(zip(x.split(size), y.split(size), strict=True))


def _taylor(config: ModelConfig, state: State, batches: Iterable[Batch]) -> State:
    model = Classifier(config).eval()  # without dropout: the same batches give the same importance
    model.load_state_dict(state)
    total = {name: torch.zeros_like(value) for name, value in state.items()}
    seen = 0
    for x, y in batches:
        model.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(x), y))
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                total[name] += (parameter.detach() * parameter.grad).abs()
        seen += len(y)
    if not seen or not all(torch.isfinite(value).all() for value in total.values()):
        raise DataFault(
            "the training windows give no importance: "
            + ("there are none" if not seen else "a gradient is not a number"),
            'look for extreme values in the data, or use importance = "l1"',
        )
    return total
