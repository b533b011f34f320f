"""The stages that make forms of trained weights, and cuts of the original: what tune/stages.py has for students.

They lie in a file of their own because the sources of a student's stage are part of its key in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from greenup import graph, prune, train, weights
from greenup.distill import Teacher
from greenup.pipeline import DATA, EXPORT, ONNX, TORCH, TRAIN, dump
from greenup.quantize import draw, ladder, quantize, quantize_dynamic, quantize_learnt, train_quantized
from greenup.stages import CHECKPOINTS, MODEL, finish
from greenup.tune import folds
from greenup.tune.candidates import Shape
from greenup.tune.cuts import Cut
from greenup.tune.stages import RIGHT, TuneStages

LADDER = "ladder.json"
_CUT = [*TRAIN, "prune", "tune/form_stages.py"]
_FORM = [*EXPORT, "tune/form_stages.py"]
_INT8 = [*DATA, "quantize", "export.py", "onnx_facts.py", "tune/form_stages.py"]


class FormStages(TuneStages):
    """A build's stages, those of the search for structures, and those of forms, all on one cache."""

    def sketch(self, shape: Shape) -> Path:
        """The folder of a shape that was not trained: enough to measure how fast it is."""
        if not isinstance(shape, Cut):
            return self.sketched(shape)
        inputs = {"parent": self.trained().name, "cut": shape.spec.model_dump(mode="json")}
        return self._run("sketch", inputs, _CUT, TORCH, partial(self._sketch_cut, shape), shape.name)

    def fitted(self, shape: Shape) -> Path:
        """The folder of a shape that learnt from the trained model."""
        return self.pruned_by(shape.spec, shape.name) if isinstance(shape, Cut) else self.distilled(shape)

    def turn_fitted(self, shape: Shape, index: int, count: int) -> Path:
        """The folder of a shape that learnt in one turn of a division into folds, from that turn's own teacher."""
        if not isinstance(shape, Cut):
            return self.turn_distilled(shape, index, count)
        parent = self.turn_trained(index, count)
        inputs = {"parent": parent.name, "cut": shape.spec.model_dump(mode="json"), "turn": [index, count]}
        inputs |= dump(self.recipe, "train", "distill")
        make = partial(self._turn_cut, shape, parent, index, count)
        code = [*_CUT, "tune/folds.py"]
        return self._run("turn", inputs, code, TORCH, make, f"{shape.name} {index + 1}/{count}")

    def forms(self, parent: Path) -> list[str]:
        """Names of the graph forms of trained weights that the recipe's opset allows."""
        return list(graph.forms(*weights.load(parent), self.recipe.opset))

    def first_form(self) -> str:
        """Name of the graph form in which everything is exported at first."""
        return "lean-standard" if "lean-standard" in self.forms(self.trained()) else "lean"

    def graph_onnx(self, parent: Path, form: str, label: str) -> Path:
        """The folder of trained weights as a graph of that form."""
        inputs = {"parent": parent.name, "form": form, "opset": self.recipe.opset}
        return self._run("form", inputs, _FORM, ONNX, partial(self._graph, parent, form), label)

    def dynamic_onnx(self, source: Path, label: str) -> Path:
        """The folder of the dynamic int8 form of a float ONNX file's folder."""
        inputs = {"parent": source.name, "scheme": self.scheme(), "dynamic": dump(self.recipe, "quantize")}
        return self._run("form", inputs, _INT8, ONNX, partial(self._dynamic, source), label)

    def some_int8(self, source: Path, nodes: Sequence[str], label: str) -> Path:
        """The folder of the static int8 form of some nodes of a float ONNX file's folder."""
        inputs = self._static_inputs(source, nodes)
        return self._run("form", inputs, _INT8, ONNX, partial(self._some, source, list(nodes)), label)

    def ladder_onnx(self, source: Path, nodes: Sequence[str], budget_points: float, label: str) -> Path:
        """The folder of the int8 form of those of the nodes that can bear it; `ladder.json` says which and why."""
        inputs = {**self._static_inputs(source, nodes), "budget_points": round(budget_points, 6)}
        make = partial(self._ladder, source, list(nodes), budget_points)
        return self._run("form", inputs, _INT8, ONNX, make, label)

    def rounded_onnx(self, parent: Path, form: str | None, label: str) -> Path:
        """The folder of weights that learnt with the rounding in place: ONNX file and weights (QAT)."""
        inputs: dict[str, Any] = {"parent": parent.name, "teacher": self.trained().name, "form": form}
        inputs |= {"data": self.data_key, "seed": self.recipe.seed, "opset": self.recipe.opset}
        inputs["scheme"] = self.scheme()
        inputs |= dump(self.recipe, "train", "prune", "distill", "quantize")
        code = [*TRAIN, *_FORM, "quantize", "onnx_facts.py"]
        return self._run("qat", inputs, code, ONNX, partial(self._rounded, parent, form, label), label)

    def _static_inputs(self, source: Path, nodes: Sequence[str]) -> dict[str, Any]:
        inputs = {"parent": source.name, "data": self.data_key, "scheme": self.scheme(), "nodes": sorted(nodes)}
        return {**inputs, "seed": self.recipe.seed, **dump(self.recipe, "quantize")}

    def _sketch_cut(self, shape: Cut, out: Path) -> None:
        # Any importance gives the same shapes, and L1 needs no windows.
        plan = prune.plan_of(shape.spec.model_copy(update={"importance": "l1"}))
        finish(self, *prune.shrink(*weights.load(self.trained()), plan), out)

    def _turn_cut(self, shape: Cut, parent: Path, index: int, count: int, out: Path) -> None:
        recipe, parts = self.recipe, folds.turn(self.data(), index, count, self.recipe.seed)
        original = weights.load(parent)
        config, fitted = prune.gradual(
            *original,
            prune.plan_of(shape.spec),
            prune.fine_tuning(recipe.train, shape.spec),
            parts.learnt,
            parts.choosing,
            steps=shape.spec.steps,
            seed=recipe.seed,
            folder=out / CHECKPOINTS,
            teacher=Teacher([original], recipe.distill),
            progress=partial(self.job.progress, f"prune {shape.name}"),
        )
        finish(self, config, fitted.state, out)
        labels = train.predict(config, fitted.state, parts.judged.x).argmax(axis=1)
        np.save(out / RIGHT, np.stack([parts.judged_at, (labels == parts.judged.y).astype(np.int64)]))

    def _graph(self, parent: Path, form: str, out: Path) -> None:
        graph.forms(*weights.load(parent), self.recipe.opset)[form](out / MODEL)

    def _dynamic(self, source: Path, out: Path) -> None:
        scheme = self.scheme()
        quantize_dynamic(
            source / MODEL,
            out / MODEL,
            weights=scheme["weights"],
            per_channel=self.recipe.quantize.per_channel,
            reduce_range=scheme["reduce_range"],
        )

    def _some(self, source: Path, nodes: list[str], out: Path) -> None:
        spec = self.recipe.quantize
        quantize(source / MODEL, out / MODEL, self._calibration(), spec, nodes=nodes, **self.scheme())

    def _ladder(self, source: Path, nodes: list[str], budget_points: float, out: Path) -> None:
        held = self.data().validation
        kept = ladder(
            source / MODEL,
            out / MODEL,
            held.x,
            held.y,
            self._calibration(),
            self.recipe.quantize,
            budget_points=budget_points,
            nodes=nodes,
            **self.scheme(),
        )
        said = {"int8": kept.int8, "left_float": kept.left_float}
        (out / LADDER).write_text(json.dumps(said, indent=1) + "\n")

    def _rounded(self, parent: Path, form: str | None, label: str, out: Path) -> None:
        recipe, data, scheme = self.recipe, self.data(), self.scheme()
        config, state = weights.load(parent)
        spec = prune.fine_tuning(recipe.train, recipe.prune)
        learnt = train_quantized(
            config,
            state,
            spec.model_copy(update={"epochs": max(1, spec.epochs)}),
            data.train,
            data.validation,
            seed=recipe.seed,
            folder=out / CHECKPOINTS,
            teacher=Teacher([weights.load(self.trained())], recipe.distill),
            activations=scheme["activations"],
            progress=partial(self.job.progress, f"qat {label}"),
        )
        finish(self, config, learnt.state, out)
        write = graph.best_form(config, learnt.state, recipe.opset)
        if form is not None:
            write = graph.forms(config, learnt.state, recipe.opset)[form]
        write(out / "float.onnx")
        quantize_learnt(out / "float.onnx", out / MODEL, learnt, per_channel=recipe.quantize.per_channel, **scheme)

    def _calibration(self) -> Any:
        cases = self.data().train
        return draw(cases.x, cases.y, self.recipe.quantize.calibration_windows, self.recipe.seed)
