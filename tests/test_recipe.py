"""A recipe's faults are all told at once, with the key and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenup import recipe
from greenup_runtime.errors import RecipeFault
from greenup_runtime.plan import Plan

MINIMAL = {"name": "mine", "data": {"dataset": "ACSF1"}}
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.toml"))


def faults_of(table: dict[str, object]) -> tuple[str, ...]:
    with pytest.raises(RecipeFault) as caught:
        recipe.parse(table)
    assert caught.value.exit_code == 2
    return caught.value.faults


def test_a_minimal_recipe_has_the_documented_defaults() -> None:
    loaded = recipe.parse(MINIMAL)
    assert loaded.variants == ("fp32", "int8", "pruned", "pruned-int8")
    assert (loaded.opset, loaded.model.preset, loaded.budget.accuracy_drop_points) == (20, "base", 1.0)


def test_the_trial_of_a_recipe_is_the_runners_own_unless_it_says_otherwise() -> None:
    plan = Plan(variants=("fp32",))
    assert {name: getattr(plan, name) for name in recipe.MeasureSpec.model_fields} == dict(recipe.MeasureSpec())


def test_a_mistyped_key_is_met_with_the_nearest_one() -> None:
    assert faults_of({**MINIMAL, "train": {"epoch": 3}}) == ("train.epoch: unknown key, did you mean 'epochs'?",)


def test_a_wrong_type_shows_what_was_given() -> None:
    (fault,) = faults_of({**MINIMAL, "train": {"epochs": "many"}})
    assert fault.startswith("train.epochs: input should be a valid integer")
    assert "got 'many'" in fault


def test_a_number_that_is_not_finite_is_a_fault() -> None:
    table = {
        "name": "x",
        "data": {"dataset": "ACSF1"},
        "measure": {"pace_hz": float("inf"), "precision": float("nan")},
    }
    told = faults_of(table)
    assert len(told) == 2
    assert all("finite number" in fault for fault in told)


def test_several_faults_are_all_told() -> None:
    faults = faults_of({"name": "Not Lower", "dat": {}, "train": {"batch": 0}, "opset": 99})
    assert {fault.split(":")[0] for fault in faults} == {"name", "dat", "data", "train.batch", "opset"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "give either dataset"),
        ({"dataset": "A", "path": "b"}, "give either dataset"),
        ({"dataset": "A", "split": "group"}, "needs group"),
    ],
)
def test_keys_that_contradict_each_other(data: dict[str, object], told: str) -> None:
    assert told in faults_of({"name": "mine", "data": data})[0]


def test_the_baseline_cannot_be_left_out() -> None:
    assert 'must hold "fp32"' in faults_of({**MINIMAL, "variants": ["int8"]})[0]


def test_a_missing_file_lists_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "there.toml").write_text("")
    with pytest.raises(RecipeFault, match="does not exist") as caught:
        recipe.load(tmp_path / "gone.toml")
    assert "there.toml" in str(caught.value.hint)


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = 'x'\n[data\n")
    with pytest.raises(RecipeFault, match="line 2"):
        recipe.load(path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbfname = 'x'\n[data]\ndataset = 'ACSF1'\n")
    assert recipe.load(path).name == "x"


def test_the_digest_knows_content_and_not_layout_or_place(tmp_path: Path) -> None:
    texts = ["name='a'\n[data]\npath='d.npz'\n", "# comment\nname = 'a'\n\n[data]\npath = 'd.npz'\n"]
    digests = []
    for index, text in enumerate(texts):
        path = tmp_path / str(index) / "recipe.toml"
        path.parent.mkdir()
        path.write_text(text)
        digests.append(recipe.load(path).digest())
    assert digests[0] == digests[1]
    assert recipe.load(path, seed=7).digest() != digests[0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_recipe(path: Path) -> None:
    assert recipe.load(path).name == path.stem
