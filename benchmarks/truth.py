"""Known-truth simulation: how far greenup's joules and intervals can be believed.

    python benchmarks/truth.py [--quick] [--only NAME] [--trials N] [--windows N] [--json FILE]

Simulated boards and sensors (simulated_board.py) are measured by the shipped sampler, trial, energy and ratios on
a fake clock. Four tables: energy of windows against the true integral; how often Greenup's 95 % interval holds the
truth; how often two equal variants look different; how precise a ratio is after how long.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from simulated_board import SETTINGS, Board, BoardMeter, Load, Setting

from greenup.gpsup import NO_CHANGE, compare
from greenup_runtime import loops
from greenup_runtime.energy import window_energy
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import Trial

FULL_TRIALS, QUICK_TRIALS = 500, 20
FULL_WINDOWS, QUICK_WINDOWS = 300, 40
UPDATES = (8, 20, 50, 100, 300)
WINDOWS_PER_BOARD = 20
SPEEDUP, POWERUP = 1.6, 0.9
_NOTHING = (math.nan, "nothing")
FACTS = {"bundle": "0" * 64, "device_id": "simulated"}
KINDS = {"Bursts": "windows", "Windows anywhere": "irregular"}
GOALS = {
    "bias": "|bias| ≤ 0.3 % in every setting",
    "error": "error ≤ 1 % (95 of 100 windows) from 100 updates on",
    "inside": "inside the stated interval ≥ 93 % at any length",
    "coverage": "coverage ≥ 93.5 % overall, none < 91 %",
    "alarms": "A/A alarms ≤ 5.5 % overall, none > 8 %",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer trials, less than two minutes")
    parser.add_argument("--only", help="settings whose name holds this text")
    parser.add_argument("--trials", type=int, help="trials per setting")
    parser.add_argument("--windows", type=int, help="windows per length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "greenup-truth.json")
    arguments = parser.parse_args()
    settings = [each for each in SETTINGS if not arguments.only or arguments.only in each.name]
    trials = arguments.trials or (QUICK_TRIALS if arguments.quick else FULL_TRIALS)
    windows = arguments.windows or (QUICK_WINDOWS if arguments.quick else FULL_WINDOWS)
    began = time.perf_counter()
    rows = []
    for setting in settings:
        # Settings must not share their luck.
        seed = arguments.seed + zlib.crc32(setting.name.encode())
        rows.append(study(setting, trials, windows, seed))
        summary = {"goals": judge(rows), "trials_per_setting": trials, "windows_per_length": windows}
        # Written each time: a full run takes long, and what is there can be read already.
        arguments.json.write_text(json.dumps({**summary, "settings": rows}, indent=2) + "\n")
        print(f"{setting.name}: {time.perf_counter() - began:.0f} s", flush=True)
    show(rows, summary)
    print(f"wrote {arguments.json}")


def study(setting: Setting, trials: int, windows: int, seed: int) -> dict[str, Any]:
    """All figures of one setting."""
    lengths = [updates for updates in UPDATES if updates / setting.rate_hz > 3 * setting.latency_s]
    by_length = {str(updates): window_errors(setting, updates, windows, seed, steady=True) for updates in lengths}
    irregular = {
        str(updates): window_errors(setting, updates, windows, seed, steady=False)
        for updates in lengths
        if updates >= 20
    }
    return {
        "setting": setting.name,
        "rate_hz": setting.rate_hz,
        "latency_s": setting.latency_s,
        "windows": by_length,
        "irregular": irregular if setting.kind == "power" else {},
        "trials": trial_figures(setting, trials, seed),
    }


def window_errors(
    setting: Setting, updates: int, count: int, seed: int, *, steady: bool
) -> dict[str, float | None]:
    """Relative errors of the energy of windows of so many updates, and how often the interval held.

    Steady windows are bursts with idle before and after. The others start and end at any time, with steps of the
    load at any place within.
    """
    errors, held, missing = [], 0, 0
    for first in range(0, count, WINDOWS_PER_BOARD):
        board = Board(setting, seed * 1_000_003 + first * 97 + updates)
        with Sampler(BoardMeter(board), board.clock) as sampler:
            windows = min(WINDOWS_PER_BOARD, count - first)
            edges = (_bursts if steady else _stretches)(board, sampler, updates / setting.rate_hz, windows)
            trace = sampler.trace()
        for start_s, end_s in edges:
            window = window_energy(trace, setting.facts, start_s, end_s, steady=steady)
            true_j = board.energy_j(end_s) - board.energy_j(start_s)
            if window.energy_j is None or window.low_j is None or window.high_j is None:
                missing += 1
                continue
            errors.append(window.energy_j / true_j - 1)
            held += window.low_j <= true_j <= window.high_j
    return {**_error_figures(errors), "inside": held / len(errors) if errors else None, "missing": missing}


def _bursts(board: Board, sampler: Sampler, length_s: float, count: int) -> list[tuple[float, float]]:
    """Bursts with idle between them, run and stamped as a trial does."""
    setting, edges = board.setting, []
    infer = board.infer(Load(setting.latency_s, board.level * setting.active_w))
    for _ in range(count):
        board.clock.sleep(length_s * board.rng.uniform(0.5, 1.5) + 5 * setting.facts.lag_s)
        start_s, _ = sampler.begin()
        loops.busy(infer, length_s, board.clock)
        end_s, _ = sampler.end(idle=False)
        edges.append((start_s, end_s))
    board.clock.sleep(length_s + 5 * setting.facts.lag_s + 5 / setting.rate_hz)
    return edges


def _stretches(board: Board, _sampler: Sampler, length_s: float, count: int) -> list[tuple[float, float]]:
    """Windows laid anywhere over work and idle in turn, each three to a window on average."""
    infer = board.infer(Load(board.setting.latency_s, board.level * board.setting.active_w))
    total_s = 1.5 * count * length_s
    while board.clock.now() < total_s:
        loops.busy(infer, length_s * board.rng.uniform(0.05, 0.3), board.clock)
        board.clock.sleep(length_s * board.rng.uniform(0.05, 0.3))
    margin_s = 5 / board.setting.rate_hz + 2 * board.setting.facts.lag_s
    starts = [margin_s + board.rng.random() * (total_s - length_s - 2 * margin_s) for _ in range(count)]
    return [(start_s, start_s + length_s) for start_s in starts]


def _error_figures(errors: Sequence[float]) -> dict[str, float | None]:
    if not errors:
        return {"bias": None, "bias_error": None, "p95": None, "worst": None}
    size = np.abs(errors)
    return {
        "bias": float(np.mean(errors)),
        "bias_error": float(np.std(errors) / math.sqrt(len(errors))),
        "p95": float(np.quantile(size, 0.95)),
        "worst": float(size.max()),
    }


def trial_figures(setting: Setting, count: int, seed: int) -> dict[str, Any]:
    """Coverage of Greenup's interval, A/A alarms, precision and simulated time of whole trials."""
    held = alarms = stated = equal = 0
    widths, rounds, lasted = [], [], []
    for index in range(count):
        board = Board(setting, seed * 7_000_003 + index)
        trial = one_trial(setting, board, index)
        found = compare(trial)
        truth = true_greenup(setting, board, trial)
        if (greenup := found["int8"].greenup) is not None:
            stated += 1
            held += greenup.holds(truth)
            widths.append((greenup.high - greenup.low) / 2 / greenup.value)
        if found["copy"].greenup is not None:
            equal += 1
            alarms += found["copy"].verdict.removesuffix(" (simulated)") != NO_CHANGE
        rounds.append(trial.rounds)
        lasted.append(trial.bursts[-1].end_s)
    return {
        "trials": count,
        "stated": stated,
        "coverage": held / stated if stated else None,
        "equal": equal,
        "alarms": alarms / equal if equal else None,
        "half_width": float(np.median(widths)) if widths else None,
        "rounds": float(np.median(rounds)),
        "duration_s": float(np.median(lasted)),
    }


