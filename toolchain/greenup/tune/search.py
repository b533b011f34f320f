"""The search: screen shapes on the device, train what is worth it, judge, make forms, measure, confirm.

    screen ─ tiers ─ train (fastest that may hold) ─ judge ─ forms ─ trial of all ─ fresh trial of winner and fp32

Shapes are smaller structures and cuts of the original; forms are graphs and kinds of int8 (forms.py). A shape is
taken for accurate where its loss is within the budget on validation data, and, if asked for, on out-of-fold
predictions of all training cases. The winner of a trial of many looks better than it is, so its figures come from
a second trial against the original alone; where it is not faster there, the original stays. All training is cached
and equal measurements are used again: a search that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from greenup import loop, weights
from greenup.loop import Session
from greenup.pipeline import Made
from greenup.recipe import Recipe
from greenup.result import Result
from greenup.tune.candidates import FINALISTS, LOSES, MEASURED, OPEN, SLOW, TRAINED, Candidate, Shape, in_order
from greenup.tune.cuts import Cut, cuts
from greenup.tune.form_stages import FormStages
from greenup.tune.forms import Forms, Parent
from greenup.tune.judge import of_form, on_validation, out_of_fold, too_few
from greenup.tune.screen import Screen, Screened
from greenup.tune.structures import Structure, grid, tiers
from greenup_runtime.bundle import BASELINE, open_folder

# A shape must promise this much before it is trained.
_WORTH_TRAINING = 1.1
# Of the minutes, the part after which no further shape is trained: the rest is for forms of those that hold.
_FOR_SHAPES = 0.7


@dataclass(frozen=True)
class Settings:
    """How a search is bounded: minutes for training and forms, folds to judge by (0: validation only), meter.

    `again` measures anew where an equal trial is there already.
    """

    minutes: float
    folds: int
    meter: str = "auto"
    again: bool = False


def tune(session: Session, recipe: Recipe, settings: Settings, data_dir: Path | None) -> Result:
    """Search for the least costly form of the recipe's model that holds its budget on the session's device.

    Writes `bundle/`, `trials/`, `result.json` and `report.html` into the session's folder. The result's `chosen`
    is the original where nothing better was found.
    """
    return _Search(session, recipe, settings, data_dir).run()


class _Search:
    def __init__(self, session: Session, recipe: Recipe, settings: Settings, data_dir: Path | None) -> None:
        self.session, self.recipe, self.settings = session, recipe, settings
        self.stages = FormStages(loop.job(session, recipe, data_dir))
        self.look = Screen(session, self.stages, recipe.seed)
        self.drop = recipe.budget.accuracy_drop_points
        self.started_s = 0.0
        self.notes: list[str] = []

    def run(self) -> Result:
        shapes = self._shapes()
        self.started_s = time.monotonic()
        self._note_few_cases()
        self._train(shapes)
        finalists = self._judge(shapes)
        self._note_nearest(shapes, finalists)
        rows = [*shapes, *self._forms(finalists)]
        rows += self._own_variants({row.name for row in rows})
        packed = [row for row in rows if row.made is not None and (row.kind == "recipe" or _stays(row))]
        models = {BASELINE: Made(self.stages.exported(BASELINE), self.stages.trained())}
        models |= {row.name: row.made for row in packed if row.made}
        judged = {row.name: row.judgement for row in packed if row.judgement}
        loop.publish(self.session, open_folder(self.stages.packed(models, judged)), self.recipe)
        trial = self._confirmed(packed)
        return loop.conclude(self.session, trial, tuple(row.to_json() for row in rows), tuple(self.notes))

    def _shapes(self) -> list[Candidate]:
        """All structures and cuts with their time on the device, fastest first."""
        original, _ = weights.load(self.stages.trained())
        found: list[Shape] = [*grid(original)]
        found += cuts(original, self.recipe.prune, self.stages.job.target.widths.multiple)
        sketches = {}
        for shape in found:
            folder = self.stages.sketch(shape)
            sketches[shape.name] = Made(self.stages.float_onnx(folder, shape.name), folder)
        screened = self.look(sketches)
        rows = [_row(shape, screened[shape.name]) for shape in found if shape.name in screened]
        _reject_slow(rows, screened[BASELINE].latency_s)
        return sorted(rows, key=lambda row: row.latency_s)

    def _train(self, rows: list[Candidate]) -> None:
        """Train by bisection over the tiers, then slower ones until enough hold the budget."""
        for row in in_order([row for row in rows if row.outcome == OPEN], self._holds):
            if not self._time_left(_FOR_SHAPES):
                self.notes.append(f"{self.settings.minutes:g} minutes were over: not every candidate was trained")
                return
            self._fit(row)
            if row.outcome == LOSES and isinstance(row.shape, Cut) and self._time_left(_FOR_SHAPES):
                other = _row(row.shape.other, row.screened)
                rows.insert(rows.index(row) + 1, other)
                self._fit(other)

    def _fit(self, row: Candidate) -> None:
        assert row.shape is not None
        row.judgement = on_validation(self.stages, self.stages.fitted(row.shape))
        row.outcome = TRAINED if self._holds(row) else LOSES

    def _holds(self, row: Candidate) -> bool:
        return row.holds(self.drop)

    def _time_left(self, share: float = 1.0) -> bool:
        return time.monotonic() < self.started_s + 60 * self.settings.minutes * share

    def _judge(self, rows: list[Candidate]) -> list[Candidate]:
        """The fastest shapes that hold the budget; judged out of fold where that was asked for."""
        finalists: list[Candidate] = []
        for row in (row for row in rows if row.outcome == TRAINED):
            if len(finalists) == FINALISTS:
                row.outcome = "rejected: slower than those that hold the budget too"
                continue
            if self.settings.folds and row.shape:
                row.judgement = out_of_fold(self.stages, row.shape, self.settings.folds)
                if not self._holds(row):
                    row.outcome = f"{LOSES}, out of fold"
                    continue
            row.outcome = MEASURED
            finalists.append(row)
        return finalists

    def _forms(self, finalists: list[Candidate]) -> list[Candidate]:
        """All forms of the original and of the finalists, which get their files here."""
        original = Parent(BASELINE, Made(self.stages.exported(BASELINE), self.stages.trained()), None)
        parents = [original]
        for row in finalists:
            assert row.shape is not None
            folder = self.stages.fitted(row.shape)
            row.made = Made(self.stages.float_onnx(folder, row.name), folder)
            parents.append(Parent(row.name, row.made, row.judgement))
        return Forms(self.stages, self.look, self.drop, self._time_left).of(parents)

    def _own_variants(self, known: set[str]) -> list[Candidate]:
        """The recipe's variants that are not among the candidates: always made and measured."""
        rows = []
        original = Made(self.stages.exported(BASELINE), self.stages.trained())
        for name in self.recipe.variants:
            if name != BASELINE and name not in known:
                made = Made(self.stages.variant(name), self.stages.source(name))
                row = Candidate(
                    name, "recipe", made=made, judgement=of_form(self.stages, original, made.onnx, None)
                )
                row.outcome = MEASURED if self._holds(row) else LOSES
                rows.append(row)
        return rows

    def _note_few_cases(self) -> None:
        data, folds = self.stages.data(), self.settings.folds
        n = len(data.validation) + (len(data.train) if folds else 0)
        if note := too_few(self.drop, n, folds):
            self.notes.append(note)

    def _note_nearest(self, rows: list[Candidate], finalists: list[Candidate]) -> None:
        """Where no shape holds the budget: the nearest one is said, and measured with the others."""
        best = None if finalists else nearest(rows)
        if best is None or best.shape is None or best.judgement is None:
            return
        folder = self.stages.fitted(best.shape)
        best.made = Made(self.stages.float_onnx(folder, best.name), folder)
        self.notes.append(
            f"no smaller model held the budget of {self.drop:g} points; the nearest is {best.name}, "
            f"which loses {best.judgement.drop_points:.1f} and is measured for comparison"
        )

    def _confirmed(self, packed: list[Candidate]) -> Path:
        """A trial of all, then one of the winner and the original alone: the trial that chooses."""
        seed = self.recipe.seed
        folder = self._measured(seed, (BASELINE, *(row.name for row in packed)))
        first = loop.assembled(self.session, folder)
        _say_speed(packed, first)
        if first.chosen == BASELINE:
            self.notes.append("no candidate was proven better than the original, which stays")
            return folder
        self.notes.append(f"in the trial of all {first.chosen} was {first.chosen_because}")
        fresh = self._measured(seed + 1, (BASELINE, first.chosen))
        winner = next(row for row in packed if row.name == first.chosen)
        if loop.assembled(self.session, fresh).chosen == first.chosen:
            winner.outcome = "chosen"
        else:
            winner.outcome = "rejected: won the trial of all and was not confirmed"
            self.notes.append(f"{winner.name} won the trial of all and was not confirmed; the original stays")
        return fresh

    def _measured(self, seed: int, names: tuple[str, ...]) -> Path:
        spec, settings = self.recipe.trial, self.settings
        return loop.measure(
            self.session, spec, settings.meter, seed, again=settings.again, only=names, serve=False
        )


