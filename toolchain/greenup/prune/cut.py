"""Take structures out of a set of weights; works on the weights and on what each weight matters alike.

Each function changes the given dictionary's entries, never the tensors in it. `kept` are places to keep, rising.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Places:
    """Where a weight holds the places of a token: on which axis, and how many times over from its beginning.

    What the classes are told may hold a token's mean and its maximum one behind the other, and more after them.
    """

    axis: int
    copies: int
    width: int

    def sums(self, value: Tensor) -> Tensor:
        """Sum of a weight over everything but a token's places [d]."""
        own = value.narrow(self.axis, 0, self.copies * self.width).movedim(self.axis, 0)
        return own.reshape(self.copies, self.width, -1).sum(dim=(0, 2))

    def kept(self, value: Tensor, kept: Tensor) -> Tensor:
        """The weight with some of a token's places only."""
        own = torch.cat([kept + copy * self.width for copy in range(self.copies)])
        rest = torch.arange(self.copies * self.width, value.shape[self.axis])
        return value.index_select(self.axis, torch.cat([own, rest])).clone()


def width_of(state: State, places: dict[str, Places]) -> Tensor:
    """Sum over all matrices of what belongs to each place of a token [d]."""
    return torch.stack([at.sums(state[name]) for name, at in places.items() if state[name].ndim > 1]).sum(dim=0)


def width_places(config: ModelConfig) -> dict[str, Places]:
    """Which weights hold the places of a token, and where.

    Found by building the model a little wider, so that no part of it can be forgotten here.
    """
    extra = 2
    with torch.device("meta"):
        narrow, wide = (
            Classifier(dataclasses.replace(config, d_model=config.d_model + more)) for more in (0, extra)
        )
    shapes = {name: value.shape for name, value in wide.state_dict().items()}
    found = {}
    for name, value in narrow.state_dict().items():
        for axis in range(value.ndim):
            if more := shapes[name][axis] - value.shape[axis]:
                found[name] = Places(axis, more // extra, config.d_model)
    return found


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


def keep_width(state: State, places: dict[str, Places], kept: Tensor) -> None:
    """Keep some places of every token, in all weights that read or write them."""
    for name, at in places.items():
        state[name] = at.kept(state[name], kept)
