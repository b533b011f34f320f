"""What a build and its measurement come to: the object that `--json` prints and every report shows.

The classes mirror the JSON, key by key; `to_json` gives it. Schema id: `greenup.result/1`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "greenup.result/1"


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the interval contains the value."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Accuracy(Interval):
    """A share of right labels with its Wilson interval, and on how many cases."""

    n: int = 0


@dataclass(frozen=True)
class Energy:
    """Joules per inference: gross, net of idle (or None), and where they come from."""

    gross: Interval
    net: Interval | None
    source: str
    scope: str
    estimated: bool
    simulated: bool = False


@dataclass(frozen=True)
class Judgement:
    """Accuracy lost against the original in points, and the one-sided 95 % bound of it.

    `on` says on what: the validation part or out-of-fold predictions; `mcnemar_p` is of the exact test.
    """

    drop_points: float
    upper_points: float
    n: int
    on: str
    mcnemar_p: float

    def lowered(self, points: float, what: str) -> Judgement:
        """The same, with further points lost by what was done afterwards (quantization, say)."""
        more = f"{self.on}, {what} on validation"
        return Judgement(self.drop_points + points, self.upper_points + points, self.n, more, self.mcnemar_p)


@dataclass(frozen=True)
class Paced:
    """What a variant takes at a given rate of inferences, idle included.

    `energy_j` is per inference, `day_j` per day; `saving_j` per day against the baseline (None for itself).
    `measured` says that windows at this rate were run; otherwise idle and net energy of bursts were added up.
    `breakeven_hz` is the rate from which the saving is 1 % of what the baseline takes, or None.
    """

    rate_hz: float
    energy_j: Interval
    day_j: Interval
    saving_j: Interval | None
    breakeven_hz: float | None
    measured: bool
    verdict: str


@dataclass(frozen=True)
class VariantResult:
    """One variant's row: size, accuracy, latency, energy and its ratios to the baseline.

    `speedup`, `greenup`, `powerup` are None where they cannot be stated, and `reason` then says why. For the
    baseline itself all three are None. `category` is 1 to 8 or None. `judged` is there where accuracy was compared
    on more than the validation part.
    """

    name: str
    size_bytes: int
    parameters: int
    macs: int
    int8_share: float
    accuracy: Accuracy
    validation: Accuracy
    agreement: float | None
    latency_s: Interval | None
    energy_j: Energy | None
    speedup: Interval | None
    greenup: Interval | None
    powerup: Interval | None
    category: int | None
    verdict: str
    reason: str | None = None
    judged: Judgement | None = None
    paced: Paced | None = None


@dataclass(frozen=True)
class DatasetFacts:
    """Which data a figure rests on: name, split id, file hashes, and counts of cases."""

    name: str
    split_id: str
    files: tuple[dict[str, str], ...]
    train: int
    validation: int
    test: int
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """The whole outcome of `build-and-push`, `measure`, `compare` or `tune`.

    `tried` has a row per candidate of a search, with how far it came; `notes` say what else is to be known of it.
    """

    bundle: str
    recipe: str
    dataset: DatasetFacts
    device: str
    chosen: str
    chosen_because: str
    variants: tuple[VariantResult, ...]
    signed_by: str | None
    trial: str | None = None
    rounds: int = 0
    conditions: dict[str, Any] = field(default_factory=dict)
    report: str | None = None
    tried: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The JSON object of schema `greenup.result/1`; a latency's figure is called `median` there."""
        table = asdict(self)
        for row in table["variants"]:
            if latency_s := row["latency_s"]:
                row["latency_s"] = {"median": latency_s.pop("value"), **latency_s}
        return {"schema": SCHEMA, **table}

    def variant(self, name: str) -> VariantResult:
        """The row of one variant. Raises KeyError for an unknown name."""
        return {row.name: row for row in self.variants}[name]
