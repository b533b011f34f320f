"""The search: screen structures on the device, train what is worth it, judge accuracy, measure, confirm.

    screen ─ tiers ─ train (fastest that may hold) ─ judge ─ pack ─ trial of all ─ fresh trial of winner and fp32

A structure is taken for accurate where its loss is within the budget on validation data, and, if time allows, on
out-of-fold predictions of all training cases. The winner of a trial of many looks better than it is, so its
figures come from a second trial against the original alone; where it is not faster there, the original stays.
All training is cached: a search that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenup import loop, weights
from greenup.loop import Session
from greenup.pipeline import Made
from greenup.recipe import Recipe
from greenup.result import Judgement, Result
from greenup.tune.judge import on_validation, out_of_fold
from greenup.tune.screen import Screened, screen
from greenup.tune.stages import TuneStages
from greenup.tune.structures import Structure, grid, tiers
from greenup_runtime.bundle import BASELINE, open_folder

# Structures that are judged out of fold and packed; each costs one training per fold.
FINALISTS = 3
# A structure must promise this much before it is trained.
_WORTH_TRAINING = 1.1


@dataclass(frozen=True)
class Settings:
    """How a search is bounded: minutes for training structures, folds to judge by (0: validation only), meter.

    `again` measures anew where an equal trial is there already.
    """

    minutes: float
    folds: int
    meter: str = "auto"
    again: bool = False


@dataclass
class Candidate:
    """One structure on its way: `outcome` says how far it came and why not further."""

    structure: Structure
    screened: Screened
    judgement: Judgement | None = None
    outcome: str = "not trained"

    def to_json(self) -> dict[str, Any]:
        """As a row of what was tried."""
        return {
            "name": self.structure.name,
            **self.structure.to_json(),
            "screen_latency_s": self.screened.latency_s,
            "macs": self.screened.macs,
            "judgement": asdict(self.judgement) if self.judgement else None,
            "outcome": self.outcome,
        }


def tune(session: Session, recipe: Recipe, settings: Settings, data_dir: Path | None) -> Result:
    """Search for the least costly form of the recipe's model that holds its budget on the session's device.

    Writes `bundle/`, `trials/`, `result.json` and `report.html` into the session's folder. The result's `chosen`
    is the original where nothing better was found.
    """
    return _Search(session, recipe, settings, data_dir).run()


class _Search:
    def __init__(self, session: Session, recipe: Recipe, settings: Settings, data_dir: Path | None) -> None:
        self.session, self.recipe, self.settings = session, recipe, settings
        self.stages = TuneStages(loop.job(session, recipe, data_dir))
        self.drop = recipe.budget.accuracy_drop_points
        self.notes: list[str] = []

    def run(self) -> Result:
        candidates = self._candidates()
        self._train(candidates)
        finalists = self._judge(candidates)
        judged = {row.structure.name: row.judgement for row in finalists if row.judgement}
        made = self._made(finalists)
        loop.publish(self.session, open_folder(self.stages.packed(made, judged)), self.recipe)
        chosen, folder = self._confirmed(tuple(made))
        for row in finalists:
            if chosen in (row.structure.name, f"{row.structure.name}-int8"):
                row.outcome = "chosen"
        tried = tuple(row.to_json() for row in candidates)
        return loop.conclude(self.session, folder, tried, tuple(self.notes))

    def _candidates(self) -> list[Candidate]:
        """All structures with their time on the device, fastest first."""
        original, _ = weights.load(self.stages.trained())
        structures = grid(original)
        screened = screen(self.session, self.stages, structures, self.recipe.seed)
        rows = [Candidate(each, screened[each.name]) for each in structures if each.name in screened]
        limit_s = screened[BASELINE].latency_s / _WORTH_TRAINING
        latency_s = {row.structure.name: row.screened.latency_s for row in rows}
        macs = {row.structure.name: row.screened.macs for row in rows}
        worth = tiers((row.structure for row in rows if row.screened.latency_s <= limit_s), latency_s, macs)
        for row in rows:
            if row.screened.latency_s > limit_s:
                row.outcome = "rejected: not faster than the original"
            elif row.structure not in worth:
                row.outcome = "rejected: another one is as fast and computes more"
        return sorted(rows, key=lambda row: row.screened.latency_s)

    def _train(self, candidates: list[Candidate]) -> None:
        """Train by bisection over the tiers, then slower ones until enough hold the budget."""
        deadline_s = time.monotonic() + 60 * self.settings.minutes
        open_ones = [row for row in candidates if row.outcome == "not trained"]
        for row in in_order(open_ones, self._holds):
            if time.monotonic() > deadline_s:
                self.notes.append(f"{self.settings.minutes:g} minutes were over: not every candidate was trained")
                return
            row.judgement = on_validation(self.stages, self.stages.distilled(row.structure))
            row.outcome = "trained" if self._holds(row) else "rejected: loses more accuracy than the budget allows"

    def _holds(self, row: Candidate) -> bool:
        return row.judgement is not None and row.judgement.drop_points <= self.drop

    def _judge(self, candidates: list[Candidate]) -> list[Candidate]:
        """The fastest candidates that hold the budget; judged out of fold where that was asked for."""
        finalists: list[Candidate] = []
        for row in (row for row in candidates if row.outcome == "trained"):
            if len(finalists) == FINALISTS:
                row.outcome = "rejected: slower than those that hold the budget too"
                continue
            if self.settings.folds:
                row.judgement = out_of_fold(self.stages, row.structure, self.settings.folds)
                if not self._holds(row):
                    row.outcome = "rejected: loses more accuracy than the budget allows, out of fold"
                    continue
            row.outcome = "measured, not the best"
            finalists.append(row)
        return finalists

    def _made(self, finalists: list[Candidate]) -> dict[str, Made]:
        """Every variant to pack: those of the recipe, and each finalist in float and int8."""
        stages = self.stages
        made: dict[str, Made] = {}
        for form in self.recipe.variants:
            made[form] = Made(stages.variant(form), stages.source(form))
        for row in finalists:
            name, folder = row.structure.name, stages.distilled(row.structure)
            exported = stages.float_onnx(folder, name)
            made[name] = Made(exported, folder)
            made[f"{name}-int8"] = Made(stages.int8_onnx(exported, f"{name}-int8"), folder)
        return made

    def _confirmed(self, names: tuple[str, ...]) -> tuple[str, Path]:
        """A trial of all, then one of the winner and the original alone; the last choice and its trial."""
        seed = self.recipe.seed
        folder = self._measured(seed, names)
        winner = loop.assembled(self.session, folder).chosen
        if winner == BASELINE:
            self.notes.append("no candidate was proven better than the original, which stays")
            return winner, folder
        fresh = self._measured(seed + 1, (BASELINE, winner))
        chosen = loop.assembled(self.session, fresh).chosen
        if chosen != winner:
            self.notes.append(f"{winner} won the trial of all and was not confirmed; the original stays")
        return chosen, fresh

    def _measured(self, seed: int, names: tuple[str, ...]) -> Path:
        spec, settings = self.recipe.trial, self.settings
        return loop.measure(
            self.session, spec, settings.meter, seed, again=settings.again, only=names, serve=False
        )


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
