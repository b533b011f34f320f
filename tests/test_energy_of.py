"""The energy of any command, on the device and on the host: its exit code passed on, its joules or the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from boards import ina, rapl

from greenup.cli import run as host
from greenup_runtime import energy_of, meters, wire
from greenup_runtime.cli import _parser, run
from greenup_runtime.clock import SystemClock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import MeterOptions


def test_a_power_meter_gives_joules_with_source_scope_and_coverage(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ina.hwmon(tmp_path, "ina226", shunt_uohm=2000)
    arguments = [
        "--root",
        str(tmp_path),
        "--json",
        "energy-of",
        "--",
        "sh",
        "-c",
        "sleep 0.5; echo output; exit 7",
    ]
    assert run(arguments) == 7
    out, err = capfd.readouterr()
    answer = json.loads(out)
    assert answer["energy_j"] == pytest.approx(2.56 * answer["duration_s"], rel=0.02)
    assert answer["mean_w"] == pytest.approx(2.56, rel=0.02)
    assert (answer["meter"], answer["exit_code"]) == ("ina", 7)
    assert answer["source"].startswith("ina226 1-0040 (hwmon), shunt 2 mΩ")
    assert 0 < answer["coverage"] <= 1
    assert err == "output\n"


def test_a_counter_gives_what_it_moved_by(tmp_path: Path) -> None:
    zones = rapl.amd(tmp_path)
    # This counter stands still at both edges: open is only the moment between a look at the clock and a reading.
    script = f"import time; time.sleep(0.4); open({str(zones['0'] / 'energy_uj')!r}, 'w').write('2500900')"
    answer = energy_of.energy_of([sys.executable, "-c", script], "rapl", [], MeterOptions(root=tmp_path))
    assert answer["energy_j"] == pytest.approx(2.5, rel=0.002)
    assert answer["low_j"] <= 2.5 <= answer["high_j"]
    assert answer["scope"] == "package"


def test_without_a_meter_there_is_a_reason_and_the_command_still_runs(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["--root", str(tmp_path), "energy-of", "--", "sh", "-c", "echo output; exit 5"]) == 5
    out, err = capfd.readouterr()
    assert out == "output\n"
    assert "no energy figure (" in err
    assert "rapl: no RAPL" in err


def test_an_estimate_is_refused_and_never_taken(tmp_path: Path) -> None:
    options = MeterOptions(root=tmp_path, estimate={"active_w_per_core": 1, "idle_w": 1, "source": "a test"})
    assert energy_of.energy_of(["true"], "auto", ["estimate"], options)["energy_j"] is None
    with pytest.raises(MeterFault, match="another command's"):
        energy_of.energy_of(["true"], "estimate", [], options)


def test_a_counter_that_fails_meanwhile_gives_no_number(tmp_path: Path) -> None:
    zones = rapl.amd(tmp_path)
    answer = energy_of.energy_of(["rm", str(zones["0"] / "energy_uj")], "rapl", [], MeterOptions(root=tmp_path))
    assert answer["energy_j"] is None
    assert "energy_uj cannot be read" in answer["reason"]
    assert "no energy figure" in energy_of.sentence(answer)


def test_a_command_that_is_not_there_or_dies_by_a_signal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["energy-of", "--meter", "none", "--", str(tmp_path / "absent")]) == 2
    assert "cannot be started" in capsys.readouterr().err
    assert run(["energy-of", "--meter", "none", "--", "sh", "-c", "kill -9 $$"]) == 137
    assert run(["energy-of"]) == 2
    assert "needs a command" in capsys.readouterr().err


def test_the_host_has_the_same_verb(capfd: pytest.CaptureFixture[str]) -> None:
    assert_exit(["energy-of", "--meter", "fake", "--json", "--", "sh", "-c", "exit 3"], 3)
    answer = json.loads(capfd.readouterr().out)
    assert answer["schema"] == "greenup.energy-of/1"
    assert answer["simulated"]
    assert answer["energy_j"] > 0
    assert_exit(["energy-of", "--meter", "none", "--", "sh", "-c", "echo mine"], 0)
    out, err = capfd.readouterr()
    assert out == "mine\n"
    assert "no meter: none was asked for" in err


def assert_exit(argv: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as left:
        host(argv)
    assert left.value.code == code


def test_the_listing_shows_rails_in_watts_and_reasons(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ina.ina3221(tmp_path)
    rapl.client(tmp_path)
    assert run(["meters", "--root", str(tmp_path), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["meters"]}
    assert rows["ina"]["rails"] == pytest.approx({"CH1": 2.5, "CH2": 0.6592})
    assert set(rows["rapl"]["rails"]) == {"package-0", "package-0/core", "package-0/uncore", "psys"}
    assert rows["rapl"]["power_w"] == 0.0
    assert rows["pmic"]["reason"]
    assert rows["pmic"]["hint"]
    assert run(["--root", str(tmp_path), "meters"]) == 0
    assert "CH1: 2.5\n" in capsys.readouterr().out


def test_the_listing_has_no_line_for_a_hint_that_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"name": name, "usable": False, "reason": "none", "hint": hint}
        for name, hint in (("a", None), ("b", "buy"))
    ]
    monkeypatch.setattr(meters, "survey", lambda *_: rows)
    assert run(["--root", str(tmp_path), "meters"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("hint: ") == 1
    assert "hint: buy" in shown


VERBS = [["hello"], ["status"], ["meters"], ["records"], ["energy-of", "--meter", "none", "--", "true"]]


@pytest.mark.parametrize("argv", VERBS, ids=lambda argv: argv[0])
def test_each_answer_of_the_runner_says_its_schema(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, argv: list[str]
) -> None:
    place = ["--home", str(tmp_path / "home"), "--root", str(tmp_path)]
    assert run([*place, "--json", *argv]) == 0
    assert json.loads(capfd.readouterr().out)["schema"] == f"greenup.runner.{argv[0]}/1"


def test_a_nested_verbs_schema_has_both_words() -> None:
    assert _parser().parse_args(["job", "status", "1"]).schema == "greenup.runner.job.status/1"


def test_the_listing_takes_the_targets_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ina.hwmon(tmp_path)
    tables = json.dumps({"meter_settings": {"ina": {"shunt_ohm": 0.1}}})
    assert run(["--root", str(tmp_path), "--json", "meters", "--settings", tables]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["meters"]}
    assert rows["ina"]["power_w"] == pytest.approx(0.256)
    assert run(["meters", "--settings", "[1]"]) == 2


def test_watching_gives_rate_noise_and_idle_power(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ina.hwmon(tmp_path, "ina226")
    assert run(["--root", str(tmp_path), "--json", "meters", "--watch-s", "0.3"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["meters"]}
    row = rows["ina"]
    assert row["idle_w"] == pytest.approx(2.56)
    assert row["noise_w"] == pytest.approx(0.0, abs=1e-9)
    assert 0 < row["effective_hz"] <= 1 / row["update_s"]


def test_a_host_reads_the_listing_framed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "greenup_runtime.cli", "--root", str(tmp_path), "--framed", "meters"]
    done = subprocess.run(command, capture_output=True, check=True)
    answer = wire.decode(done.stdout).json()
    assert {row["name"] for row in answer["meters"]} >= {"rapl", "ina", "jetson", "pmic"}
    assert "schema" not in answer
    assert SystemClock.now() > 0
