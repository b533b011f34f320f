"""What the rows of compression.py come to over seeds, and whether the goals are met.

A ratio over seeds is a geometric mean. Its interval is Student's t on the seeds' logarithms from three seeds on;
with two it is the range of both seeds' own intervals, with one that seed's own. Accuracy lost is the original's
minus the chosen one's on the same test cases, seed by seed; its one-sided 95 % bound is Student's t over seeds
from three seeds on, else it is over test cases (the mean over seeds is one value per case).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from contenders import CHOSEN, CHOSEN_INT8, DISTILLED, EAGER, MINIROCKET, OLIVE_INT8, QUANT
from scipy import stats

from greenup_runtime.bundle import BASELINE

Row = dict[str, Any]
_ENOUGH_SEEDS = 3
_LOSS_POINTS, _BOUND_POINTS = 0.5, 2.0
_SMALL = {"own": 8.0, "eager": 20.0}
OVER_GOALS = {"t1": _SMALL, "t2": _SMALL, "base": {"own": 4.0, "eager": 10.0}}
OVER_OLIVE = 3.0
CLASSIC_SHARE = 0.2
INT8_ACCURACY = {"refrigeration-devices": 0.56, "plaid": 0.94, "small-kitchen-appliances": 0.83}


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, list[Row]]]:
    """Rows by (set, preset), then by contender: one row per seed."""
    found: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        found.setdefault((row["set"], row["preset"]), {}).setdefault(row["contender"], []).append(row)
    return found


def summary(rows: Sequence[Row]) -> list[Row]:
    """One entry per set and preset."""
    return [
        {
            "set": name,
            "preset": preset,
            "seeds": len(own[BASELINE]),
            "cases": len(own[BASELINE][0]["right"]),
            "loss": loss(own),
            "contenders": {label: _over_seeds(label, each) for label, each in own.items()},
        }
        for (name, preset), own in groups(rows).items()
    ]


def _over_seeds(label: str, rows: list[Row]) -> Row:
    made = [row for row in rows if "failed" not in row]
    if not made:
        return {"failed": rows[0]["failed"]}
    bases = sorted({base for row in made for base in row["over"]})
    return {
        "variants": sorted({row["variant"] for row in made}),
        "latency_s": float(np.median([row["latency_s"]["value"] for row in made])),
        "over": {base: ratio(made, base) for base in bases if base != label},
        "accuracy": mean([row["test_accuracy"]["value"] for row in made]),
        "seeds": len(made),
    }


def ratio(rows: Sequence[Row], base: str) -> dict[str, float] | None:
    """Speedup over `base`, over seeds; None where no seed has it."""
    found = [row["over"][base] for row in rows if row.get("over", {}).get(base)]
    if not found:
        return None
    logs = np.log([each["value"] for each in found])
    middle = float(logs.mean())
    if len(found) < _ENOUGH_SEEDS:
        low, high = min(each["low"] for each in found), max(each["high"] for each in found)
        return {"value": math.exp(middle), "low": low, "high": high}
    half = _t(0.975, len(found)) * float(logs.std(ddof=1)) / math.sqrt(len(found))
    return {"value": math.exp(middle), "low": math.exp(middle - half), "high": math.exp(middle + half)}


def mean(values: Sequence[float]) -> dict[str, float | None]:
    """Mean over seeds; its interval from three seeds on."""
    middle = float(np.mean(values))
    if len(values) < _ENOUGH_SEEDS:
        return {"value": middle, "low": None, "high": None}
    half = _t(0.975, len(values)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return {"value": middle, "low": middle - half, "high": middle + half}


def loss(own: dict[str, list[Row]]) -> Row:
    """Points that the chosen variant loses against `fp32` on test data, paired, with the one-sided bound."""
    chosen = {row["seed"]: _right(row) for row in own[CHOSEN]}
    differences = [_right(row) - chosen[row["seed"]] for row in own[BASELINE]]
    by_seed = [100 * float(each.mean()) for each in differences]
    if len(by_seed) >= _ENOUGH_SEEDS:
        values, over, quantile = np.array(by_seed), "seeds", _t(0.95, len(by_seed))
    else:
        values, over = 100 * np.mean(differences, axis=0), "cases"
        quantile = _t(0.95, len(values))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
    points = float(np.mean(by_seed))
    return {"points": points, "bound_points": points + half, "over": over, "by_seed": by_seed}


def _right(row: Row) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([int(digit) for digit in row["right"]], dtype=float)


def _t(share: float, n: int) -> float:
    return float(stats.t.ppf(share, n - 1))


def goals(rows: Sequence[Row]) -> list[Row]:
    """Every goal of the benchmark: what was reached, and whether that meets it (None: not measured)."""
    found = []
    for entry in summary(rows):
        found += [*_speed_goals(entry)]
    for name in dict.fromkeys(row["set"] for row in rows):
        found += _accuracy_goals(name, rows)
    return found


def _speed_goals(entry: Row) -> list[Row]:
    wanted, chosen = OVER_GOALS[entry["preset"]], entry["contenders"][CHOSEN]
    over, lost = chosen["over"], entry["loss"]
    fits = lost["points"] <= _LOSS_POINTS and lost["bound_points"] <= _BOUND_POINTS
    own = over[BASELINE]
    text = f"{_times(own)}, loses {lost['points']:+.1f} points (bound {lost['bound_points']:+.1f})"
    found = [
        (
            f"chosen ≥ {wanted['own']:g}× fp32, mean loss ≤ {_LOSS_POINTS:g} points, bound ≤ {_BOUND_POINTS:g}",
            text,
            own["value"] >= wanted["own"] and fits,
        ),
        ("chosen never slower than fp32", _times(own), own["high"] >= 1),
        _ratio_goal(f"chosen ≥ {wanted['eager']:g}× PyTorch eager", over.get(EAGER), wanted["eager"]),
        _ratio_goal(f"chosen ≥ {OVER_OLIVE:g}× Olive's int8", over.get(OLIVE_INT8), OVER_OLIVE, entry),
    ]
    head = {"set": entry["set"], "preset": entry["preset"], "seeds": entry["seeds"]}
    return [{**head, "goal": goal, "reached": reached, "met": met} for goal, reached, met in found]


def _ratio_goal(
    goal: str, reached: dict[str, float] | None, wanted: float, entry: Row | None = None
) -> tuple[str, str, bool | None]:
    if reached is None:
        other = entry["contenders"].get(OLIVE_INT8, {}) if entry else {}
        return goal, other.get("failed", "not measured"), None
    return goal, _times(reached), reached["value"] >= wanted


def _times(figure: dict[str, float]) -> str:
    return f"{figure['value']:.2f}× ({figure['low']:.2f} – {figure['high']:.2f})"


def _accuracy_goals(name: str, rows: Sequence[Row]) -> list[Row]:
    """Goals of a set, for its best preset by validation accuracy."""
    own = [row for row in rows if row["set"] == name]
    best = max(
        dict.fromkeys(row["preset"] for row in own),
        key=lambda preset: np.mean([row["validation_accuracy"] for row in own if row["preset"] == preset]),
    )
    by_label = groups(own)[name, best]
    entry = {label: _over_seeds(label, each) for label, each in by_label.items()}
    head = {"set": name, "preset": best, "seeds": len(by_label[BASELINE])}
    found = []
    if name in INT8_ACCURACY:
        wanted = INT8_ACCURACY[name]
        int8 = entry.get(CHOSEN_INT8)
        reached = int8["accuracy"]["value"] if int8 else None
        text = f"{reached:.3f} ({', '.join(int8['variants'])})" if int8 else "no int8 form of the chosen variant"
        found.append((f"accuracy of the chosen structure in int8 ≥ {wanted:g}", text, int8 and reached >= wanted))
    found += _classic_goals(entry)
    return [{**head, "goal": goal, "reached": text, "met": met} for goal, text, met in found]


def _classic_goals(entry: dict[str, Row]) -> list[tuple[str, str, bool | None]]:
    chosen = entry[CHOSEN]
    goals = []
    for label in (MINIROCKET, QUANT):
        goal = f"accuracy of the chosen variant ≥ {label}'s"
        if label not in entry:
            goals.append((goal, "not measured: --classics", None))
            continue
        ours, theirs = chosen["accuracy"]["value"], entry[label]["accuracy"]["value"]
        goals.append((goal, f"{100 * ours:.1f} against {100 * theirs:.1f} %", ours >= theirs))
    goal = f"time per case ≤ 1/{1 / CLASSIC_SHARE:g} of {MINIROCKET}'s"
    if MINIROCKET not in entry:
        return [*goals, (goal, "not measured: --classics", None)]
    over = chosen["over"][MINIROCKET]
    return [*goals, (goal, f"{_times(over)} faster", over["value"] >= 1 / CLASSIC_SHARE)]


GAINS = {"pruned": "pruning", "int8": "quantization", DISTILLED: "distilled into another structure"}
