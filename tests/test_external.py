"""A bench meter's CSV is laid onto a trial: offset, drift and noise are known beforehand."""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_bundle

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from simulated_board import Board, Load, Setting

from greenup import external, loop, meter_csv
from greenup.across import compare_trials
from greenup.gpsup import compare
from greenup_runtime import trial as trials
from greenup_runtime.bundle import MANIFEST_NAME
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
        meter_csv.read(tmp_path / "x.csv")
    assert "time column" in str(fault.value.hint)


def write_plain(path: Path, header: str, *columns: float) -> Path:
    """Twelve rows: times 1, 2, 3 …, and the same values in each."""
    values = "".join(f",{value}" for value in columns)
    path.write_text(header + "\n" + "\n".join(f"{i + 1}{values}" for i in range(12)))
    return path


@pytest.mark.parametrize(
    ("header", "factor_s", "factor"),
    [
        ("time,power", 1, 1),
        ("time_ms,power_mW", 1e-3, 1e-3),
        ("Time [µs],Power [kW]", 1e-6, 1e3),
        ("Time (\N{GREEK SMALL LETTER MU}s),Power mW", 1e-6, 1e-3),
        ("elapsed_us,P_mw", 1e-6, 1e-3),
        ("TIME_S,POWER_KW", 1, 1e3),
        ("ms,mW", 1e-3, 1e-3),
        ("t (min),W", 60, 1),
        ("Time stamp (h),Power avg (mW)", 3600, 1e-3),
        ("milliseconds,milliwatts", 1e-3, 1e-3),
        ("timestamp_ms,PowermW", 1e-3, 1e-3),
        ("time,energy", 1, 1),
        ("time,energy_mJ", 1, 1e-3),
        ("time,Energy (mWh)", 1, 3.6),
        ("time,Energy [Wh]", 1, 3600),
        ("time,kWh", 1, 3.6e6),
    ],
)
def test_values_are_scaled_by_the_unit_in_the_header(
    tmp_path: Path, header: str, factor_s: float, factor: float
) -> None:
    found = meter_csv.read(write_plain(tmp_path / "x.csv", header, 250))
    assert found.kind == ("counter" if header.lower().endswith(("energy", "j", "wh", "wh)", "wh]")) else "power")
    np.testing.assert_allclose(found.samples[:, 0], factor_s * np.arange(1, 13))
    np.testing.assert_allclose(found.samples[:, 1], factor * 250)


@pytest.mark.parametrize(
    ("header", "watts"),
    [
        ("time,voltage,current", 5000 * 300),
        ("time,Voltage (mV),Current (mA)", 5 * 0.3),
        ("time,u_V,i_uA", 5000 * 300e-6),
        ("time,mV,Current [µA]", 5 * 300e-6),
    ],
)
def test_voltage_and_current_have_units_of_their_own(tmp_path: Path, header: str, watts: float) -> None:
    found = meter_csv.read(write_plain(tmp_path / "x.csv", header, 5000, 300))
    np.testing.assert_allclose(found.samples[:, 1], watts)


@pytest.mark.parametrize(
    "column", ["power_MW", "Power (dBm)", "POWER_MW", "power_mWh", "Power [10^3 W]", "power (W/h)", "power_factor"]
)
def test_an_unknown_unit_is_refused_with_the_units_known(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataFault) as fault:
        meter_csv.read(write_plain(tmp_path / "x.csv", f"time,{column}", 250))
    assert f"unit of column '{column}' (power) is not known" in fault.value.message
    assert "power: W, mW, kW; energy: J, mJ, Wh, mWh, kWh" in str(fault.value.hint)


def test_a_column_of_another_kind_does_not_hide_the_one_with_a_unit(tmp_path: Path) -> None:
    found = meter_csv.read(write_plain(tmp_path / "x.csv", "time_ms,power_factor,power_mW", 0.9, 250))
    assert found.columns == {"time_ms": "ms", "power_mW": "mW"}
    np.testing.assert_allclose(found.samples[:, 1], 0.25)


