"""Structured pruning: whole attention heads and feed-forward neurons are taken out, and matrices get smaller.

Masks of zeros (`torch.nn.utils.prune`) leave every multiplication in place and save neither time nor energy.
Here the smaller matrices are cut out of the old ones; what is left is an ordinary model with its own
`ModelConfig`. What to remove is decided by the L1 norm of all weights that belong to a head or a neuron
(Li et al. 2017, "Pruning filters for efficient ConvNets", carried over to heads and neurons).
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from greenup.model import ModelConfig
from greenup.recipe import PruneSpec, TrainSpec
from greenup.weights import State

_NEURON_STEP = 8  # matrix kernels work on rows of eight or more; odd widths save nothing over the next step


def prune(config: ModelConfig, state: State, spec: PruneSpec) -> tuple[ModelConfig, State]:
    """The smaller model: `spec.heads` and `spec.ffn` are the shares removed in every layer.

    At least one head stays, and neurons in steps of eight, at least eight; so less than asked may go.
    """
    pruned = dict(state)
    heads, d_ff = [], []
    for index in range(len(config.heads)):
        layer = f"layers.{index}."
        heads.append(_prune_heads(pruned, layer, config.heads[index], config.d_head, spec.heads))
        d_ff.append(_prune_neurons(pruned, layer, config.d_ff[index], spec.ffn))
    return dataclasses.replace(config, heads=tuple(heads), d_ff=tuple(d_ff)), pruned


def fine_tuning(spec: TrainSpec, prune: PruneSpec) -> TrainSpec:
    """The training settings for the epochs after pruning."""
    return spec.model_copy(update={"epochs": prune.epochs, "learning_rate": prune.learning_rate})


def _prune_heads(state: State, layer: str, heads: int, d_head: int, share: float) -> int:
    """Cut heads out of a layer's `qkv` [3·h·e, d] and `out` [d, h·e]; how many stay."""
    qkv, bias = state[f"{layer}attention.qkv.weight"], state[f"{layer}attention.qkv.bias"]
    out = state[f"{layer}attention.out.weight"]
    by_head = qkv.reshape(3, heads, d_head, -1)
    columns = out.reshape(-1, heads, d_head)
    norms = by_head.abs().sum(dim=(0, 2, 3)) + columns.abs().sum(dim=(0, 2))
    count = max(1, round(heads * (1 - share)))
    kept = _largest(norms, count)
    state[f"{layer}attention.qkv.weight"] = by_head[:, kept].reshape(3 * count * d_head, -1).clone()
    state[f"{layer}attention.qkv.bias"] = bias.reshape(3, heads, d_head)[:, kept].flatten().clone()
    state[f"{layer}attention.out.weight"] = columns[:, kept].flatten(1).clone()
    return count


def _prune_neurons(state: State, layer: str, neurons: int, share: float) -> int:
    """Cut neurons out of a layer's `up` [f, d] and `down` [d, f]; how many stay."""
    up, bias, down = (state[f"{layer}{name}"] for name in ("up.weight", "up.bias", "down.weight"))
    norms = up.abs().sum(dim=1) + down.abs().sum(dim=0)
    wanted = round(neurons * (1 - share) / _NEURON_STEP) * _NEURON_STEP
    count = min(neurons, max(_NEURON_STEP, wanted)) if share else neurons
    kept = _largest(norms, count)
    state[f"{layer}up.weight"] = up[kept].clone()
    state[f"{layer}up.bias"] = bias[kept].clone()
    state[f"{layer}down.weight"] = down[:, kept].clone()
    return count


def _largest(norms: Tensor, count: int) -> Tensor:
    """Places of the largest norms, in their old order; of equal ones the first stay."""
    return torch.argsort(norms, descending=True, stable=True)[:count].sort().values
