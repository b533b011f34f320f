"""Cuts of the trained model that a search may try: a share of heads and of neurons, by one kind of importance.

The importance does not change the shapes, so both take equal time: the one that the recipe does not name is
trained only where the other one of that share loses too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from greenup import widths
from greenup.model import ModelConfig
from greenup.recipe import PruneSpec

_SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Cut:
    """One cut; `spec` is the `[prune]` table that makes it."""

    share: float
    spec: PruneSpec

    @property
    def name(self) -> str:
        """Short name, as reports and variants carry it: `pruned-50-l1`."""
        return f"pruned-{100 * self.share:.0f}-{self.spec.importance}"

    @property
    def other(self) -> Cut:
        """The same share by the other importance."""
        importance = "taylor" if self.spec.importance == "l1" else "l1"
        return Cut(self.share, self.spec.model_copy(update={"importance": importance}))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"share": self.share, "importance": self.spec.importance}


def cuts(original: ModelConfig, spec: PruneSpec, multiple: int) -> list[Cut]:
    """Cuts at a few shares of heads and neurons, by the recipe's importance; none that is the recipe's own.

    Shares of neurons are moved so that a multiple of `multiple` stays.
    """
    found = []
    for share in (share for share in _SHARES if max(original.heads) * (1 - share) >= 1):
        shares = {"heads": share, "ffn": share, "layers": 0.0, "width": 0.0}
        found.append(Cut(share, widths.snapped(spec.model_copy(update=shares), original, multiple)))
    return [cut for cut in found if cut.spec != widths.snapped(spec, original, multiple)]
