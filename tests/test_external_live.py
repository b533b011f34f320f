"""Readings of a meter beside the board as they come in: from a child process, a pipe, a serial line, a socket."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_bundle

from greenup import bundle as packing
from greenup import live, loop, meter_csv
from greenup.cli import run
from greenup.recipe import MeasureSpec
from greenup.signing import find_key
from greenup_runtime.energy import burst_energy
from greenup_runtime.errors import DataFault, GreenupError, UsageFault
from greenup_runtime.files import write_json

PRINTS = """
import sys, time
print("Voltage [V],Current (mA)", flush=True)
while True:
    time.sleep(0.05)
    print("5.0,400", flush=True)
"""


def python(text: str) -> str:
    return f"{shlex.quote(sys.executable)} -u -c {shlex.quote(text)}"


def recorded(source: live.Source, columns: str | None = None, count: int = 20) -> live.Recording:
    """A source recorded until so many lines have come, or it ended."""
    with live.recording(source, columns) as record:
        give_up_s = time.monotonic() + 20
        while len(record.lines) + record.together < count and not record.ended and record.fault is None:
            assert time.monotonic() < give_up_s
            time.sleep(0.01)
    return record


def test_a_commands_lines_are_stamped_as_they_arrive_and_kept_as_a_csv(tmp_path: Path) -> None:
    before_s = time.monotonic()
    record = recorded(live.started(python(PRINTS)), count=12)
    record.save(tmp_path / "x/external.csv")
    found = meter_csv.read(tmp_path / "x/external.csv")
    assert before_s < found.samples[0, 0] < found.samples[-1, 0] < time.monotonic()
    np.testing.assert_allclose(found.samples[:, 1], 2.0)
    assert found.columns == {"time_s": "s", "Voltage [V]": "V", "Current (mA)": "mA"}


def test_the_command_and_what_it_started_end_with_the_recording(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    noting = f"import os, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
    record = recorded(live.started(f"{python(noting + PRINTS)} | cat"))
    assert len(record.lines) >= 20
    give_up_s = time.monotonic() + 10
    while Path(f"/proc/{pid.read_text().strip()}").exists():
        assert time.monotonic() < give_up_s, "the command goes on"
        time.sleep(0.02)


def over_pipe(write: Callable[[int], None], folder: Path) -> live.Source:
    os.mkfifo(folder / "pipe")
    threading.Thread(target=lambda: write(os.open(folder / "pipe", os.O_WRONLY)), daemon=True).start()
    return live.opened(str(folder / "pipe"))


def over_serial_line(write: Callable[[int], None], _folder: Path) -> live.Source:
    master, slave = pty.openpty()
    source = live.opened(f"{os.ttyname(slave)}@115200")
    threading.Thread(target=write, args=(master,), daemon=True).start()
    return source


def over_tcp(write: Callable[[int], None], _folder: Path) -> live.Source:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        write(connection.detach())
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    return live.opened(f"tcp://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("way", [over_pipe, over_serial_line, over_tcp])
def test_a_stream_without_a_header_takes_the_columns_that_were_named(
    way: Callable[..., live.Source], tmp_path: Path
) -> None:
    def write(handle: int) -> None:
        for line in (b"50\n", b"garb\xff,,age\n", b"\n", b"overload\n", *[b"2500\r\n"] * 15):
            os.write(handle, line)
            time.sleep(0.01)

    record = recorded(way(write, tmp_path), "power_mW", 16)
    assert {fields[0] for _, fields in record.lines} <= {"50", "2500"}
    assert record.lines[-1][1] == ["2500"]
    # A busy machine may read two lines in one piece.
    facts = record.facts()
    assert (facts["readings"] + facts["together"], facts["unread"]) == (16, 2)


@pytest.mark.parametrize(
    ("script", "columns", "message"),
    [
        ("print(1.5)", None, "nothing says what they are"),
        ("print('temperature')", None, "columns 'temperature' are not a meter's"),
        ("print('power_MW')", None, "unit of column 'power_MW'"),
        ("print('power_W'); print('x'); raise SystemExit(7)", None, "exit code 7, 1 lines were none"),
        ("pass", "colour", "columns 'colour' are not a meter's"),
    ],
)
def test_what_is_no_meter_is_refused_before_a_trial_is_begun(
    script: str, columns: str | None, message: str
) -> None:
    with (
        pytest.raises(GreenupError, match=re.escape(message)),
        live.recording(live.started(python(script)), columns),
    ):
        pytest.fail("a trial would have begun")


def test_readings_that_a_buffer_held_back_are_refused(tmp_path: Path) -> None:
    script = (
        "import time; print('power_W', flush=True)\nwhile True: time.sleep(0.05); print('2\\n' * 5, flush=True)"
    )
    record = recorded(live.started(python(script)), count=6)
    with pytest.raises(DataFault, match="in one piece") as fault:
        record.save(tmp_path / "x.csv")
    assert "stdbuf" in str(fault.value.hint)


def test_places_that_cannot_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (str(tmp_path / "absent"), "tcp://127.0.0.1:1", "tcp://127.0.0.1"):
        with pytest.raises(UsageFault, match="cannot be opened"):
            live.opened(place)
    (tmp_path / "x.csv").write_text("power_W\n1\n")
    with pytest.raises(UsageFault, match="finished file"), live.recording(live.opened(str(tmp_path / "x.csv"))):
        pytest.fail("a trial would have begun")
    assert run(["measure", str(tmp_path), "--external", "-", "--external-command", "true"]) == 2
    assert "name two meters" in capsys.readouterr().err


# A meter of the board's: 2 W, and 3 W more for each processor that the runner's own job keeps busy.
METER = """
import pathlib, time
def busy_s():
    total = 0
    for task in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"job\\0run" in task.read_bytes() and HOME in task.read_bytes():
                total += int((task.parent / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e9
HOME = %r
print("power_W", flush=True)
at_s, busy = time.monotonic(), busy_s()
while True:
    time.sleep(0.04)
    now_s, now = time.monotonic(), busy_s()
    print(2 + 3 * max(0, now - busy) / (now_s - at_s), flush=True)
    at_s, busy = now_s, now
"""


@pytest.mark.slow
def test_a_trial_gets_its_joules_from_a_command_beside_the_board(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    small_bundle.make(out / "bundle", widths={"fp32": 4000, "pruned": 1000})
    packing.sign(out / "bundle", find_key())
    spec = MeasureSpec(burst_s=0.5, max_burst_s=1.0, warmup_s=0.2, max_warmup_s=0.2, pilot_rounds=4, max_rounds=4)
    write_json(out / "measure.json", {"seed": 0, "measure": spec.model_dump(mode="json")})
    command = python(METER % os.environ["GREENUP_RUNNER_HOME"].encode())
    argv = ["measure", str(out), "--meter", "none", "--external-command", command, "--quiet", "--json"]
    assert run(argv) == 0
    result = json.loads(capsys.readouterr().out)
    assert all("aligned by load pattern to ± " in row["energy_j"]["source"] for row in result["variants"])
    assert result["conditions"]["overhead"]["gross_j"]["value"] > 0
    _, trial = loop.open_trial(out / "trials" / result["trial"])
    facts = trial.facts["external"]
    assert facts["live"]["readings"] > 100
    assert (out / "trials" / facts["trial"] / "external.csv").exists()
    for burst in trial.bursts:
        window = burst_energy(trial, burst)
        assert window.low_j is not None
        assert window.high_j is not None
        true_j = 2 * burst.duration_s + 3 * burst.cpu_s
        assert window.low_j - 0.03 * true_j <= true_j <= window.high_j + 0.03 * true_j
