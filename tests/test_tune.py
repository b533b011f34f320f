"""The search: which structures are tried, how loss is judged, and that nothing slower is ever chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_recipe

from greenup.choose import choose
from greenup.cli import run
from greenup.data import Windows
from greenup.pipeline import Made
from greenup.presets import config_for
from greenup.recipe import ModelSpec, PruneSpec
from greenup.report.html import render
from greenup.report.rows import confirmed, tried_of
from greenup.result import Accuracy, DatasetFacts, Interval, Judgement, Result, VariantResult
from greenup.tune.candidates import LOSES, Candidate, in_order
from greenup.tune.cuts import cuts
from greenup.tune.folds import divide
from greenup.tune.judge import paired, too_few
from greenup.tune.screen import Screen, Screened
from greenup.tune.search import nearest
from greenup.tune.structures import Structure, grid, tiers
from greenup_runtime.bundle import open_folder
from greenup_runtime.errors import IntegrityFault

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
    rows = [Candidate(f"l{n}", "structure", screened=Screened(n * 1e-3, 1)) for n in range(1, 9)]
    order = list(in_order(rows, lambda row: rows.index(row) >= fastest_that_holds))
    holding = [row for row in order if rows.index(row) >= fastest_that_holds]
    if fastest_that_holds < len(rows):
        assert rows[fastest_that_holds] in holding
    assert len(order) <= 6
    assert len(order) == len({row.name for row in order})


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


def test_where_nothing_holds_the_budget_the_nearest_is_said() -> None:
    def judged(name: str, drop_points: float) -> Candidate:
        judgement = Judgement(drop_points, drop_points + 2, 75, "75 validation cases", 0.5)
        return Candidate(name, "structure", screened=Screened(1e-4, 1), judgement=judgement, outcome=LOSES)

    rows = [judged("l1-h1-p4", 9.0), judged("l2-h2-p1", 2.5), Candidate("l4-h4-p1", "structure")]
    best = nearest(rows)
    assert best is not None
    assert best.name == "l2-h2-p1"
    assert nearest(rows[2:]) is None


def test_nothing_better_is_exit_code_1_and_the_original_serves(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `tune` returns is planted here; that a search ends so is shown by the tests of `choose` above."""
    import greenup.tune

    dataset = DatasetFacts("small", "split", (), 42, 18, 20, ("off", "on"))
    notes = ("no smaller model held the budget of 0.5 points; the nearest is l2-h2-p1",)
    tried = (Candidate("l2-h2-p1", "structure", screened=Screened(1e-4, 1), outcome=LOSES).to_json(),)
    rows = (FP32, row("l2-h2-p1", Interval(8, 7.9, 8.1), drop_points=9.0))
    chosen, why = choose(rows, "fp32", BUDGET)
    found = Result("0" * 64, "0" * 64, dataset, "local", chosen, why, rows, None, tried=tried, notes=notes)
    monkeypatch.setattr(greenup.tune, "tune", lambda *_: found)
    argv = ["tune", str(small_recipe.write(tmp_path)), "--out", str(tmp_path / "out")]
    assert run(argv) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "the nearest is l2-h2-p1" in said
    assert "fp32: no other variant keeps accuracy within 1 points" in said
    assert run([*argv, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["tried"][0]["kind"] == "structure"


def test_a_candidate_that_computes_something_else_on_the_device_is_left_out() -> None:
    """One of seven fails its golden samples there; the search goes on without it."""

    class Device(Screen):
        def __init__(self) -> None:
            self.looks = 0

        def _measured(self, models: Mapping[str, Made]) -> dict[str, Screened]:
            self.looks += 1
            if "bad" in models:
                raise IntegrityFault("golden samples: bad differs by 0.3 from what the host computed")
            return {name: Screened(1e-4, 1) for name in ("fp32", *models)}

    names = ["a", "b", "bad", "c", "d", "e", "f"]
    device = Device()
    assert set(device({name: Made(Path(name), Path(name)) for name in names})) == {"fp32", *names} - {"bad"}
    assert device.looks == 8  # halves, down to the one


def test_tables_show_what_was_confirmed_and_what_was_judged() -> None:
    def tried(name: str, kind: str, outcome: str, judgement: Judgement | None = None) -> dict[str, Any]:
        screened = Screened(1e-4, 1)
        found = Candidate(name, kind, screened=screened, judgement=judgement, outcome=outcome)  # type: ignore[arg-type]
        return found.to_json()

    judged = Judgement(0.5, 1.5, 75, "75 validation cases", 0.5)
    rows = [
        tried("l1-h1-p4", "structure", LOSES, judged),
        tried("l2-h1-p1", "structure", "rejected: not faster than the original"),
        tried("l1-h1-p4-lean-fused", "graph", "rejected: not faster than the usual graph", judged),
        tried("fp32-qat-int8", "qat", "not needed: int8 holds the budget"),
        tried("l2-h2-p1-lean-packed", "graph", "measured, not the best; Speedup 1.34 (1.19 to 1.51)", judged),
        tried("pruned", "recipe", "measured, not the best; Speedup 1.1 (1.0 to 1.2)"),
    ]
    dataset = DatasetFacts("small", "split", (), 42, 18, 20, ("off", "on"))
    confirmed_one = replace(FP32, latency_s=Interval(1e-4, 1e-4, 1e-4))
    variants = (confirmed_one, row("only-in-the-trial-of-all", None))
    found = Result(
        "0" * 64, "0" * 64, dataset, "local", "fp32", "why", variants, None, trial="t", tried=tuple(rows)
    )
    shown = {each.name: each.at_sight for each in tried_of(found)}
    assert [name for name, at_sight in shown.items() if not at_sight] == [
        "l1-h1-p4",
        "l2-h2-p1-lean-packed",
        "pruned",
    ]
    assert [each.name for each in confirmed(found).variants] == ["fp32"]
    assert confirmed(replace(found, tried=())).variants == variants
    page = render(found, None)
    assert page.count("only-in-the-trial-of-all") == 1  # among the models, not in the table of ratios
    assert all(name in page for name in shown)


def test_a_budget_of_less_than_two_cases_is_said() -> None:
    assert too_few(1.5, 75, 0) == (
        "the budget of 1.5 points is 1.1 of 75 judged cases: single cases decide, "
        "--folds 5 judges on all training cases"
    )
    assert "more cases would be needed" in str(too_few(1.0, 100, 5))
    assert too_few(1.0, 200, 0) is None


def test_cuts_leave_widths_that_the_target_likes_and_are_not_the_recipes_own() -> None:
    original = config_for(ModelSpec(layers=2, heads=4, d_model=64, d_ff=96, patch=8), 1, 720, 3, "zscore")
    for multiple in (8, 16, 32):
        found = cuts(original, PruneSpec(heads=0.9), multiple)
        assert [cut.name for cut in found] == ["pruned-25-l1", "pruned-50-l1", "pruned-75-l1"]
        assert all(round(96 * (1 - cut.spec.ffn), 6) % multiple == 0 for cut in found)
        assert all(cut.spec.ffn < 1 for cut in found)
    assert [cut.share for cut in cuts(original, PruneSpec(heads=0.5, ffn=0.5), 16)] == [0.25, 0.75]
    taylor = cuts(original, PruneSpec(heads=0.9), 16)[0].other
    assert (taylor.name, taylor.other.name) == ("pruned-25-taylor", "pruned-25-l1")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_tune_serves_what_it_proved_though_killed_and_left_by_its_device(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe.write(tmp_path / "r", epochs=25)
    text = recipe.read_text().replace("layers = 1", "layers = 2").replace("burst_s = 0.02", "burst_s = 0.05")
    # Three rounds leave Student's t two degrees of freedom: one disturbed round would hide a Speedup of two.
    text = text.replace("max_rounds = 3", "max_rounds = 16").replace("pilot_rounds = 3", "pilot_rounds = 8")
    recipe.write_text(text.replace("accuracy_drop_points = 5", "accuracy_drop_points = 20"))
    argv = ["tune", str(recipe), "--out", str(tmp_path / "out"), "--json", "--folds", "3"]

    assert killed_at("distill", argv) < 0
    vanishing = tmp_path / "greenup-runner"
    vanishing.write_text(VANISHING.format(python=sys.executable, marker=str(tmp_path / "started")))
    vanishing.chmod(0o755)
    monkeypatch.setenv("GREENUP_RUNNER", str(vanishing))
    assert run(argv) == 3
    said = capsys.readouterr()
    assert "the runner failed with exit code 255: no route to the board" in said.err
    assert not said.out
    assert not (tmp_path / "out/result.json").exists()
    monkeypatch.delenv("GREENUP_RUNNER")

    assert run(argv) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["schema"] == "greenup.result/1"
    rows = {row["name"]: row for row in answer["variants"]}
    assert rows[answer["chosen"]]["speedup"]["low"] > 1
    tried = {each["name"]: each for each in answer["tried"]}
    assert tried[answer["chosen"]]["outcome"].startswith("chosen; Speedup ")
    assert {each["kind"] for each in tried.values()} >= {
        "structure",
        "pruned",
        "graph",
        "int8",
        "dynamic",
        "recipe",
    }
    assert {each["outcome"].split(":")[0] for each in tried.values()} >= {"rejected", "not needed"}
    judged = {
        tried[name]["judgement"]["n"] for name in rows if name in tried and tried[name]["kind"] == "structure"
    }
    assert judged == {48}
    assert "What was tried" in (tmp_path / "out/report.html").read_text()
    bundle = open_folder(tmp_path / "out/bundle")
    from greenup.devices import inventory

    selection = inventory.find("local").runner.status()["current"]["selection"]
    assert (selection["bundle"], selection["variant"]) == (bundle.digest, answer["chosen"])
    assert run(argv) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["trial"] == answer["trial"]
    work = ("distill", "turn", "form", "prune", "qat")
    assert not any(line.startswith(work) and "cached" not in line for line in captured.err.splitlines())


# Once a second measurement starts, the board is gone.
VANISHING = """\
#!{python}
import pathlib, runpy, sys
marker = pathlib.Path({marker!r})
if sys.argv[2:4] == ["job", "start"]:
    if marker.exists():
        sys.stderr.write("no route to the board")
        sys.exit(255)
    marker.touch()
sys.argv[0] = "greenup-runner"
runpy.run_module("greenup_runtime.cli", run_name="__main__")
"""


def killed_at(stage: str, argv: list[str]) -> int:
    """Run greenup in a process of its own and kill it as soon as it begins a stage; its exit code."""
    process = subprocess.Popen([*small_recipe.GREENUP, *argv], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(stage):
            process.kill()
            break
    process.stderr.close()
    return process.wait()
