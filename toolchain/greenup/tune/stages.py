"""The stages that a search adds to a build: sketches, students, and models that leave one fold out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from greenup import train, weights
from greenup.data import Windows
from greenup.distill import Teacher
from greenup.model import ModelConfig
from greenup.pipeline import TORCH, TRAIN, Stages, dump
from greenup.presets import config_for
from greenup.stages import CHECKPOINTS, LABELS, finish
from greenup.students import initialise
from greenup.tune import folds
from greenup.tune.structures import Structure

RIGHT = "right.npy"
_STUDENT = [*TRAIN, "students.py", "prune", "tune/structures.py", "tune/stages.py"]
_TURN = [*_STUDENT, "tune/folds.py"]


class TuneStages(Stages):
    """A build's stages and those of the search, all on one cache."""

    def sketched(self, structure: Structure) -> Path:
        """The folder of a structure that was not trained: enough to measure how fast it is."""
        inputs = {"parent": self.trained().name, "structure": structure.to_json()}
        return self._run("sketch", inputs, _STUDENT, TORCH, partial(self._sketch, structure), structure.name)

    def distilled(self, structure: Structure) -> Path:
        """The folder of a structure that learnt from the trained model."""
        parent = self.trained()
        inputs = {"parent": parent.name, "structure": structure.to_json(), **dump(self.recipe, "train", "distill")}
        make = partial(self._distill, structure, parent, None)
        return self._run("distill", inputs, _STUDENT, TORCH, make, structure.name)

    def turn_trained(self, index: int, count: int) -> Path:
        """The folder of the original architecture, trained in one turn of a division into folds."""
        inputs = {"data": self.data_key, "seed": self.recipe.seed, "turn": [index, count]}
        inputs |= {"normalize": self.recipe.data.normalize, **dump(self.recipe, "model", "train")}
        label = f"fp32 {index + 1}/{count}"
        return self._run("turn", inputs, _TURN, TORCH, partial(self._turn, index, count), label)

    def turn_distilled(self, structure: Structure, index: int, count: int) -> Path:
        """The folder of a student that learnt in one turn, from that turn's own teacher."""
        parent = self.turn_trained(index, count)
        inputs = {"parent": parent.name, "structure": structure.to_json(), **dump(self.recipe, "train", "distill")}
        make = partial(self._distill, structure, parent, (index, count))
        label = f"{structure.name} {index + 1}/{count}"
        return self._run("turn", {**inputs, "turn": [index, count]}, _TURN, TORCH, make, label)

    def labels(self, folder: Path) -> npt.NDArray[np.int64]:
        """The labels [cases] that trained weights give to the validation windows."""
        found: npt.NDArray[np.int64] = np.load(folder / LABELS, allow_pickle=False)
        return found

    def _sketch(self, structure: Structure, out: Path) -> None:
        original, state = weights.load(self.trained())
        config = structure.config(original)
        finish(self, config, initialise(config, original, state, self.recipe.seed), out)

    def _distill(self, structure: Structure, parent: Path, turn: tuple[int, int] | None, out: Path) -> None:
        recipe, data = self.recipe, self.data()
        original, state = weights.load(parent)
        config = structure.config(original)
        parts = folds.turn(data, *turn, recipe.seed) if turn else None
        self._fit(
            config,
            out,
            f"distill {structure.name}",
            (parts.learnt, parts.choosing) if parts else (data.train, data.validation),
            initial=initialise(config, original, state, recipe.seed),
            teacher=Teacher([(original, state)], recipe.distill),
        )
        if parts:
            _keep_right(out, parts)

    def _turn(self, index: int, count: int, out: Path) -> None:
        recipe, data = self.recipe, self.data()
        channels, length = data.train.x.shape[1:]
        config = config_for(recipe.model, channels, length, len(data.classes), recipe.data.normalize)
        parts = folds.turn(data, index, count, recipe.seed)
        self._fit(config, out, f"turn {index + 1}", (parts.learnt, parts.choosing))
        _keep_right(out, parts)

    def _fit(
        self,
        config: ModelConfig,
        out: Path,
        label: str,
        cases: tuple[Windows, Windows],
        initial: weights.State | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        fitted = train.train(
            config,
            self.recipe.train,
            *cases,
            seed=self.recipe.seed,
            folder=out / CHECKPOINTS,
            progress=partial(self.job.progress, label),
            initial_state=initial,
            teacher=teacher,
        )
        finish(self, config, fitted.state, out)


def _keep_right(out: Path, parts: folds.Turn) -> None:
    """Which of the judged cases the model gets right, and where these are among all training cases."""
    labels = train.predict(*weights.load(out), parts.judged.x).argmax(axis=1)
    np.save(out / RIGHT, np.stack([parts.judged_at, (labels == parts.judged.y).astype(np.int64)]))