def test_iso_dates_need_no_unit(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Time (ISO 8601),mW\n" + "\n".join(f"2025-01-01T00:00:{i:02},250" for i in range(12)))
    found = meter_csv.read(path)
    np.testing.assert_allclose(np.diff(found.samples[:, 0]), 1)
    assert found.columns == {"Time (ISO 8601)": "ISO dates", "mW": "mW"}


def test_milliseconds_and_milliwatts_give_the_same_joules(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    trial, board = seen
    plain = external.apply(trial, write_csv(tmp_path / "si.csv", board))
    rows = list(csv.reader((tmp_path / "si.csv").open()))[1:]
    milli = "\n".join(f"{1e3 * float(at):.1f},{1e3 * float(power):.0f}" for at, power in rows)
    (tmp_path / "milli.csv").write_text("time_ms,power_mW\n" + milli)
    scaled = external.apply(trial, tmp_path / "milli.csv")
    for burst in trial.bursts:
        assert burst_energy(scaled, burst).energy_j == pytest.approx(burst_energy(plain, burst).energy_j, rel=1e-6)
    assert scaled.meter is not None
    assert "milli.csv ('time_ms' in ms, 'power_mW' in mW), aligned by" in scaled.meter.source


def test_a_second_record_does_not_take_the_firsts_place(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    folder = tmp_path / "trials" / seen[0].id
    folder.mkdir(parents=True)
    trials.save(seen[0], folder)
    (folder / MANIFEST_NAME).write_bytes(small_bundle.make(tmp_path / "bundle").manifest_bytes)
    records = [write_csv(tmp_path / f"{kind}.csv", seen[1], kind=kind) for kind in ("power", "volts")]
    copies = [loop.with_external(folder, record) for record in records]
    for record, copy in zip(records, copies, strict=True):
        digest = hashlib.sha256(record.read_bytes()).hexdigest()
        assert copy.name == f"{seen[0].id}-external-{digest[:8]}"
        assert trials.load(copy).facts["external"]["sha256"] == digest


def test_two_records_of_one_trial_are_no_two_measurements(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    trial, board = seen
    copies = [
        external.apply(trial, write_csv(tmp_path / f"{kind}.csv", board, kind=kind)) for kind in ("power", "volts")
    ]
    for pair in (copies, [trial, copies[0]]):
        with pytest.raises(UsageFault, match=f"trial {trial.id} was given twice"):
            compare_trials(pair, "fp32", mix_meters=True)


def test_meters_with_other_columns_are_of_another_kind(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    trial, board = seen
    first, same, other = (
        external.apply(replace(trial, id=name), write_csv(tmp_path / f"{name}.csv", board, kind=kind))
        for name, kind in (("a", "power"), ("b", "power"), ("c", "volts"))
    )
    assert len(compare_trials([first, same], "fp32")) == 4
    with pytest.raises(UsageFault, match=r"external \(supply; Time \[s\], Power \[W\]\) in a-external"):
        compare_trials([first, other], "fp32")


def test_an_equal_measurement_is_not_answered_by_a_copy(tmp_path: Path, seen: tuple[Trial, Board]) -> None:
    folder = tmp_path / "trials" / seen[0].id
    folder.mkdir(parents=True)
    trials.save(seen[0], folder)
    (folder / MANIFEST_NAME).write_bytes(small_bundle.make(tmp_path / "bundle").manifest_bytes)
    copy = loop.with_external(folder, write_csv(tmp_path / "usb.csv", seen[1]))
    request = {"bundle": seen[0].bundle, "plan": seen[0].facts["plan"]}
    assert copy.stat().st_mtime_ns >= folder.stat().st_mtime_ns
    assert loop._earlier(tmp_path / "trials", request, seen[0].device_id) == folder
