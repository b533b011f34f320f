"""A bench meter's CSV is laid onto a trial: offset, drift and noise are known beforehand."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from simulated_board import Board, Load, Setting

from greenup import external
from greenup.gpsup import compare
from greenup_runtime.energy import burst_energy
from greenup_runtime.errors import DataFault, UsageFault
from greenup_runtime.measure import Plan, run_trial
from greenup_runtime.meters import Chosen
from greenup_runtime.trial import Trial

OFFSET_S, DRIFT = 137.25, 80e-6
LOADS = {"fp32": Load(0.05, 3.0), "int8": Load(0.03, 2.5)}


def measured(*, pattern: bool = True) -> tuple[Trial, Board]:
    board = Board(Setting("a board without a sensor", 10, 0.05, drift=0.01, spread=0.005), seed=3)
    board.clock.sleep(20.0)
    plan = Plan(variants=tuple(LOADS), warmup_s=0.2, pilot_rounds=4, max_rounds=4, pattern=pattern, pattern_hz=10)
    engines = {name: board.infer(load) for name, load in LOADS.items()}
    facts = {"bundle": "b" * 64, "device_id": "d"}
    trial = run_trial(plan, engines, Chosen(None, ("no sensor",)), board.clock, lambda *_: None, facts)
    board.clock.sleep(20.0)
    return trial, board


def write_csv(path: Path, board: Board, rate_hz: float = 10.0, noise_w: float = 0.05, kind: str = "power") -> Path:
    """The board's power as a meter with a clock of its own sees it: each row is the mean since the last one."""
    rng = np.random.default_rng(1)
    device_s = np.arange(1.0, board.clock.now() - 1.0, 1 / rate_hz)
    joules = np.array([board.energy_j(float(at)) for at in device_s])
    clock_s = (device_s[1:] - OFFSET_S) / (1 + DRIFT)
    watts = np.diff(joules) * rate_hz + rng.normal(0, noise_w, device_s.size - 1)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        if kind == "power":
            rows.writerow(["Time [s]", "Power [W]"])
            rows.writerows([f"{at:.4f}", f"{power:.3f}"] for at, power in zip(clock_s, watts, strict=True))
        else:
            rows.writerow(["timestamp", "voltage_V", "current_A"])
            rows.writerows(
                [f"{at:.4f}", "5.000", f"{power / 5:.4f}"] for at, power in zip(clock_s, watts, strict=True)
            )
    return path


@pytest.fixture(scope="module")
def seen() -> tuple[Trial, Board]:
    return measured()


@pytest.mark.parametrize("kind", ["power", "volts and amperes"])
def test_offset_and_drift_are_found_within_the_stated_error(
    tmp_path: Path, seen: tuple[Trial, Board], kind: str
) -> None:
    trial, board = seen
    found = external.apply(trial, write_csv(tmp_path / "usb.csv", board, kind=kind)).facts["external"]
    middle_s = trial.bursts[len(trial.bursts) // 2].start_s
    placed_s = found["offset_s"] + (1 + found["drift"]) * (middle_s - OFFSET_S) / (1 + DRIFT)
    assert abs(placed_s - middle_s) <= found["error_s"] < 0.05
    assert found["drift"] == pytest.approx(DRIFT, abs=2 * found["error_s"] / (middle_s - 20))


def test_joules_of_the_bursts_are_the_boards(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    trial, board = seen
    metered = external.apply(trial, write_csv(tmp_path / "usb.csv", board))
    for burst in metered.bursts:
        window = burst_energy(metered, burst)
        assert window.energy_j == pytest.approx(
            board.energy_j(burst.end_s) - board.energy_j(burst.start_s), rel=0.01
        )
        assert window.updates >= 90
    greenup = compare(metered)["int8"].greenup
    assert greenup is not None
    assert greenup.value == pytest.approx(5 / 3 * 5 / 4.5, rel=0.02)
    assert metered.meter is not None
    assert "aligned by load pattern to ±" in metered.meter.source


def test_a_record_without_the_pattern_is_refused(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    _, board = seen
    plain, _ = measured(pattern=False)
    path = write_csv(tmp_path / "usb.csv", board)
    with pytest.raises(UsageFault, match="played no load pattern"):
        external.apply(plain, path)
    noise = np.random.default_rng(0).normal(3, 1, 6000)
    path.write_text("time,power\n" + "\n".join(f"{i / 10},{value}" for i, value in enumerate(noise)))
    with pytest.raises(DataFault, match="pattern is not in the meter's record"):
        external.apply(seen[0], path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("time,current\n" + "\n".join(f"{i},1" for i in range(20)), "no column for voltage"),
        ("time,power\n" + "\n".join("1,1" for _ in range(20)), "time does not rise"),
        ("time,power\n" + "\n".join(f"{i},x" for i in range(20)), "could not convert"),
        ("time,power\n1,2\n2,2\n", "too few"),
    ],
)
def test_another_file_is_refused_with_the_form_it_needs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataFault, match=message) as fault:
        external.read(tmp_path / "x.csv")
    assert "time column" in str(fault.value.hint)
