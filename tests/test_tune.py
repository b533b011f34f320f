"""The search: which structures are tried, how loss is judged, and that nothing slower is ever chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_recipe

from greenup.choose import choose
from greenup.cli import run
from greenup.data import Windows
from greenup.presets import config_for
from greenup.recipe import ModelSpec
from greenup.result import Accuracy, Interval, Judgement, VariantResult
from greenup.tune.folds import divide
from greenup.tune.judge import paired
from greenup.tune.screen import Screened
from greenup.tune.search import Candidate, in_order
from greenup.tune.structures import Structure, grid, tiers
from greenup_runtime.bundle import open_folder

BUDGET = {"accuracy_drop_points": 1.0}


def test_structures_are_never_larger_than_the_original() -> None:
    original = config_for(ModelSpec(preset="t1"), 1, 720, 3, "zscore")
    found = grid(original)
    assert len({structure.name for structure in found}) == len(found) > 20
    for structure in found:
        config = structure.config(original)
        assert len(config.heads) <= len(original.heads)
        assert config.tokens <= original.tokens
        assert config != original


def test_of_equally_fast_structures_the_one_that_computes_most_is_trained() -> None:
    found = [Structure(layers, 2, 1) for layers in (1, 2, 3, 4)]
    names = [structure.name for structure in found]
    latency_s = dict(zip(names, (1.0, 1.2, 2.0, 4.0), strict=True))
    macs = dict(zip(names, (5, 9, 3, 7), strict=True))
    assert [each.layers for each in tiers(found, latency_s, macs)] == [2, 3, 4]


@pytest.mark.parametrize("fastest_that_holds", range(9))
def test_bisection_finds_the_fastest_that_holds_and_trains_few(fastest_that_holds: int) -> None:
    rows = [Candidate(Structure(layers, 2, 1), Screened(layers * 1e-3, 1)) for layers in range(1, 9)]
    order = list(in_order(rows, lambda row: rows.index(row) >= fastest_that_holds))
    holding = [row for row in order if rows.index(row) >= fastest_that_holds]
    if fastest_that_holds < len(rows):
        assert rows[fastest_that_holds] in holding
    assert len(order) <= 6
    assert len(order) == len({row.structure.name for row in order})


def test_folds_keep_units_together_and_classes_balanced() -> None:
    units = np.repeat(np.arange(40), 3)
    y = (units % 4 == 0).astype(np.int64)
    cases = Windows(np.zeros((120, 1, 8), np.float32), y, np.array([f"day {unit}" for unit in units]))
    fold = divide(cases, 5, seed=3)
    for unit in range(40):
        assert len(set(fold[units == unit])) == 1
    assert all(6 - 3 <= y[fold == index].sum() <= 6 + 3 for index in range(5))
    assert not np.array_equal(fold, divide(cases, 5, seed=4))


def test_paired_loss_has_a_bound_that_more_cases_make_narrower() -> None:
    rng = np.random.default_rng(0)

    def judged(n: int) -> Judgement:
        original = rng.random(n) < 0.8
        changed = rng.random(n) < 0.1
        return paired(original, original ^ changed, "cases")

    few, many = judged(60), judged(6000)
    assert many.upper_points - many.drop_points < few.upper_points - few.drop_points
    assert many.drop_points == pytest.approx(100 * (0.1 * 0.8 - 0.1 * 0.2), abs=1.5)
    assert many.mcnemar_p < 0.01
    same = np.ones(50, dtype=np.bool_)
    assert paired(same, same, "cases").upper_points == 0.0


def row(name: str, speedup: Interval | None, drop_points: float | None = None) -> VariantResult:
    accuracy = Accuracy(0.8, 0.7, 0.9, 75)
    judged = (
        None if drop_points is None else Judgement(drop_points, drop_points + 1, 375, "out-of-fold cases", 0.5)
    )
    return VariantResult(
        name=name,
        size_bytes=1,
        parameters=1,
        macs=1,
        int8_share=0.0,
        accuracy=accuracy,
        validation=accuracy,
        agreement=None,
        latency_s=None,
        energy_j=None,
        speedup=speedup,
        greenup=None,
        powerup=None,
        category=None,
        verdict="",
        judged=judged,
    )


FP32 = row("fp32", None)


def test_a_planted_slow_candidate_is_never_chosen() -> None:
    slow = row("l1-h2-p4", Interval(0.7, 0.68, 0.72), drop_points=-5.0)
    unproven = row("l1-h2-p3", Interval(1.02, 0.99, 1.05), drop_points=-5.0)
    assert choose([FP32, slow, unproven], "fp32", BUDGET)[0] == "fp32"


def test_out_of_fold_loss_outweighs_validation_accuracy() -> None:
    fast = row("l1-h2-p4", Interval(20, 19, 21), drop_points=3.0)
    good = row("l2-h2-p2", Interval(8, 7.9, 8.1), drop_points=0.2)
    chosen, why = choose([FP32, fast, good], "fp32", BUDGET)
    assert chosen == "l2-h2-p2"
    assert "on out-of-fold cases" in why
    assert choose([FP32, replace(fast, judged=None), good], "fp32", BUDGET)[0] == "l1-h2-p4"


def test_no_candidate_within_the_budget_leaves_the_original() -> None:
    chosen, why = choose([FP32, row("l1-h2-p4", Interval(20, 19, 21), drop_points=9.0)], "fp32", BUDGET)
    assert (chosen, why) == ("fp32", "no other variant keeps accuracy within 1 points")


@pytest.mark.slow
def test_tune_serves_what_it_proved_and_resumes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = small_recipe.write(tmp_path / "r", epochs=25)
    text = recipe.read_text().replace("layers = 1", "layers = 3").replace("burst_s = 0.02", "burst_s = 0.05")
    recipe.write_text(text.replace("accuracy_drop_points = 5", "accuracy_drop_points = 20"))
    argv = ["tune", str(recipe), "--out", str(tmp_path / "out"), "--json", "--folds", "3"]
    code = run(argv)
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    # On a busy machine no candidate may be proven faster; then the original stays and the exit code says so.
    assert code == (1 if answer["chosen"] == "fp32" else 0)
    assert answer["schema"] == "greenup.result/1"
    rows = {row["name"]: row for row in answer["variants"]}
    if code == 0:
        assert rows[answer["chosen"]]["speedup"]["low"] > 1
        assert rows[answer["chosen"]]["macs"] < rows["fp32"]["macs"]
    judged = [row["judged"]["n"] for row in rows.values() if row["judged"]]
    assert judged
    assert set(judged) == {48}
    assert "rejected" in {each["outcome"].split(":")[0] for each in answer["tried"]}
    assert "What was tried" in (tmp_path / "out/report.html").read_text()
    bundle = open_folder(tmp_path / "out/bundle")
    from greenup.devices import inventory

    selection = inventory.find("local").runner.status()["current"]["selection"]
    assert (selection["bundle"], selection["variant"]) == (bundle.digest, answer["chosen"])
    assert run(argv) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["trial"] == answer["trial"]
    assert not any(
        line.startswith(("distill", "turn")) and "cached" not in line for line in captured.err.splitlines()
    )
