"""From a recipe to a packed bundle, stage by stage; every stage is cached by the digest of its inputs.

    data ─ train ─┬─ export ─┬─────────── evaluate ─ bundle
                  │          └─ quantize ─┤
                  └─ prune ─┬─ export ────┤
                            └─ quantize ──┘

The stages' own work is in stages.py; here is only their order, their keys and their folders.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from greenup.cache import Cache
from greenup.recipe import PruneSpec, Recipe
from greenup.result import Judgement
from greenup.schemes import fit
from greenup.targets import Target
from greenup_runtime.bundle import Bundle, open_folder
from greenup_runtime.errors import UsageFault

if TYPE_CHECKING:
    from greenup.data import DataSet

Progress = Callable[[str, int, int, str], None]
DATA = ["data", "runtime/preprocess.py", "stages.py"]
TRAIN = [*DATA, "model.py", "presets.py", "train.py", "epochs.py", "augment.py"]
TRAIN += ["checkpoint.py", "distill.py", "weights.py", "reproducible.py"]
EXPORT = ["model.py", "export.py", "graph", "weights.py", "stages.py"]
TORCH = ["torch", "numpy", "pandas", "aeon"]
ONNX = [*TORCH, "onnx", "onnxscript", "onnxruntime"]


@dataclass(frozen=True)
class Build:
    """What a build starts from. `features` are the CPU features of the device that it is for."""

    recipe: Recipe
    target: Target
    features: tuple[str, ...]
    cache: Cache
    data_dir: Path | None
    progress: Progress


def build(job: Build) -> Bundle:
    """Run every stage that is not cached yet, and return the packed, unsigned bundle in the cache."""
    _check_opset(job)
    return open_folder(Stages(job).bundle())


def _check_opset(job: Build) -> None:
    if job.recipe.opset > job.target.runtime.opset_max:
        raise UsageFault(
            f"the recipe asks for opset {job.recipe.opset}, target {job.target.name} loads "
            f"{job.target.runtime.opset_max}",
            f"set opset = {job.target.runtime.opset_max} in the recipe",
        )


@dataclass(frozen=True)
class Made:
    """A variant's folders: that of its ONNX file, and that of the trained weights it was made from."""

    onnx: Path
    weights: Path


