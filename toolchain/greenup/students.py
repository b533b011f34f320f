"""Other architectures that learn from a trained model: fewer tokens, fewer layers, fewer heads, narrower.

Pruning starts from what is there; a student may also see the window in fewer, longer patches, and tokens are where
most of the time goes. It starts from what of its teacher fits and is then trained with the teacher
(`train.train(..., initial_state=…, teacher=…)`).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from greenup.model import Classifier, ModelConfig
from greenup.prune import cut
from greenup.prune.shrink import largest
from greenup.weights import State
from greenup_runtime.errors import UsageFault


def student(
    config: ModelConfig,
    *,
    layers: int | None = None,
    heads: int | None = None,
    d_ff: int | None = None,
    d_model: int | None = None,
    d_head: int | None = None,
    patch_factor: int = 1,
    stride_factor: int = 1,
    pooling: Literal["mean", "cls"] | None = None,
) -> ModelConfig:
    """A smaller model for the same windows; what is not named stays as in `config`.

    All layers get the same width. Where `heads` or `d_model` is given, a head is d_model / heads wide unless
    `d_head` says otherwise. Factors multiply patch and stride: both by 2 halves the tokens. With `pooling = "cls"`
    the last layer need only be computed for one token (graph.lean). Raises UsageFault where widths do not fit.
    """
    count = len(config.heads) if layers is None else layers
    width, per_layer = d_model or config.d_model, heads or config.heads[0]
    if min(count, width, per_layer, d_ff or 1, patch_factor, stride_factor) < 1:
        raise UsageFault("a student needs at least one layer, head, neuron and place", "give 1 or more of each")
    if d_head is None:
        d_head = config.d_head if heads is None and d_model is None else _share(width, per_layer)
    patch = min(config.length, config.patch * patch_factor)
    stride = config.stride * stride_factor
    if stride > patch:
        raise UsageFault(
            f"a stride of {stride} is larger than the patch of {patch}: samples between patches would be lost",
            f"set patch_factor to {stride_factor} or more, or stride_factor lower",
        )
    return dataclasses.replace(
        config,
        d_model=width,
        d_head=d_head,
        heads=(per_layer,) * count if heads or layers else config.heads,
        d_ff=(d_ff or config.d_ff[0],) * count if d_ff or layers else config.d_ff,
        patch=patch,
        stride=stride,
        pooling=pooling or config.pooling,
    )


def initialise(student: ModelConfig, teacher: ModelConfig, teacher_state: State, seed: int = 0) -> State:
    """First weights of a student: what fits of its teacher's, the rest drawn by `seed`.

    Of the teacher's layers evenly spaced ones are taken (Sanh et al. 2019, DistilBERT); of its heads, neurons and
    width those with the largest L1 norm. Patches of another length get the teacher's filters stretched, other
    numbers of tokens its positions interpolated.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Classifier(student).state_dict()
    given = _cut_to(student, teacher, dict(teacher_state))
    return {name: _fitted(name, value, given.get(name), student, teacher) for name, value in fresh.items()}


def _share(width: int, heads: int) -> int:
    if width % heads:
        raise UsageFault(
            f"{heads} heads do not share a width of {width} equally",
            f"choose d_model as a multiple of {heads}, or give d_head, the width of one head",
        )
    return width // heads


def _cut_to(student: ModelConfig, teacher: ModelConfig, state: State) -> State:
    """The teacher's weights, cut to the student's layers and widths where these are smaller."""
    count = min(len(student.heads), len(teacher.heads))
    layers = [i * len(teacher.heads) // count for i in range(count)]
    cut.keep_layers(state, layers)
    matters = {name: value.abs() for name, value in state.items()}
    if student.d_model < teacher.d_model:
        axes = {name: at for name, at in cut.width_places(teacher).items() if name in state}
        kept = largest(cut.width_of(matters, axes), student.d_model)
        cut.keep_width(state, axes, kept)
        cut.keep_width(matters, axes, kept)
    for new, old in enumerate(layers):
        if student.d_head == teacher.d_head and student.heads[new] < teacher.heads[old]:
            scores = cut.heads_of(matters, new, teacher.heads[old], teacher.d_head)
            cut.keep_heads(state, new, teacher.heads[old], teacher.d_head, largest(scores, student.heads[new]))
        if student.d_ff[new] < teacher.d_ff[old]:
            cut.keep_neurons(state, new, largest(cut.neurons_of(matters, new), student.d_ff[new]))
    return state


def _fitted(name: str, fresh: Tensor, given: Tensor | None, student: ModelConfig, teacher: ModelConfig) -> Tensor:
    if given is None or (given.shape[:-1] != fresh.shape[:-1] and name != "embed.positions"):
        return fresh.clone()
    if name == "embed.positions" and student.positions == "learned" and given.shape[-1] == fresh.shape[-1]:
        return _positions(given, fresh, teacher.pooling == "cls", student.pooling == "cls")
    if name == "embed.patches.map.weight" and given.shape != fresh.shape:
        stretched = F.interpolate(given, size=fresh.shape[-1], mode="linear", align_corners=False)
        return stretched * (teacher.patch / student.patch)  # the same answer to a constant
    return given.clone() if given.shape == fresh.shape else fresh.clone()


def _positions(given: Tensor, fresh: Tensor, had_class: bool, has_class: bool) -> Tensor:
    """Positions [1, t, d] for another number of tokens; a class token keeps its own, or gets a new one."""
    along = given[:, int(had_class) :].transpose(1, 2)
    tokens = fresh.shape[1] - has_class
    stretched = F.interpolate(along, size=tokens, mode="linear", align_corners=False).transpose(1, 2)
    first = given if had_class else fresh
    return torch.cat([first[:, : int(has_class)], stretched], dim=1).clone()
