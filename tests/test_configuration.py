"""Settings by flags, environment, file and default: who wins, what is refused, what is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from greenup_runtime import configuration, kinds
from greenup_runtime.cli import run
from greenup_runtime.configuration import all_keys, load
from greenup_runtime.errors import UsageFault
from greenup_runtime.service.defaults import default_toml
from greenup_runtime.settings import RunnerSettings, ServerSettings


def write(folder: Path, text: str) -> Path:
    path = folder / "runner.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    found = load(environment={})
    assert found.settings == RunnerSettings()
    assert set(found.origin.values()) == {"default"}
    assert found.file is None


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\nport = 1\nthreads = 2\nhost = '0.0.0.0'\n")
    environment = {"GREENUP_RUNNER_SERVER_PORT": "3", "GREENUP_RUNNER_SERVER_THREADS": "4"}
    found = load(file, environment, {"server.port": "5", "server.threads": None})
    server = found.settings.server
    assert (server.port, server.threads, server.host, server.drain_s) == (5, 4, "0.0.0.0", 10.0)
    assert found.origin["server.port"] == "--port"
    assert found.origin["server.threads"] == "GREENUP_RUNNER_SERVER_THREADS"
    assert found.origin["server.host"] == str(file)
    assert found.origin["server.drain_s"] == "default"


def test_all_faults_are_said_at_once_each_with_its_place(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'log_levl = "info"\nlog_format = "xml"\nserver = 3\n'
        "[records]\nevery = 0\nmode = 'sometimes'\n[shipp]\nurl = 'x'\n"
        "[stream]\nfollow = 'yes'\nrate_hz = nan\nmqtt_qos = 3\nwindow = 1.5\nsource = 7\n",
    )
    environment = {"GREENUP_RUNNER_SERVER_PRT": "1", "GREENUP_RUNNER_SERVER_PORT": "x"}
    with pytest.raises(UsageFault) as caught:
        load(file, environment, {"stream.overflow": "burst"})
    assert caught.value.exit_code == 2
    first, *faults = caught.value.message.split("\n  ")
    assert first == "the settings have 14 faults:"
    assert [fault.removeprefix(f"{file}: ") for fault in faults] == [
        "log_levl is no setting; did you mean log_level?",
        'log_format: "xml" is none of text, json',
        "server is a table, write [server]",
        "records.every: 0 is out of range: 1 or more",
        'records.mode: "sometimes" is none of each, every, minute, off',
        "[shipp] is no table; did you mean [ship]?",
        'stream.follow: "yes" is neither true nor false',
        "stream.rate_hz: nan is not finite",
        "stream.mqtt_qos: 3 is out of range: from 0 to 2",
        "stream.window: 1.5 is not a whole number",
        "stream.source: 7 is not text",
        "GREENUP_RUNNER_SERVER_PRT names no setting; did you mean GREENUP_RUNNER_SERVER_PORT?",
        'GREENUP_RUNNER_SERVER_PORT: "x" is not a whole number',
        '--overflow: "burst" is none of auto, wait, drop',
    ]


def test_variables_that_are_no_settings_are_left_alone() -> None:
    names = {"GREENUP_RUNNER_HOME": "/x", "GREENUP_RUNNER_ROOT": "/y", "GREENUP_RUNNER": "z", "OTHER": "1"}
    assert load(environment=names).settings == RunnerSettings()


def test_files_are_relative_to_the_settings_and_nothing_is_the_empty_text(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\ntoken_file = 'token'\nsocket = ''\n")
    found = load(file, {"GREENUP_RUNNER_SHIP_CA_FILE": "ca.pem"})
    assert found.settings.server.token_file == tmp_path / "token"
    assert found.settings.server.socket is None
    assert found.settings.ship.ca_file == Path("ca.pem")


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("0", False), ("TRUE", True), ("off", False)])
def test_truth_in_the_environment(text: str, value: bool) -> None:
    assert load(environment={"GREENUP_RUNNER_SERVER_ALLOW_UNSIGNED": text}).settings.server.allow_unsigned is value


def test_the_usual_file_is_the_named_one_else_the_users(tmp_path: Path) -> None:
    (tmp_path / "greenup-runner").mkdir()
    write(tmp_path / "greenup-runner", "[server]\nport = 7\n")
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert load(environment=environment).settings.server.port == 7
    named = write(tmp_path, "[server]\nport = 8\n")
    assert load(environment={**environment, "GREENUP_RUNNER_CONFIG": str(named)}).settings.server.port == 8


@pytest.mark.parametrize(
    ("text", "message"), [("[server\n", "is no TOML"), (None, "cannot be read: No such file or directory")]
)
def test_a_file_that_is_none_is_a_fault_of_usage(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "runner.toml" if text is None else write(tmp_path, text)
    with pytest.raises(UsageFault, match=message):
        load(file, {})


def leaves(kind: object, before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value = getattr(kind, field.name)
        found |= leaves(value, f"{before}{field.name}.") if is_dataclass(value) else {before + field.name: value}
    return found


def test_every_field_of_every_table_is_a_key_that_a_file_can_set(tmp_path: Path) -> None:
    """Written as TOML and read again every default is itself, so no field has a type that cannot be told."""
    assert {path: key.default for path, key in all_keys().items()} == leaves(RunnerSettings())
    lines = default_toml().splitlines()
    uncommented = "\n".join(line[1:] if line.startswith("#") and " = " in line else line for line in lines)
    explained = "\n".join(line for line in uncommented.splitlines() if not line.startswith((" ", "#")))
    found = load(write(tmp_path, explained), {})
    assert found.settings == RunnerSettings()
    assert set(found.origin.values()) == {str(tmp_path / "runner.toml")}


def test_the_default_file_sets_nothing(tmp_path: Path) -> None:
    assert set(load(write(tmp_path, default_toml()), {}).origin.values()) == {"default"}


def test_show_says_where_each_value_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENUP_RUNNER_SERVER_PORT", "9")
    file = write(tmp_path, "[server]\ntoken_file = '/run/secrets/token'\n")
    assert run(["config", "show", "--origin", "--config", str(file)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["port", "=", "9", "#", "GREENUP_RUNNER_SERVER_PORT"] in lines
    assert ["token_file", "=", '"/run/secrets/token"', "#", str(file)] in lines
    assert ["max_connections", "=", "256", "#", "default"] in lines
    assert run(["--json", "config", "show"]) == 0
    assert json.loads(capsys.readouterr().out)["origin"]["server.port"] == "GREENUP_RUNNER_SERVER_PORT"


def test_what_show_prints_can_be_used_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "[server]\nport = 9\nhost = 'a\"b'\n")
    run(["config", "show", "--origin", "--config", str(file)])
    again = load(write(tmp_path, capsys.readouterr().out), {})
    assert again.settings.server == replace(ServerSettings(), port=9, host='a"b')


def test_check_is_quiet_about_a_good_file_and_loud_about_a_bad_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_folders: Path
) -> None:
    assert run(["config", "check", str(write(tmp_path, "[server]\nport = 9\n"))]) == 0
    assert "server.port" in capsys.readouterr().out
    assert run(["config", "check", str(write(tmp_path, "[server]\nprt = 9\n"))]) == 2
    assert "did you mean server.port?" in capsys.readouterr().err
    assert not (own_folders / "greenup_runner_home").exists(), "a look at settings makes no store"


def test_types_are_said_in_words() -> None:
    assert {kinds.words_of(key.hint) for key in all_keys().values()} >= {"file or none", "whole number", "text"}


def test_reading_settings_loads_neither_numpy_nor_onnxruntime() -> None:
    code = "import greenup_runtime.configuration, sys; print(sorted({'numpy', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert configuration.PREFIX == "GREENUP_RUNNER_"