def one_trial(setting: Setting, board: Board, seed: int) -> Trial:
    """A whole trial of a baseline, a copy of it and a better variant."""
    loads = {
        "fp32": Load(setting.latency_s, board.level * setting.active_w),
        "copy": Load(setting.latency_s, board.level * setting.active_w),
        "int8": Load(setting.latency_s / SPEEDUP, _better_w(board)),
    }
    plan = Plan(
        variants=tuple(loads),
        burst_s=setting.burst_s,
        warmup_s=0.0,
        seed=seed,
        max_burst_s=setting.max_burst_s,
    )
    # A burst's load runs a little before its start already.
    board.burst_s = 1.25 * plan.burst_length_s(setting.facts)
    engines = {name: board.infer(load) for name, load in loads.items()}
    meter = BoardMeter(board)
    return run_trial(plan, engines, Chosen(meter, ()), board.clock, lambda *_: None, FACTS)


def true_greenup(setting: Setting, board: Board, trial: Trial) -> float:
    """The ratio of true energies per inference at the trial's mean idle power, without the bursts' own noise."""
    idle_w = board.idle_w(trial.bursts[0].start_s, trial.bursts[-1].end_s)
    return SPEEDUP * (idle_w + board.level * setting.active_w) / (idle_w + _better_w(board))


