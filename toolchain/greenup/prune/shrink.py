"""From shares to what goes and what stays: the least important structures are cut, in one go."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from greenup.model import ModelConfig
from greenup.prune import cut
from greenup.prune.saliency import Batch, Importance, saliency
from greenup.weights import State
from greenup_runtime.errors import UsageFault

Scope = Literal["layer", "global"]


@dataclass(frozen=True)
class PrunePlan:
    """Shares to remove, each from 0 to below 1, and how to choose.

    `heads` and `ffn` are of each layer (scope `layer`) or of all layers together (scope `global`: layers then
    differ in width); `layers` are whole layers, `width` is the width of a token. Neurons and width stay multiples
    of `multiple`, which matrix kernels like; at least one head, one layer and one multiple stay. Raises
    UsageFault for a share that would leave nothing.
    """

    heads: float = 0.0
    ffn: float = 0.0
    layers: float = 0.0
    width: float = 0.0
    importance: Importance = "l1"
    scope: Scope = "layer"
    multiple: int = 8

    def __post_init__(self) -> None:
        named = {"heads": "attention head", "ffn": "neuron", "layers": "layer", "width": "place of a token"}
        for key, what in named.items():
            share = getattr(self, key)
            if not 0 <= share < 1:
                raise UsageFault(
                    f"prune.{key} = {share:g} does not leave one {what}: it is the share that goes",
                    "give a share from 0 to below 1; layers = takes out whole layers, attention and all",
                )
        if self.multiple < 1:
            raise UsageFault(f"widths cannot be multiples of {self.multiple}", "give 1 or more")

    def scaled(self, factor: float) -> PrunePlan:
        """The same with a part of all shares."""
        shares = {key: factor * getattr(self, key) for key in ("heads", "ffn", "layers", "width")}
        return dataclasses.replace(self, **shares)


def shrink(
    config: ModelConfig, state: State, plan: PrunePlan, batches: Iterable[Batch] | None = None
) -> tuple[ModelConfig, State]:
    """The smaller model. `batches` are training windows [b, c, l] and classes [b], for importance by Taylor."""
    smaller, pruned, _ = shrink_from(config, state, plan, batches, config, len(config.heads))
    return smaller, pruned


def shrink_from(
    config: ModelConfig,
    state: State,
    plan: PrunePlan,
    batches: Iterable[Batch] | None,
    reference: ModelConfig,
    layers: int,
) -> tuple[ModelConfig, State, ModelConfig]:
    """As `shrink`, with shares of the widths in `reference` and of `layers`: those before an earlier cut.

    Also returns the reference without the layers that went.
    """
    matters = saliency(config, state, plan.importance, batches)
    both = (dict(state), dict(matters))
    count = min(len(config.heads), max(1, round(layers * (1 - plan.layers))))
    if count < len(config.heads):
        config, reference = _drop_layers(config, reference, both, count)
    return *_narrow(config, plan, reference, both), reference


def _narrow(
    config: ModelConfig, plan: PrunePlan, reference: ModelConfig, both: tuple[State, State]
) -> tuple[ModelConfig, State]:
    indices = range(len(config.heads))
    d_model = config.d_model
    if plan.width:
        axes = cut.width_places(config)
        d_model = min(d_model, _snap(reference.d_model * (1 - plan.width), plan.multiple))
        kept = largest(cut.width_of(both[1], axes), d_model)
        for weights in both:
            cut.keep_width(weights, axes, kept)
    heads = _keep(
        [cut.heads_of(both[1], i, config.heads[i], config.d_head) for i in indices],
        reference.heads,
        plan.heads,
        plan,
        1,
    )
    neurons = _keep([cut.neurons_of(both[1], i) for i in indices], reference.d_ff, plan.ffn, plan, plan.multiple)
    for i in indices:
        cut.keep_heads(both[0], i, config.heads[i], config.d_head, heads[i])
        cut.keep_neurons(both[0], i, neurons[i])
    head_counts, d_ff = tuple(map(len, heads)), tuple(map(len, neurons))
    return dataclasses.replace(config, d_model=d_model, heads=head_counts, d_ff=d_ff), both[0]


def _drop_layers(
    config: ModelConfig, reference: ModelConfig, both: tuple[State, State], count: int
) -> tuple[ModelConfig, ModelConfig]:
    kept = largest(cut.layers_of(both[1], len(config.heads)), count).tolist()
    for weights in both:
        cut.keep_layers(weights, kept)
    return _only(config, kept), _only(reference, kept)


def _only(config: ModelConfig, kept: Sequence[int]) -> ModelConfig:
    heads, d_ff = tuple(config.heads[i] for i in kept), tuple(config.d_ff[i] for i in kept)
    return dataclasses.replace(config, heads=heads, d_ff=d_ff)


def _keep(
    scores: list[Tensor], widths: Sequence[int], share: float, plan: PrunePlan, multiple: int
) -> list[Tensor]:
    """Places to keep in each layer. `widths` are those that the share refers to."""
    if not share:
        return [torch.arange(len(score)) for score in scores]
    if plan.scope == "layer":
        wanted = [width * (1 - share) for width in widths]
    else:
        wanted = _global_counts(scores, round(sum(widths) * (1 - share)))
    return [
        largest(score, min(len(score), _snap(count, multiple)))
        for score, count in zip(scores, wanted, strict=True)
    ]


def _global_counts(scores: list[Tensor], total: int) -> list[float]:
    """How many of each layer are among the `total` most important of all."""
    owner = torch.cat([torch.full((len(score),), i) for i, score in enumerate(scores)])
    best = largest(torch.cat(scores), min(total, len(owner)))
    return [float((owner[best] == i).sum()) for i in range(len(scores))]


def _snap(count: float, multiple: int) -> int:
    return max(1, round(count / multiple)) * multiple


def largest(scores: Tensor, count: int) -> Tensor:
    """Places of the largest scores, in their old order; of equal ones the first stay."""
    return torch.argsort(scores, descending=True, stable=True)[:count].sort().values
