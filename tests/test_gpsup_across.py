"""Several trials, several baselines, and what is saved at the rate at which windows come."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_gpsup import COUNTER, ESTIMATE, POWER, make_trial

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from simulated_board import Board, BoardMeter, Load, Setting

from greenup import recipe as recipes
from greenup.across import compare_trials
from greenup.intervals import welch_ratio
from greenup.paced import paced_figures
from greenup_runtime.errors import UsageFault
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.trial import Trial

TIMES, POWERS = {"fp32": 2e-3, "int8": 1e-3}, {"fp32": 5.0, "int8": 5.0}


def test_variants_of_another_trial_against_this_ones_baseline() -> None:
    first = make_trial(TIMES, POWERS)
    second = replace(make_trial(TIMES, {"fp32": 2.5, "int8": 2.5}, seed=5), id="other")
    rows = {(row.trial, row.variant): row.comparison for row in compare_trials([first, second], "fp32")}
    assert rows[first.id, "fp32"].verdict == "baseline"
    for name, greenup, speedup in (("fp32", 2, 1), ("int8", 4, 2)):
        found = rows["other", name]
        assert found.greenup is not None
        assert found.speedup is not None
        assert found.greenup.value == pytest.approx(greenup, rel=0.02)
        assert found.speedup.value == pytest.approx(speedup, rel=0.02)


def test_every_variant_can_be_the_baseline() -> None:
    rows = {row.variant: row.comparison for row in compare_trials([make_trial(TIMES, POWERS)], "int8")}
    assert rows["int8"].verdict == "baseline"
    assert rows["fp32"].speedup is not None
    assert rows["fp32"].speedup.holds(0.5)


def test_a_trial_is_not_compared_with_itself() -> None:
    first, other = make_trial(TIMES, POWERS), replace(make_trial(TIMES, POWERS), id="other")
    for given in ([first, first], [other, first, first]):
        with pytest.raises(UsageFault, match=f"trial {first.id} was given twice") as fault:
            compare_trials(given, "fp32")
        assert "each trial once" in str(fault.value.hint)


def test_other_meters_and_scopes_are_refused_unless_asked_for() -> None:
    trials = [make_trial(TIMES, POWERS, COUNTER), replace(make_trial(TIMES, POWERS, POWER), id="other")]
    with pytest.raises(UsageFault, match=r"rapl \(package\) in .*; ina \(board\) in other") as fault:
        compare_trials(trials, "fp32")
    assert "--mix-meters" in str(fault.value.hint)
    rows = compare_trials(trials, "fp32", mix_meters=True)
    assert all(row.comparison.verdict.endswith("(meters differ)") for row in rows if row.trial == "other")


def test_estimates_are_not_compared_across_trials() -> None:
    trials = [make_trial(TIMES, POWERS, ESTIMATE), replace(make_trial(TIMES, POWERS, ESTIMATE), id="other")]
    found = compare_trials(trials, "fp32")[-1].comparison
    assert (found.greenup, found.verdict) == (None, "—, needs a meter")
    assert found.speedup is not None


def test_welch_needs_three_values_a_side() -> None:
    assert welch_ratio([0.0, 0.1], [0.0, 0.1, 0.2]) is None
    found = welch_ratio([0.0] * 3, [0.0] * 4)
    assert found is not None
    assert (found.low, found.value, found.high) == (1, 1, 1)


def paced_trial(rate_hz: float) -> Trial:
    board = Board(Setting("a board", 20, 0.04, drift=0.002, spread=0.003, noise_w=0.01), seed=2)
    loads = {"fp32": Load(0.04, 3.0), "int8": Load(0.02, 3.0)}
    plan = Plan(variants=tuple(loads), warmup_s=0, pilot_rounds=6, max_rounds=6, pace_hz=rate_hz)
    engines = {name: board.infer(load) for name, load in loads.items()}
    facts = {"bundle": "b" * 64, "device_id": "d"}
    return run_trial(plan, engines, Chosen(BoardMeter(board), ()), board.clock, lambda *_: None, facts)


def test_at_a_high_rate_the_faster_variant_pays() -> None:
    found = paced_figures(paced_trial(10.0), "fp32")
    assert found["fp32"].measured
    assert found["int8"].saving_j is not None
    # Ten inferences a second of 0.02 s less at 3 W.
    assert found["int8"].saving_j.value == pytest.approx(10 * 0.02 * 3 * 86400, rel=0.1)
    assert found["int8"].verdict.startswith("saves")
    assert found["int8"].energy_j.value == pytest.approx((2 + 10 * 0.02 * 3) / 10, rel=0.03)
    # 1 % of what the board takes: 0.01 (2 + 0.12 r) = 0.06 r.
    assert found["int8"].breakeven_hz == pytest.approx(0.34, rel=0.1)


def test_at_a_low_rate_it_is_not_worth_it() -> None:
    found = paced_figures(paced_trial(0.1), "fp32")["int8"]
    assert found.measured
    assert found.saving_j is not None
    assert found.saving_j.holds(0)
    assert found.verdict.startswith("not worth it")


def test_a_rate_too_low_for_a_window_is_added_up() -> None:
    found = paced_figures(paced_trial(1 / 600), "fp32")["int8"]
    assert not found.measured
    assert found.day_j.value == pytest.approx(2 * 86400, rel=0.02)
    assert paced_figures(make_trial(TIMES, POWERS), "fp32") == {}


def test_the_served_rate_reaches_the_plan() -> None:
    table = {"name": "x", "data": {"dataset": "ACSF1"}, "serve": {"rate_hz": 0.5}}
    assert recipes.parse(table).trial.pace_hz == 0.5
    assert recipes.parse({**table, "measure": {"pace_hz": 2.0}}).trial.pace_hz == 2.0
    assert recipes.parse({"name": "x", "data": {"dataset": "ACSF1"}}).trial.pace_hz is None
