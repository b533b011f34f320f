"""Smaller architectures that a trained model could be distilled into, and which of them are worth training.

A structure says how many layers and heads it has and how many times longer its patches are: depth, heads and
tokens are where an inference's time goes. `l2-h4-p2` has 2 layers of 4 heads, and patches of twice the samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from greenup.model import ModelConfig
from greenup.students import student
from greenup_runtime.errors import UsageFault

_LAYERS = (1, 2, 4)
_HEADS = (1, 2, 4)
_PATCH_FACTORS = (1, 2, 4)
_FEWEST_TOKENS = 4
# Candidates closer than this in time are as good as one: only the one with more multiplications is trained.
TIER_RATIO = 1.25


@dataclass(frozen=True)
class Structure:
    """One smaller architecture, relative to the model that teaches it."""

    layers: int
    heads: int
    patch_factor: int

    @property
    def name(self) -> str:
        """Short name, as reports and variants carry it."""
        return f"l{self.layers}-h{self.heads}-p{self.patch_factor}"

    def config(self, original: ModelConfig) -> ModelConfig:
        """The student's configuration. Raises UsageFault where its widths do not fit."""
        return student(
            original,
            layers=self.layers,
            heads=self.heads,
            patch_factor=self.patch_factor,
            stride_factor=self.patch_factor,
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def grid(original: ModelConfig) -> list[Structure]:
    """All structures that are smaller than the original in at least one way and larger in none."""
    layers, heads = len(original.heads), max(original.heads)
    found = []
    for shape in itertools.product(_LAYERS, _HEADS, _PATCH_FACTORS):
        structure = Structure(*shape)
        smaller = structure.layers <= layers and structure.heads <= heads
        if smaller and shape != (layers, heads, 1) and _fits(structure, original):
            found.append(structure)
    return found


def tiers(
    structures: Iterable[Structure], latency_s: Mapping[str, float], macs: Mapping[str, int]
) -> list[Structure]:
    """The structures worth training, fastest first: of those about equally fast the one that computes most.

    `latency_s` and `macs` are by the structures' names. What is cheap but computes more tends to be more accurate.
    """
    chosen: list[Structure] = []
    rest = sorted(structures, key=lambda each: latency_s[each.name])
    while rest:
        limit = latency_s[rest[0].name] * TIER_RATIO
        tier = [each for each in rest if latency_s[each.name] <= limit]
        chosen.append(max(tier, key=lambda each: macs[each.name]))
        rest = [each for each in rest if latency_s[each.name] > limit]
    return chosen


def _fits(structure: Structure, original: ModelConfig) -> bool:
    try:
        return structure.config(original).tokens >= _FEWEST_TOKENS
    except UsageFault:
        return False
