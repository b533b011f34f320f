"""Widths that a target's matrix kernels like: shares to prune, moved so that what stays is such a width.

Kernels work on blocks of outputs, so a width just above a block's multiple takes as long as the next multiple. The
cut itself (prune.shrink) keeps multiples of eight; where a target likes larger ones, the shares are moved to them.
"""

from __future__ import annotations

from greenup.model import ModelConfig
from greenup.recipe import PruneSpec

_OF_THE_CUT = 8


def snapped(spec: PruneSpec, config: ModelConfig, multiple: int) -> PruneSpec:
    """A recipe's `[prune]` with shares that leave neurons and width as multiples of `multiple`.

    At least one multiple stays. Nothing changes where the cut's own multiples of eight are multiples already, or
    where layers are ranked together and so differ in width.
    """
    if _OF_THE_CUT % multiple == 0 or spec.scope == "global":
        return spec
    return spec.model_copy(
        update={
            "ffn": _share(spec.ffn, config.d_ff[0], multiple),
            "width": _share(spec.width, config.d_model, multiple),
        }
    )


def _share(share: float, width: int, multiple: int) -> float:
    """The share nearest to `share` that leaves a multiple; as it was where it leaves one already, or cuts none."""
    wanted = width * (1 - share)
    left = max(1, round(wanted / multiple)) * multiple
    return share if left == wanted or left >= width else 1 - left / width
