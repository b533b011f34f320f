"""Random changes of training windows that leave their class as it is.

All of them are relative to each window's own spread, so they suit raw data of any unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_JITTER = 0.05
_SCALING = 0.1
_SHORTEST_CROP = 0.8
_LONGEST_MASK = 0.1
_CHANCE = 0.5


def augment(x: Tensor, generator: torch.Generator, changes: Sequence[str]) -> Tensor:
    """Changed copies of windows x [b, c, l]; each named change meets about half of the windows.

    `crop` stretches a part (which also shifts), `roll` shifts in a circle, `scale` scales, `mask` hides a span,
    `jitter` adds noise; cf. Um et al. 2017, "Data augmentation of wearable sensor data".
    """
    for name in changes:
        met = torch.rand(len(x), 1, 1, generator=generator) < _CHANCE
        x = torch.where(met, _CHANGES[name](x, generator), x)
    return x


def _crop(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random span of each window, stretched back to l samples by linear interpolation."""
    length = x.shape[-1]
    share = _uniform(len(x), _SHORTEST_CROP, 1.0, generator)
    start = (1 - share) * torch.rand(len(x), 1, 1, generator=generator)
    at = (start + share * torch.linspace(0, 1, length)) * (length - 1)  # [b, 1, l]
    left = at.floor().long().clamp(max=max(0, length - 2)).expand_as(x)
    right = (left + 1).clamp(max=length - 1)
    part = at - left
    return x.gather(-1, left) * (1 - part) + x.gather(-1, right) * part


def _roll(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each window turned in a circle, all channels alike: what left at the end comes in at the start."""
    length = x.shape[-1]
    shift = torch.randint(length, (len(x), 1, 1), generator=generator)
    return x.gather(-1, ((torch.arange(length) + shift) % length).expand_as(x))


def _scale(x: Tensor, generator: torch.Generator) -> Tensor:
    factor = torch.randn(len(x), x.shape[1], 1, generator=generator) * _SCALING
    return x * factor.exp()


def _mask(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each channel's mean over one short span of the window."""
    length = x.shape[-1]
    width = _uniform(len(x), 0.0, _LONGEST_MASK * length, generator)
    start = torch.rand(len(x), 1, 1, generator=generator) * (length - width)
    at = torch.arange(length)
    hidden = (at >= start) & (at < start + width)  # [b, 1, l]
    return torch.where(hidden, x.mean(dim=-1, keepdim=True), x)


def _jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    spread = x.std(dim=-1, keepdim=True, correction=0)
    return x + torch.randn(x.shape, generator=generator) * spread * _JITTER


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, 1, 1, generator=generator)


_CHANGES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "crop": _crop,
    "roll": _roll,
    "scale": _scale,
    "mask": _mask,
    "jitter": _jitter,
}
