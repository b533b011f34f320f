"""Forms that a search makes of trained weights: what prunes them, what falls back; model and times are planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_model as small
import small_recipe

from greenup import recipe as recipes
from greenup import targets, weights
from greenup.cache import Cache
from greenup.data import DataSet, Windows
from greenup.export import export_onnx
from greenup.onnx_facts import facts, matmul_shapes, weight_names
from greenup.pipeline import Build, Made
from greenup.stages import MODEL, finish
from greenup.tune.candidates import LOSES, MEASURED, Candidate
from greenup.tune.form_stages import LADDER, FormStages
from greenup.tune.forms import Forms, Parent
from greenup.tune.screen import Screened
from greenup_runtime.bundle import BASELINE

PLANTED = "layers.0.attention.out.weight"


class PlantedStages(FormStages):
    """Real stages whose trained model is the small one, with one map that int8 cannot hear (or with none)."""

    def __init__(self, folder: Path, *, planted: bool) -> None:
        recipe = recipes.load(small_recipe.write(folder / "recipe"))
        target = targets.load("x86-64")
        self.job = Build(recipe, target, ("vnni",), Cache(folder / "cache"), None, lambda *_: None)
        self.recipe, self.data_key, self._folder = recipe, "small", folder
        parts = {name: _windows(part) for name, part in (("train", small.TRAIN), ("validation", small.VALIDATION))}
        self._data = DataSet.__new__(DataSet)
        for name, part in parts.items():
            object.__setattr__(self._data, name, part)
        config, state = small.trained("t1")
        if planted:
            values = 2 * config.heads[0] * config.d_head  # the first row of the values, behind queries and keys
            for part in ("weight", "bias"):
                state[f"layers.0.attention.qkv.{part}"][values] *= 1e4  # mixing values by weights keeps factors
            state[PLANTED][:, 0] *= 1e-4
        finish(self, config, state, self.trained())
        self.exported(BASELINE).mkdir()
        export_onnx(config, state, self.exported(BASELINE) / MODEL)

    def trained(self) -> Path:
        return self._folder / "trained"

    def exported(self, form: str) -> Path:
        return self._folder / f"exported-{form}"

    def forms(self, parent: Path) -> list[str]:
        return ["lean"]  # exporting other graphs takes longer than all the rest here


def _windows(part: small.Some) -> Windows:
    return Windows(part.x, part.y, np.arange(len(part.y)).astype(str))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedStages:
    return PlantedStages(tmp_path_factory.mktemp("planted"), planted=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> PlantedStages:
    return PlantedStages(tmp_path_factory.mktemp("healthy"), planted=False)


def searched(
    stages: PlantedStages, latency_s: Callable[[str, Made], float], *, drop: float = 5.0, late: bool = False
) -> dict[str, Candidate]:
    """All forms of the original on a device that takes the given time; by name."""
    looked: list[str] = []

    def look(models: dict[str, Made]) -> dict[str, Screened]:
        looked.extend(models)
        original = Made(stages.exported(BASELINE), stages.trained())
        return {name: Screened(latency_s(name, made), 1) for name, made in {BASELINE: original, **models}.items()}

    parent = Parent(BASELINE, Made(stages.exported(BASELINE), stages.trained()), None)
    rows = Forms(stages, look, drop, lambda: not late).of([parent])
    assert looked
    return {row.name: row for row in rows}


def int8_is_faster(name: str, made: Made) -> float:
    return 1.5 if "dynamic" in name else 1.0 - 0.5 * facts(made.onnx / MODEL).int8_share


def test_plain_int8_that_is_faster_and_holds_needs_no_ladder_and_no_training(healthy: PlantedStages) -> None:
    rows = searched(healthy, int8_is_faster)
    assert rows["int8"].outcome == MEASURED
    assert rows["int8"].judgement is not None
    assert rows["int8"].judgement.n == 60
    assert rows["fp32-ladder-int8"].outcome == "not needed: int8 is faster and holds"
    assert rows["fp32-qat-int8"].outcome == "not needed: int8 holds the budget"
    assert rows["fp32-dynamic-int8"].outcome.startswith("rejected: slower than its float form")
    assert [row.name for row in rows.values() if row.outcome == MEASURED] == ["int8"]


def test_a_planted_sensitive_node_falls_back_to_float(planted: PlantedStages) -> None:
    rows = searched(planted, int8_is_faster, late=True)
    assert rows["int8"].outcome == LOSES
    ladder = rows["fp32-ladder-int8"]
    assert ladder.outcome == MEASURED
    assert ladder.holds(5.0)
    assert "too much lost" in ladder.remark
    assert ladder.made is not None
    said = json.loads((ladder.made.onnx / LADDER).read_text())
    names = weight_names(planted.exported(BASELINE) / MODEL)
    assert [names[node] for node, _ in said["left_float"]] == [PLANTED]
    assert rows["fp32-qat-int8"].outcome == "not tried: the minutes were over"


def test_nodes_that_are_slower_in_int8_stay_float(healthy: PlantedStages) -> None:
    """Int8 costs more than it saves at the feed-forward maps: a ladder without them is left."""
    source = healthy.exported(BASELINE) / MODEL
    shapes, names = matmul_shapes(source), weight_names(source)
    slow = {shapes[node] for node in names if "up" in names[node]}

    def latency_s(name: str, made: Made) -> float:
        if "dynamic" in name:
            return 2.0
        before, after = weight_names(source), weight_names(made.onnx / MODEL)
        in_int8 = [node for node in before if before[node] not in after.values()]
        return 1.0 + sum(0.2 if shapes[node] in slow else -0.01 for node in in_int8)

    rows = searched(healthy, latency_s)
    assert rows["int8"].outcome.startswith("rejected: slower than its float form")
    ladder = rows["fp32-ladder-int8"]
    assert ladder.outcome == MEASURED
    assert "float: slower" in ladder.remark
    assert ladder.made is not None
    left = set(weight_names(ladder.made.onnx / MODEL).values())
    assert {"layers.0.up.weight", "layers.1.up.weight"} <= left
    assert "layers.0.attention.out.weight" not in left


def test_where_no_node_is_faster_in_int8_nothing_is_made(healthy: PlantedStages) -> None:
    rows = searched(healthy, lambda name, made: 1.0 + facts(made.onnx / MODEL).int8_share + ("dynamic" in name))
    assert not [row for row in rows.values() if row.outcome == MEASURED]
    assert rows["fp32-ladder-int8"].outcome == "rejected: no node is faster in int8"
    assert rows["fp32-qat-int8"].outcome == "not needed: int8 is not faster"


def test_rounding_in_training_is_tried_where_plain_int8_loses_too_much(planted: PlantedStages) -> None:
    rows = searched(planted, int8_is_faster)
    learnt = rows["fp32-qat-int8"]
    assert learnt.outcome in {MEASURED, LOSES}
    assert learnt.made is not None
    assert facts(learnt.made.onnx / MODEL).int8_share > 0.3
    assert weights.load(learnt.made.weights)[0] == small.trained("t1")[0]
