"""`greenup-runner stream` as people run it: stdin, files that rotate, serial lines, signals, full queues."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_bundle
from stream_bench import LENGTH, RUNNER, Running, choose, committed, lines, until

from greenup_runtime.cli import run
from greenup_runtime.engine import load
from greenup_runtime.errors import GreenupError
from greenup_runtime.preprocess import InputPolicy, to_windows
from greenup_runtime.recorder import Receipt
from greenup_runtime.settings import StreamSettings
from greenup_runtime.streams.model import Model
from greenup_runtime.streams.pipeline import Reader, Stream
from greenup_runtime.streams.waiting import Waiting


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device") / "home"
    committed(folder)
    return folder


def test_stdin_gives_the_labels_of_the_whole_recording_and_a_summary(home: Path) -> None:
    _, bundle = committed(home)
    recording = np.sin(np.arange(100.0) / 5).round(4)
    with Running(home, "--stride", 8, "--probabilities") as running:
        running.say("volts\n" + "".join(f"{value}\n" for value in recording))
        summary = running.end()
    policy = InputPolicy(1, LENGTH, window=LENGTH, stride=8)
    expected = load(bundle, "fp32").infer(to_windows(recording, policy))
    found = running.labels()
    assert [label["label"] for label in found] == [bundle.classes[index] for index in expected.argmax(axis=1)]
    for label, row in zip(found, expected, strict=True):
        assert label["confidence"] == pytest.approx(row.max(), abs=1e-5)
        assert list(label["probabilities"]) == list(bundle.classes)
    assert (summary["samples"], summary["garbage_lines"], summary["classified"]) == (100, 1, len(expected))
    assert sum(summary["labels"].values()) == len(expected)


def test_a_file_with_times_is_replayed_and_its_labels_carry_its_times(home: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "samples.csv", tmp_path / "labels.jsonl"
    file.write_text("".join(f"{1_700_000_000 + number / 10},{number}\n" for number in range(LENGTH * 2)))
    with Running(home, file, "--output", out, "--rate-hz", 500) as running:
        running.end()
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert (first["start_s"], first["end_s"]) == (1_700_000_000.0, 1_700_000_003.1)
    assert first["time"] == "2023-11-14T22:13:23.100+00:00"
    assert second["start_s"] == 1_700_000_003.2


def test_labels_as_text(home: Path) -> None:
    with Running(home, "--labels", "text") as running:
        running.say(lines(LENGTH))
        running.end()
        (line,) = running._out.read_text().splitlines()
    time, label, confidence = line.split("  ")
    assert time.endswith("+00:00")
    assert label in small_bundle.CLASSES
    assert 0 < float(confidence) <= 1


def test_a_followed_file_survives_rotation_and_truncation(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "sensor.log"
    with Running(home, file, "--follow", "--from-start") as running:
        running.await_event("stream.file_awaited")
        file.write_text(lines(LENGTH))
        running.await_labels(1)
        file.rename(tmp_path / "sensor.log.1")
        with (tmp_path / "sensor.log.1").open("a") as old:
            old.write(lines(LENGTH - 1))
        file.write_text(lines(LENGTH + 1))
        running.await_labels(3)
        os.truncate(file, 0)
        running.await_event("stream.file_truncated")
        with file.open("a") as same:
            same.write(lines(LENGTH))
        running.await_labels(4)
        summary = running.end(signal.SIGTERM)
    assert (summary["rotations"], summary["truncations"], summary["classified"]) == (1, 1, 4)


def test_following_begins_at_the_end_of_what_is_there(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "sensor.log"
    file.write_text(lines(LENGTH * 3))
    with Running(home, file, "--follow") as running:
        running.await_event("stream.start")
        until(lambda: f"{file}" in open_files(running.process.pid), "the open file")
        with file.open("a") as same:
            same.write(lines(LENGTH))
        running.await_labels(1)
        assert running.end(signal.SIGTERM)["samples"] == LENGTH


def open_files(pid: int) -> set[str]:
    return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}


@pytest.fixture
def line() -> Iterator[tuple[int, Path]]:
    """A pair of pseudo terminals: what is written to one end is what a sensor sends."""
    controller, terminal = os.openpty()
    tty.setraw(terminal)
    yield controller, Path(os.ttyname(terminal))
    for descriptor in (controller, terminal):
        os.close(descriptor)


def test_a_serial_line(home: Path, line: tuple[int, Path]) -> None:
    pytest.importorskip("serial")
    controller, port = line
    with Running(home, f"serial:{port}", "--serial-baud", 9600) as running:
        running.await_event("stream.serial_open")
        os.write(controller, lines(LENGTH).encode())
        running.await_labels(1)
        summary = running.end(signal.SIGTERM)
    assert (summary["samples"], summary["opened"]) == (LENGTH, 1)


def test_a_serial_line_that_goes_away_is_awaited(home: Path, line: tuple[int, Path], tmp_path: Path) -> None:
    pytest.importorskip("serial")
    controller, port = line
    name = tmp_path / "ttyUSB0"
    with Running(home, f"serial:{name}") as running:
        assert running.await_event("stream.serial_awaited")["port"] == str(name)
        gone, terminal = os.openpty()
        tty.setraw(terminal)
        name.symlink_to(os.ttyname(terminal))
        running.await_event("stream.serial_open")
        os.write(gone, lines(LENGTH).encode() + b"12")
        running.await_labels(1)
        name.unlink()
        name.symlink_to(port)
        os.close(terminal)
        os.close(gone)
        running.await_event("stream.serial_lost")
        until(lambda: len(running.events("stream.serial_open")) == 2, "the second line")
        os.write(controller, lines(LENGTH).encode())
        running.await_labels(2)
        summary = running.end(signal.SIGTERM)
    assert (summary["opened"], summary["lost"]) == (2, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_after_what_is_under_way(home: Path, number: int) -> None:
    with Running(home) as running:
        running.say(lines(LENGTH + 3))
        running.await_labels(1)
        assert running.end(number)["samples"] == LENGTH + 3


def test_a_committed_variant_is_taken_over_while_it_runs(tmp_path: Path) -> None:
    store, bundle = committed(tmp_path / "home")
    with Running(tmp_path / "home") as running:
        running.say(lines(LENGTH))
        running.await_labels(1)
        choose(store, bundle, "pruned")
        running.process.send_signal(signal.SIGHUP)
        running.await_event("stream.model")
        running.say(lines(LENGTH))
        first, second = running.await_labels(2)
        running.end()
    assert (first["variant"], second["variant"]) == ("fp32", "pruned")


def test_a_reader_who_goes_ends_it_quietly(home: Path) -> None:
    command = shlex.join([*RUNNER, "--home", str(home), "stream"])
    script = f"set -o pipefail; {command} < <(seq 300000) | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "stream.output_closed" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no/such/file"], 2, "no/such/file cannot be read: No such file or directory"),
        (["."], 2, ". is a folder"),
        (["mqtt://"], 2, "mqtt:// names no broker"),
        (["mqtt://host"], 2, "names no topic"),
        (["mqtt://me:pw@host/x"], 2, "holds neither user nor password"),
        (["-", "--output", "mqtt://host/#"], 2, "labels cannot go to the pattern #"),
        (["serial:"], 2, "the serial line has no name"),
        (["-", "--output", "/no/such/folder/x"], 2, "cannot be written: No such file"),
        (["-", "--variant", "int4"], 2, "has no variant 'int4'"),
        (["-", "--window", "x", "--overflow", "y"], 2, "the settings have 2 faults"),
    ],
)
def test_what_cannot_be_is_one_message(
    home: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", str(home), "stream", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert ":pw@" not in error
    assert "Traceback" not in error


def test_without_a_committed_bundle_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path / "new"), "stream"]) == 3
    assert "push one with `greenup push`" in capsys.readouterr().err


class FakeSource:
    """Chunks that are there at once."""

    def __init__(self, *chunks: str, live: bool) -> None:
        self.live = live
        self._chunks = chunks

    def read(self, _stop: threading.Event) -> Iterator[bytes]:
        yield from (chunk.encode() for chunk in self._chunks)

    def facts(self) -> dict[str, int]:
        return {}


class Kept:
    """An output and a recorder that keep what they get; `hold` stops the first write until it is released."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.spans: list[tuple[float, float]] = []
        self.closed: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    def write(self, line: str) -> None:
        self.hold.wait(60)
        self.lines.append(json.loads(line))

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        assert windows == 1
        self.spans.append((began_s, ended_s))
        return Receipt(f"spool/{len(self.spans)}", "counter", 0.25)

    def idle(self) -> None: ...

    def close(self, drain_s: float | None = None) -> None:
        self.closed.append("recorder" if drain_s is None else "output")

    def facts(self) -> dict[str, int]:
        return {}