def nearest(rows: list[Candidate]) -> Candidate | None:
    """Of the candidates that were judged the one that loses least."""
    judged = [(row.judgement.drop_points, row.latency_s, row.name, row) for row in rows if row.judgement]
    return min(judged)[3] if judged else None


def _row(shape: Shape, screened: Screened | None) -> Candidate:
    return Candidate(shape.name, "pruned" if isinstance(shape, Cut) else "structure", shape, screened=screened)


def _stays(row: Candidate) -> bool:
    return row.outcome == MEASURED or row.shape is not None


def _reject_slow(rows: list[Candidate], original_s: float) -> None:
    """Reject before training what is hardly faster than the original, or as fast as one that computes more."""
    fast = [row for row in rows if row.latency_s <= original_s / _WORTH_TRAINING]
    worth = tiers(
        [cast("Structure", row.shape) for row in fast],  # it asks for names only, and cuts have them too
        {row.name: row.latency_s for row in fast},
        {row.name: row.screened.macs for row in fast if row.screened},
    )
    for row in rows:
        if row not in fast:
            row.outcome = SLOW
        elif row.shape not in worth:
            row.outcome = "rejected: another one is as fast and computes more"


def _say_speed(packed: list[Candidate], found: Result) -> None:
    """How fast each measured candidate was against the original in the trial of all."""
    ratios = {row.name: row.speedup for row in found.variants}
    for row in packed:
        if ratio := ratios.get(row.name):
            said = f"Speedup {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            row.remark = f"{said}; {row.remark}" if row.remark else said
            if ratio.high < 1 and row.outcome == MEASURED:
                row.outcome = "rejected: measured slower than the original"
