"""What the benchmarks make of their rows: figures over seeds, goals, tables."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import combinations  # noqa: E402
import compression  # noqa: E402
import contenders  # noqa: E402
import present  # noqa: E402
import serving_clients  # noqa: E402
import serving_judge  # noqa: E402
import serving_soak  # noqa: E402
import verdicts  # noqa: E402

from greenup_runtime.errors import DeviceFault  # noqa: E402

CASES = 200


def row(contender: str, seed: int, right: int, times: dict[str, float], variant: str = "") -> dict[str, Any]:
    figure = {base: {"value": value, "low": 0.9 * value, "high": 1.1 * value} for base, value in times.items()}
    return {
        **{"set": "plaid", "preset": "base", "seed": seed, "contender": contender, "rounds": 8},
        **{"variant": variant or contender, "validation_accuracy": 0.9, "notes": []},
        **{"latency_s": {"value": 1e-4, "low": 1e-4, "high": 1e-4}, "over": figure},
        **{"speedup": figure.get("fp32"), "greenup": None, "greenup_missing": "needs a meter"},
        **{"test_accuracy": {"value": right / CASES}, "right": "1" * right + "0" * (CASES - right)},
    }


def seeds(count: int, speedup: float = 5.0, loses: int = 0) -> list[dict[str, Any]]:
    rows = []
    for seed in range(count):
        right = 190 - seed
        rows.append(row("fp32", seed, right, {"PyTorch eager": 2.0}))
        chosen = {"fp32": speedup + 0.1 * seed, "PyTorch eager": 11.0, "Olive int8": 4.0, "MiniRocket (aeon)": 9.0}
        for label in ("chosen", "chosen, int8"):
            rows.append(row(label, seed, right - loses, chosen, "l1-h1-p2-int8"))
        rows.append({**row("Olive int8", seed, right, {"fp32": 0.5})})
        rows.append(row("MiniRocket (aeon)", seed, 180, {"fp32": 0.1}))
        rows.append(row("QUANT (aeon)", seed, 199, {"fp32": 0.01}))
    return rows


def met(rows: list[dict[str, Any]]) -> dict[str, bool | None]:
    return {goal["goal"]: goal["met"] for goal in verdicts.goals(rows)}


def test_goals_are_met_where_speed_and_accuracy_hold() -> None:
    found = met(seeds(5))
    assert found["chosen ≥ 4× fp32, mean loss ≤ 0.5 points, bound ≤ 2"] is True
    assert found["chosen ≥ 10× PyTorch eager"] is True
    assert found["chosen ≥ 3× Olive's int8"] is True
    assert found["accuracy of the chosen variant ≥ MiniRocket (aeon)'s"] is True
    assert found["accuracy of the chosen variant ≥ QUANT (aeon)'s"] is False
    assert found["time per case ≤ 1/5 of MiniRocket (aeon)'s"] is True


def test_speed_alone_does_not_meet_the_goal() -> None:
    found = met(seeds(5, loses=4))
    assert found["chosen ≥ 4× fp32, mean loss ≤ 0.5 points, bound ≤ 2"] is False
    assert met(seeds(2, speedup=0.5))["chosen never slower than fp32"] is False


def test_what_could_not_be_made_is_told_and_no_goal() -> None:
    rows = [row for row in seeds(1) if row["contender"] != "Olive int8"]
    head = {"set": "plaid", "preset": "base", "seed": 0, "validation_accuracy": 0.9}
    rows.append({**head, "contender": "Olive int8", "failed": "failed: so"})
    for each in rows:
        each.get("over", {}).pop("Olive int8", None)
    goal = next(each for each in verdicts.goals(rows) if "Olive" in each["goal"])
    assert goal["met"] is None
    assert goal["reached"] == "failed: so"


def test_loss_is_paired_over_seeds_from_three_on_and_over_cases_below() -> None:
    lost = verdicts.loss(verdicts.groups(seeds(5, loses=2))["plaid", "base"])
    assert lost["over"] == "seeds"
    assert lost["points"] == pytest.approx(1.0)
    assert lost["bound_points"] == pytest.approx(1.0)
    few = verdicts.loss(verdicts.groups(seeds(2, loses=2))["plaid", "base"])
    assert few["over"] == "cases"
    assert few["bound_points"] > few["points"] == pytest.approx(1.0)


def test_a_ratio_over_seeds_is_a_geometric_mean_with_its_interval() -> None:
    rows = [row("chosen", seed, 1, {"fp32": value}) for seed, value in enumerate((2.0, 8.0))]
    assert verdicts.ratio(rows, "fp32") == pytest.approx({"value": 4.0, "low": 1.8, "high": 8.8})
    three = verdicts.ratio([*rows, row("chosen", 2, 1, {"fp32": 4.0})], "fp32")
    assert three is not None
    assert three["value"] == pytest.approx(4.0)
    assert three["low"] < 2
    assert three["high"] > 8


def test_tables_hold_every_contender_and_goal(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs/tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    rows = seeds(3)
    facts = {"cpu": "some CPU", "onnxruntime": "1.32.0", "load_at_start": 0.5, "cores": 2}
    found = {"command": "python benchmarks/compression.py", "quick": False, "conditions": facts, "rows": rows}
    found |= {"summary": verdicts.summary(rows), "goals": verdicts.goals(rows)}
    page = tables.compression(found, "compression")
    assert "| plaid, base, 3 |" in page
    assert all(goal["goal"] in page for goal in found["goals"])
    assert "5.10" in tables.compression_short(found, "compression")
    present.show(found)
    shown = capsys.readouterr().out
    assert "chosen" in shown
    assert "MISSED" in shown


def test_useful_combinations_come_first_and_the_reported_preset_has_more_seeds() -> None:
    found = list(combinations.ordered(combinations.SETS, combinations.PRESETS))
    assert [one.seed for one in found[:9]] == [0] * 9
    assert {one.preset for one in found[:3]} == {"base"}
    assert len(found) == 3 * (5 + 2 + 2)


def test_a_presets_own_training_is_not_the_examples() -> None:
    own = combinations.Combination("plaid", "t1", 3).recipe()
    assert own.model.preset == "t1"
    assert own.train.epochs == 60
    assert own.seed == 3
    assert combinations.Combination("plaid", "t1", 3).recipe(quick=True).train.epochs < 10


def test_the_shown_command_names_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--quick", "--json", "/some/where.json", "--out=/else", "--seeds", "2"])
    assert combinations.command_line("paper.py") == "python benchmarks/paper.py --quick --seeds 2"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("l1-h2-p2-int8", {"distilled": "l1-h2-p2", "chosen, int8": "l1-h2-p2-int8", "chosen": "l1-h2-p2-int8"}),
        ("pruned", {"chosen, int8": "pruned-int8", "chosen": "pruned"}),
        ("fp32", {"chosen, int8": "int8", "chosen": "fp32"}),
    ],
)
def test_what_each_way_gains_stands_apart(chosen: str, expected: dict[str, str]) -> None:
    names = ["fp32", "int8", "pruned", "pruned-int8", "l1-h2-p2", "l1-h2-p2-int8"]
    found = contenders._own(names, chosen)
    assert {label: found[label] for label in expected} == expected
    assert ("distilled" in found) == ("distilled" in expected)


def test_an_answer_is_whole_when_its_body_is() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert serving_clients.whole(head[:20]) is None
    assert serving_clients.whole(head) == len(head) + 5
    with pytest.raises(OSError, match="without its length"):
        serving_clients.whole(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")


def test_a_leak_or_a_slow_down_misses_the_soak_goal() -> None:
    steady = {"value": 0.0, "low": -0.01, "high": 0.01}
    held = {"inferences": 1000, "grown_bytes": 1000, "grown_descriptors": 0, "latency_drift": steady}
    assert serving_judge._soak(held)[2] is True
    assert serving_judge._soak({**held, "grown_bytes": 5e6})[2] is False
    assert serving_judge._soak({**held, "grown_descriptors": 1})[2] is False
    rng = np.random.default_rng(0)
    slower = serving_soak.drift((1e-3 * np.exp(np.linspace(0, 0.3, 16) + rng.normal(0, 0.01, 16))).tolist())
    assert slower["value"] == pytest.approx(0.3, abs=0.03)
    assert serving_judge._soak({**held, "latency_drift": slower})[2] is False


def test_a_search_waits_for_somebody_elses_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers: list[Any] = [DeviceFault("another measurement runs on this device", "wait"), "found"]

    def tune(*_: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, DeviceFault):
            raise answer
        return answer

    monkeypatch.setattr(compression, "tune", tune)
    monkeypatch.setattr(compression, "_WAIT_S", 0.0)
    one = combinations.Combination("plaid", "base", 0)
    arguments = argparse.Namespace(quick=True, out=tmp_path, folds=0, minutes=1.0, data_dir=None)
    assert compression.searched(one, arguments, lambda *_: None)[1] == "found"
    answers.append(DeviceFault("the board is gone", "look for it"))
    with pytest.raises(DeviceFault, match="gone"):
        compression.searched(one, arguments, lambda *_: None)
