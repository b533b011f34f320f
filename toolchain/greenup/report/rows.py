"""A result as rows of text: the one place where terminal and HTML get their cells and headings from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from greenup.report.figures import NONE, Shown, Unit, common_unit, count, percent, ratio, show, size
from greenup.result import Energy, Result, VariantResult


@dataclass(frozen=True)
class Row:
    """One variant's cells."""

    name: str
    chosen: bool
    size: str
    parameters: str
    macs: str
    int8_share: str
    accuracy: Shown
    cases: int
    validation: Shown
    validation_cases: int
    agreement: str
    latency: Shown
    energy: Shown
    net: Shown
    speedup: Shown
    greenup: Shown
    powerup: Shown
    verdict: str
    reason: str


@dataclass(frozen=True)
class Rows:
    """All rows, the units that their columns share, and what kind of energy is shown (or an empty text)."""

    rows: tuple[Row, ...]
    latency_unit: str
    energy_unit: str
    energy_kind: str
    scope: str


def rows_of(result: Result) -> Rows:
    """The rows of a result, in its order."""
    latency = common_unit("s", (row.latency_s.value for row in result.variants if row.latency_s))
    energies = [row.energy_j for row in result.variants if row.energy_j]
    energy = common_unit("J", (each.gross.value for each in energies))
    return Rows(
        rows=tuple(_row(row, row.name == result.chosen, latency, energy) for row in result.variants),
        latency_unit=latency.name,
        energy_unit=energy.name,
        energy_kind=_kind(energies),
        scope=energies[0].scope if energies else "",
    )


def confirmed(result: Result) -> Result:
    """After a search only what its last trial measured; how the others did in the trial of all is in `tried`."""
    if not result.tried or result.trial is None:
        return result
    return replace(result, variants=tuple(row for row in result.variants if row.latency_s))


@dataclass(frozen=True)
class TriedRow:
    """One candidate of a search: what it is, its time when screened, what it loses, and how far it came.

    `at_sight` says that a look at the device was enough, or not even that was needed.
    """

    name: str
    kind: str
    latency_us: str
    lost: str
    outcome: str
    at_sight: bool


def tried_of(result: Result) -> tuple[TriedRow, ...]:
    """The rows of what a search tried, in its order; none where there was no search."""
    return tuple(
        TriedRow(
            name=row["name"],
            kind=row["kind"],
            latency_us=_microseconds(row["screen_latency_s"]),
            lost=_lost(row["judgement"]),
            outcome=row["outcome"],
            at_sight=_at_sight(row),
        )
        for row in result.tried
    )


def _at_sight(row: dict[str, Any]) -> bool:
    """A graph has its parent's judgement and needs none of its own."""
    unjudged = row["judgement"] is None or row["kind"] == "graph"
    measured = "Speedup" in row["outcome"]
    return unjudged and not measured and row["outcome"].startswith(("rejected", "not needed", "not tried"))


def _microseconds(latency_s: float | None) -> str:
    return NONE if latency_s is None else f"{latency_s * 1e6:.0f}"


def _lost(judgement: dict[str, Any] | None) -> str:
    if judgement is None:
        return NONE
    return f"{judgement['drop_points']:.1f} (≤ {judgement['upper_points']:.1f})"


def _row(row: VariantResult, chosen: bool, latency: Unit, energy: Unit) -> Row:
    return Row(
        name=row.name,
        chosen=chosen,
        size=size(row.size_bytes),
        parameters=count(row.parameters),
        macs=count(row.macs),
        int8_share=f"{100 * row.int8_share:.0f} %",
        accuracy=percent(row.accuracy),
        cases=row.accuracy.n,
        validation=percent(row.validation),
        validation_cases=row.validation.n,
        agreement=NONE if row.agreement is None else f"{100 * row.agreement:.1f} %",
        latency=show(row.latency_s, latency),
        energy=show(row.energy_j.gross if row.energy_j else None, energy),
        net=show(row.energy_j.net if row.energy_j else None, energy),
        speedup=ratio(row.speedup),
        greenup=ratio(row.greenup),
        powerup=ratio(row.powerup),
        verdict=row.verdict,
        reason=row.reason or "",
    )


def _kind(energies: list[Energy]) -> str:
    kinds = {"estimated": any(each.estimated for each in energies)}
    kinds["simulated"] = any(each.simulated for each in energies)
    return ", ".join(kind for kind, given in kinds.items() if given)