def stream_of(home: Path, source: FakeSource, kept: Kept, **settings: Any) -> tuple[Stream, Reader]:
    from greenup_runtime.store import Store

    stop, told = threading.Event(), StreamSettings(**settings)
    model = Model(Store(home), told, None)
    reader = Reader(source, model.policy, told, stop)
    return Stream(reader, model, kept, kept, told, stop), reader


def test_every_inference_has_a_record_and_its_energy_is_in_the_label(home: Path) -> None:
    kept = Kept()
    stream, _ = stream_of(home, FakeSource(lines(LENGTH * 3), live=False), kept)
    assert stream.run()["classified"] == 3
    assert [line["record"] for line in kept.lines] == ["spool/1", "spool/2", "spool/3"]
    assert {(line["energy"], line["energy_j"]) for line in kept.lines} == {("counter", 0.25)}
    assert all(end_s > begin_s for begin_s, end_s in kept.spans)
    assert kept.closed == ["output", "recorder"]


def test_a_live_source_loses_the_oldest_windows_when_the_model_is_slow(home: Path) -> None:
    kept = Kept()
    kept.hold.clear()
    stream, reader = stream_of(home, FakeSource(lines(LENGTH * 50), live=True), kept, queue_windows=4)
    runner = threading.Thread(target=stream.run)
    runner.start()
    until(lambda: reader.windows == 50, "the reader to be through")
    kept.hold.set()
    runner.join(60)
    facts = stream.facts()
    assert facts["classified"] + facts["dropped_windows"] == 50
    assert 4 <= facts["classified"] <= 6
    assert facts["deepest_queue"] == 4