class Stages:
    """The folders of one build's stages, made on demand."""

    def __init__(self, job: Build) -> None:
        from greenup.data import fingerprint

        self.job = job
        self.recipe = job.recipe
        self._data: DataSet | None = None
        self.data_key = fingerprint(self.recipe.data, seed=self.recipe.seed, data_dir=job.data_dir)

    def data(self) -> DataSet:
        """The data set, loaded only when a stage that is not cached needs it."""
        from greenup.data import load

        if self._data is None:
            self.job.progress("data", 0, 1, "reading")
            recipe = self.recipe
            self._data = load(
                recipe.data, name=recipe.data.dataset or recipe.name, seed=recipe.seed, data_dir=self.job.data_dir
            )
            self.job.progress("data", 1, 1, self._data.name)
        return self._data

    def trained(self) -> Path:
        """The trained model's folder."""
        from greenup import stages

        recipe = self.recipe
        inputs = {"data": self.data_key, "seed": recipe.seed, **dump(recipe, "model", "train")}
        inputs["normalize"] = recipe.data.normalize
        return self._run("train", inputs, TRAIN, TORCH, partial(stages.train_stage, self))

    def pruned(self) -> Path:
        """The pruned and fine-tuned model's folder."""
        return self.pruned_by(self.recipe.prune)

    def pruned_by(self, spec: PruneSpec, label: str = "") -> Path:
        """The folder of the trained model after a cut by `spec`, at widths that the target likes, trained on."""
        from greenup import stages, weights, widths

        parent = self.trained()
        wanted = widths.snapped(spec, weights.load(parent)[0], self.job.target.widths.multiple)
        asking = self._asking(prune=wanted)
        inputs = {"parent": parent.name, **dump(asking.recipe, "prune", "distill")}
        make = partial(stages.prune_stage, asking, parent)
        return self._run("prune", inputs, [*TRAIN, "prune"], TORCH, make, label)

    def exported(self, form: str) -> Path:
        """The folder of the float ONNX file of a form, `fp32` or `pruned`."""
        return self.float_onnx(self.trained() if form == "fp32" else self.pruned(), form)

    def float_onnx(self, parent: Path, label: str) -> Path:
        """The folder of the float ONNX file of trained weights."""
        from greenup import stages

        inputs = {"parent": parent.name, "opset": self.recipe.opset, "data": self.data_key}
        make = partial(stages.export_stage, self, parent)
        return self._run("export", inputs, EXPORT, ONNX, make, label)

    def quantized(self, form: str) -> Path:
        """The folder of the int8 ONNX file of a form, `int8` or `pruned-int8`."""
        return self.int8_onnx(self.exported("fp32" if form == "int8" else "pruned"), form)

    def int8_onnx(self, parent: Path, label: str) -> Path:
        """The folder of the int8 form of a float ONNX file's folder."""
        from greenup import stages

        scheme = self.scheme()
        inputs = {
            "parent": parent.name,
            "data": self.data_key,
            "scheme": scheme,
            **dump(self.recipe, "quantize"),
        }
        inputs["seed"] = self.recipe.seed
        code = [*DATA, "quantize", "export.py", "onnx_facts.py"]
        make = partial(stages.quantize_stage, self, parent, scheme)
        return self._run("quantize", inputs, code, ONNX, make, label)

    def bundle(self) -> Path:
        """The packed, unsigned bundle's folder."""
        return self.packed({name: Made(self.variant(name), self.source(name)) for name in self.recipe.variants})

    def packed(self, models: Mapping[str, Made], judged: Mapping[str, Judgement] | None = None) -> Path:
        """The folder of an unsigned bundle of any variants; `fp32` must be among them.

        `judged` holds what float variants lose, where that was judged on more than validation data.
        """
        from greenup import stages

        inputs = {
            "models": {name: [made.onnx.name, made.weights.name] for name, made in models.items()},
            "recipe": self.recipe.digest(),
            "data": self.data_key,
            "isa": self.job.target.needed_isa(self.job.features),
            "judged": {name: asdict(found) for name, found in (judged or {}).items()},
        }
        code = [
            *DATA,
            "bundle.py",
            "evaluate.py",
            "export.py",
            "onnx_facts.py",
            "intervals.py",
            "runtime/engine.py",
        ]
        return self._run("bundle", inputs, code, ONNX, partial(stages.bundle_stage, self, models, judged or {}))

    def variant(self, name: str) -> Path:
        """The folder that holds a variant's model.onnx."""
        return self.quantized(name) if name.endswith("int8") else self.exported(name)

    def source(self, name: str) -> Path:
        """The folder of the trained weights that a variant was made from."""
        return self.pruned() if name.startswith("pruned") else self.trained()

    def scheme(self) -> dict[str, Any]:
        """How int8 variants are quantized for this build's target; UsageFault where its CPU cannot."""
        found = fit(self.job.target, self.job.features)
        if found.note:
            self.job.progress("quantize", 1, 1, found.note)
        return found.settings

    def _asking(self, **tables: BaseModel) -> Self:
        """These stages for a recipe with other tables."""
        other = copy.copy(self)
        other.recipe = self.recipe.model_copy(update=tables)
        return other

    def _run(
        self,
        stage: str,
        inputs: dict[str, Any],
        code: list[str],
        libraries: list[str],
        make: Callable[[Path], None],
        label: str = "",
    ) -> Path:
        shown = f"{stage} {label}".strip()
        key = self.job.cache.key({"stage": stage, **inputs}, code, libraries)
        finished = self.job.cache.get(stage, key)
        if finished is not None:
            self.job.progress(shown, 1, 1, "cached")
            return finished
        self.job.progress(shown, 0, 1, "")
        folder = self.job.cache.run(stage, key, make)
        self.job.progress(shown, 1, 1, "done")
        return folder


def dump(recipe: Recipe, *sections: str) -> dict[str, Any]:
    """Tables of a recipe as a stage's inputs."""
    return {name: getattr(recipe, name).model_dump(mode="json") for name in sections}
