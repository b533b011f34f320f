"""The known-truth simulation in small: what benchmarks/truth.py prints for many settings holds for a few."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import truth
from simulated_board import SETTINGS, Board, BoardMeter, Load, Setting

NAMED = {setting.name: setting for setting in SETTINGS}


@pytest.mark.parametrize("name", ["INA226, 16 averages", "trails by 0.3 s", "RAPL"])
def test_energy_of_bursts_is_the_true_integral(name: str) -> None:
    found = truth.window_errors(NAMED[name], 100, 40, seed=1, steady=True)
    assert abs(found["bias"] or 0) <= 0.003
    assert (found["p95"] or 1) <= 0.01
    assert (found["inside"] or 0) >= 0.93
    assert found["missing"] == 0


@pytest.mark.parametrize("name", ["moving mean of 8", "far above idle"])
def test_windows_laid_anywhere_are_inside_their_interval(name: str) -> None:
    found = truth.window_errors(NAMED[name], 100, 40, seed=1, steady=False)
    assert abs(found["bias"] or 0) <= 0.005
    assert (found["inside"] or 0) >= 0.93


def test_intervals_of_whole_trials_hold_the_truth() -> None:
    count = 30
    found = truth.trial_figures(NAMED["Jetson, 5 mΩ at 5 V"], count, seed=4)
    assert found["stated"] == found["equal"] == count
    # Holds with more than 0.999 if each interval covers with 95 %.
    assert found["coverage"] >= stats.binom.ppf(1e-3, count, 0.95) / count
    assert found["alarms"] <= stats.binom.ppf(1 - 1e-3, count, 0.05) / count


def test_the_simulated_board_adds_up() -> None:
    board = Board(Setting("a board", 10, 0.05, drift=0.0), seed=0)
    call = board.infer(Load(0.05, 3.0))
    board.clock.sleep(1.0)
    start_s = board.clock.now()
    for _ in range(100):
        call()
    length_s = board.clock.now() - start_s
    active_w = (board.energy_j(start_s + length_s) - board.energy_j(start_s)) / length_s - 2.0
    assert active_w == pytest.approx(3.0, rel=0.05)
    board.clock.sleep(2.0)
    end_s = board.clock.now()
    assert board.energy_j(end_s) - board.energy_j(end_s - 1.0) == pytest.approx(2.0)
    assert BoardMeter(board).read() == pytest.approx(2.0, abs=0.2)
