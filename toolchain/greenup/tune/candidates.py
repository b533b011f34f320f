"""One thing that a search tries: what it is, what it takes, what it loses, and how far it came.

| kind | is |
| --- | --- |
| `structure` | a smaller architecture that learns from the trained model |
| `pruned` | the trained model with a share of its heads and neurons cut out, trained on |
| `recipe` | a variant that the recipe names: always made and measured |
| `graph` | the same weights as another graph |
| `int8` | static int8 of all weight multiplications |
| `ladder` | static int8 of those that are faster in it and bear it; the others fall back to float |
| `dynamic` | int8 with ranges taken at run time |
| `qat` | int8 whose rounding was there in training |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from greenup.pipeline import Made
from greenup.result import Judgement
from greenup.tune.cuts import Cut
from greenup.tune.screen import Screened
from greenup.tune.structures import Structure

Kind = Literal["structure", "pruned", "recipe", "graph", "int8", "ladder", "dynamic", "qat"]
Shape = Structure | Cut
# Candidates that are judged out of fold and packed; each costs one training per fold.
FINALISTS = 3
OPEN = "not trained"
TRAINED = "trained"
MEASURED = "measured, not the best"
SLOW = "rejected: not faster than the original"
LOSES = "rejected: loses more accuracy than the budget allows"


@dataclass
class Candidate:
    """One candidate; `parent` names what a form was made of, `made` is there once it can be packed.

    `screened` is its time on the device before anything was decided, None where it was not looked at. `remark` is
    what else is to be known of it.
    """

    name: str
    kind: Kind
    shape: Shape | None = None
    parent: str | None = None
    screened: Screened | None = None
    judgement: Judgement | None = None
    made: Made | None = None
    outcome: str = OPEN
    remark: str = ""

    @property
    def latency_s(self) -> float:
        """Seconds of one inference on the device when screened; infinite where it was not."""
        return self.screened.latency_s if self.screened else float("inf")

    def holds(self, drop_points: float) -> bool:
        """Whether it was judged and loses no more than that."""
        return self.judgement is not None and self.judgement.drop_points <= drop_points

    def to_json(self) -> dict[str, Any]:
        """As a row of what was tried."""
        return {
            "name": self.name,
            "kind": self.kind,
            "parent": self.parent,
            **(self.shape.to_json() if self.shape else {}),
            "screen_latency_s": self.screened.latency_s if self.screened else None,
            "macs": self.screened.macs if self.screened else None,
            "judgement": asdict(self.judgement) if self.judgement else None,
            "outcome": f"{self.outcome}; {self.remark}" if self.remark else self.outcome,
        }


def in_order(rows: list[Candidate], holds: Callable[[Candidate], bool]) -> Iterator[Candidate]:
    """Rows (fastest first) by bisection for the fastest one that holds, then slower ones until enough do.

    `holds(row)` is asked after the row was handed out and dealt with.
    """
    low, high = 0, len(rows)
    seen: list[Candidate] = []
    while low < high:
        middle = (low + high) // 2
        seen.append(rows[middle])
        yield rows[middle]
        if holds(rows[middle]):
            high = middle
        else:
            low = middle + 1
    for row in (row for row in rows[low:] if row not in seen):
        if sum(map(holds, seen)) >= FINALISTS:
            return
        seen.append(row)
        yield row