def _better_w(board: Board) -> float:
    """Power above idle of the better variant, so that its whole power is POWERUP of the baseline's."""
    setting = board.setting
    return POWERUP * (setting.idle_w + board.level * setting.active_w) - setting.idle_w


def judge(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each goal with what was reached, and by which setting it was reached least."""
    steady = [
        (row["setting"], int(updates), figures)
        for row in rows
        for updates, figures in row["windows"].items()
        if figures["p95"] is not None
    ]
    irregular = [
        (row["setting"], int(updates), figures)
        for row in rows
        for updates, figures in row["irregular"].items()
        if figures["p95"] is not None
    ]
    long = [each for each in steady if each[1] >= 100]
    trials = [(row["setting"], row["trials"]) for row in rows]
    covered = [(name, each["coverage"], each["stated"]) for name, each in trials if each["stated"]]
    alarmed = [(name, each["alarms"], each["equal"]) for name, each in trials if each["equal"]]
    bias = max(((abs(each["bias"]), name) for name, _, each in long), default=_NOTHING)
    error = max(((each["p95"], name) for name, _, each in long), default=_NOTHING)
    inside = min(((each["inside"], f"{name}, {n}") for name, n, each in [*steady, *irregular]), default=_NOTHING)
    lowest = min(((share, name) for name, share, _ in covered), default=_NOTHING)
    highest = max(((share, name) for name, share, _ in alarmed), default=_NOTHING)
    coverage, alarms = _pooled(covered), _pooled(alarmed)
    return {
        "bias": {"reached": f"at most {_said(bias)}", "met": bias[0] <= 0.003},
        "error": {"reached": f"at most {_said(error)}", "met": error[0] <= 0.01},
        "inside": {"reached": f"at least {_said(inside)}", "met": inside[0] >= 0.93},
        "coverage": {
            "reached": f"{100 * coverage:.1f} %, lowest {_said(lowest)}",
            "met": coverage >= 0.935 and lowest[0] >= 0.91,
        },
        "alarms": {
            "reached": f"{100 * alarms:.1f} %, highest {_said(highest)}",
            "met": alarms <= 0.055 and highest[0] <= 0.08,
        },
    }


def _said(reached: tuple[float, str]) -> str:
    return f"{100 * reached[0]:.2f} % ({reached[1]})"


def _pooled(shares: Sequence[tuple[str, float, int]]) -> float:
    total = sum(n for _, _, n in shares)
    return sum(share * n for _, share, n in shares) / total if total else math.nan


def show(rows: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    """The tables, as people read them."""
    console = Console(width=118)
    for title, key in (
        ("Steady bursts, mean inside × length", "windows"),
        ("Irregular windows, integrated", "irregular"),
    ):
        table = Table(title=f"{title}: bias / 95 % of errors within / inside the stated interval, by updates")
        table.add_column("setting")
        for updates in UPDATES:
            table.add_column(str(updates), justify="right")
        for row in rows:
            if row[key]:
                table.add_row(row["setting"], *(_window_cell(row[key].get(str(n))) for n in UPDATES))
        console.print(table)
    table = Table(title=f"Trials ({summary['trials_per_setting']} per setting)")
    for column in ("setting", "coverage", "A/A alarms", "± Greenup", "rounds", "seconds"):
        table.add_column(column, justify="left" if column == "setting" else "right")
    for row in rows:
        each = row["trials"]
        table.add_row(
            row["setting"],
            _percent(each["coverage"]),
            _percent(each["alarms"]),
            _percent(each["half_width"], 2),
            f"{each['rounds']:.0f}",
            f"{each['duration_s']:.0f}",
        )
    console.print(table)
    table = Table(title="Goals")
    for column in ("goal", "reached", "met"):
        table.add_column(column)
    for name, each in summary["goals"].items():
        table.add_row(GOALS[name], each["reached"], "yes" if each["met"] else "NO")
    console.print(table)


def _window_cell(figures: dict[str, float] | None) -> str:
    if figures is None or figures["p95"] is None:
        return "—"
    return f"{100 * figures['bias']:+.2f} / {100 * figures['p95']:.2f} / {100 * figures['inside']:.0f}"


def _percent(share: float | None, digits: int = 1) -> str:
    return "—" if share is None else f"{100 * share:.{digits}f} %"


if __name__ == "__main__":
    main()
