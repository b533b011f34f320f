"""Events on stderr: their form, their level, and what never gets into them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenup_runtime import logs

AT = datetime(2026, 11, 24, 23, 50, 1, 123000, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.configure()
    yield
    logs.configure()


def test_text_is_one_line_of_words() -> None:
    line = logs.line_of("warning", "stream.dropped", {"windows": 3, "cause": "it was full", "part": 0.25}, AT)
    assert line == '23:50:01.123 warning stream.dropped windows=3 cause="it was full" part=0.25'


def test_json_is_one_object_with_the_offset_of_its_time() -> None:
    logs.configure("json")
    line = json.loads(logs.line_of("error", "x", {"bytes": 7}, AT))
    assert line == {"time": "2026-11-24T23:50:01.123+00:00", "level": "error", "event": "x", "bytes": 7}


def test_under_journald_the_level_is_a_priority_and_the_time_journalds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    logs.configure()
    assert logs.line_of("warning", "x", {}, AT) == "<4>x"


def test_events_below_the_level_are_not_written(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="warning")
    logs.event("info", "quiet")
    logs.event("error", "loud", n=1)
    assert capfd.readouterr().err.endswith("error loud n=1\n")


@given(st.text())
def test_no_field_can_forge_a_second_event(text: str) -> None:
    assert len(logs.line_of("info", "x", {"line": text}, AT).splitlines()) == 1


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "fields",
    [
        {"token": "hunter2hunter2"},
        {"mqtt_password": "hunter2hunter2"},
        {"headers": {"Authorization": "Bearer hunter2hunter2"}},
        {"cause": "GET / with Authorization: Bearer hunter2hunter2 failed"},
        {"url": "mqtt://me:hunter2hunter2@broker/topic"},
        {"tried": ["https://me:hunter2hunter2@host/"]},
        {"cause": ValueError("https://me:hunter2hunter2@host/ is away")},
    ],
)
def test_secrets_stay_out(style: str, fields: dict[str, object]) -> None:
    logs.configure(style)
    line = logs.line_of("info", "x", fields, AT)
    assert "hunter2" not in line
    assert logs.REDACTED in line


def test_names_of_files_with_secrets_are_no_secrets() -> None:
    assert "token_file=/etc/token" in logs.line_of("info", "x", {"token_file": "/etc/token"}, AT)


def test_a_closed_stderr_ends_nobodys_work() -> None:
    code = "import os; os.close(2)\nfrom greenup_runtime import logs\nlogs.event('error', 'x')\nprint('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