def test_a_file_waits_for_a_slow_model_and_loses_nothing(home: Path) -> None:
    kept = Kept()
    kept.hold.clear()
    stream, reader = stream_of(home, FakeSource(lines(LENGTH * 50), live=False), kept, queue_windows=4)
    runner = threading.Thread(target=stream.run)
    runner.start()
    until(lambda: len(reader.queue) == 4, "a full queue")
    kept.hold.set()
    runner.join(60)
    assert (stream.facts()["classified"], stream.facts()["dropped_windows"]) == (50, 0)


class BrokenSource(FakeSource):
    """A source with a bug."""

    def read(self, stop: threading.Event) -> Iterator[bytes]:
        yield from super().read(stop)
        raise ZeroDivisionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_reader_is_no_good_end(home: Path) -> None:
    kept = Kept()
    stream, _ = stream_of(home, BrokenSource(lines(LENGTH), live=False), kept)
    with pytest.raises(GreenupError, match="the reader of the stream broke"):
        stream.run()
    assert len(kept.lines) == 1


def test_a_queue_that_nobody_empties_lets_the_reader_go() -> None:
    queue: Waiting[int] = Waiting(1, drops=False)
    queue.put(1)
    blocked = threading.Thread(target=queue.put, args=(2,))
    blocked.start()
    queue.abandon()
    blocked.join(60)
    assert not blocked.is_alive()
    assert queue.dropped == 2
    assert queue.over
