"""Take structures out of a set of weights; works on the weights and on what each weight matters alike.

Each function changes the given dictionary's entries, never the tensors in it. `kept` are places to keep, rising.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from greenup.model import Classifier, ModelConfig
from greenup.weights import State


def heads_of(state: State, index: int, heads: int, d_head: int) -> Tensor:
    """Sum over the weights of each head [h] of a layer: its rows of query, key, value, its columns of `out`."""
    qkv, out = state[f"layers.{index}.attention.qkv.weight"], state[f"layers.{index}.attention.out.weight"]
    return qkv.reshape(3, heads, d_head, -1).sum(dim=(0, 2, 3)) + out.reshape(-1, heads, d_head).sum(dim=(0, 2))


def neurons_of(state: State, index: int) -> Tensor:
    """Sum over all weights of each feed-forward neuron [f] of a layer: its row in, its column out."""
    return state[f"layers.{index}.up.weight"].sum(dim=1) + state[f"layers.{index}.down.weight"].sum(dim=0)


def layers_of(state: State, count: int) -> Tensor:
    """Sum over all matrices of each layer [layers]."""
    return torch.stack(
        [
            torch.stack([v.sum() for n, v in state.items() if n.startswith(f"layers.{i}.") and v.ndim > 1]).sum()
            for i in range(count)
        ]
    )


def width_of(state: State, axes: dict[str, int]) -> Tensor:
    """Sum over all matrices of what belongs to each place of a token [d]."""
    sums = [
        state[name].sum(dim=[axis for axis in range(state[name].ndim) if axis != along])
        for name, along in axes.items()
        if state[name].ndim > 1
    ]
    return torch.stack(sums).sum(dim=0)


def width_axes(config: ModelConfig) -> dict[str, int]:
    """Which axis of which weights is as long as a token is wide.

    Found by building the model a little wider, so that no part of it can be forgotten here.
    """
    with torch.device("meta"):
        narrow, wide = (
            Classifier(dataclasses.replace(config, d_model=config.d_model + extra)) for extra in (0, 2)
        )
    shapes = {name: value.shape for name, value in wide.state_dict().items()}
    return {
        name: next(axis for axis in range(value.ndim) if value.shape[axis] != shapes[name][axis])
        for name, value in narrow.state_dict().items()
        if value.shape != shapes[name]
    }


def keep_heads(state: State, index: int, heads: int, d_head: int, kept: Tensor) -> None:
    """Keep some heads of a layer in `qkv` [3·h·e, d] and `out` [d, h·e]."""
    name = f"layers.{index}.attention."
    qkv, bias, out = (state[name + part] for part in ("qkv.weight", "qkv.bias", "out.weight"))
    by_head = qkv.reshape(3, heads, d_head, -1)[:, kept]
    state[name + "qkv.weight"] = by_head.reshape(3 * len(kept) * d_head, -1).clone()
    state[name + "qkv.bias"] = bias.reshape(3, heads, d_head)[:, kept].flatten().clone()
    state[name + "out.weight"] = out.reshape(-1, heads, d_head)[:, kept].flatten(1).clone()


def keep_neurons(state: State, index: int, kept: Tensor) -> None:
    """Keep some neurons of a layer in `up` [f, d] and `down` [d, f]."""
    name = f"layers.{index}."
    state[name + "up.weight"] = state[name + "up.weight"][kept].clone()
    state[name + "up.bias"] = state[name + "up.bias"][kept].clone()
    state[name + "down.weight"] = state[name + "down.weight"][:, kept].clone()


def keep_layers(state: State, kept: list[int]) -> None:
    """Keep some layers and number them anew."""
    layers = {old: new for new, old in enumerate(kept)}
    for name in [name for name in state if name.startswith("layers.")]:
        _, old, rest = name.split(".", 2)
        value = state.pop(name)
        if int(old) in layers:
            state[f"layers.{layers[int(old)]}.{rest}"] = value


def keep_width(state: State, axes: dict[str, int], kept: Tensor) -> None:
    """Keep some places of every token, in all weights that read or write them."""
    for name, axis in axes.items():
        state[name] = state[name].index_select(axis, kept).clone()
