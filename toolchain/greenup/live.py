"""Readings of a meter beside the board as they come in: lines on a stream, stamped when they arrive.

    command, stdin, serial line, TCP ──► lines ──► time_s,<the meter's own columns>   a CSV on disk
                                         │
                                         host's monotonic clock

Where a stream has brought nothing usable, no trial is begun. The CSV is then laid onto the trial by its load
pattern as any other (`external.py`), so the delay between meter and host falls out; what it varies by is noise.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from greenup import meter_csv
from greenup_runtime.errors import DataFault, GreenupError, UsageFault

FIRST_READING_S = 20.0
CONNECT_S = 10.0
# Where more than this share of the lines come together with others, a buffer holds them back.
MOST_TOGETHER = 0.1
_LONGEST_LINE = 4096
_POLL_S = 0.1
_DELIMITERS = "\t;,"


@dataclass(frozen=True)
class Source:
    """An open stream of bytes, its name for people, and how to end it; `left` says how it ended by itself."""

    name: str
    handle: int
    close: Callable[[], None]
    left: Callable[[], str] = lambda: "the stream ended"


@dataclass
class Recording:
    """What has come in so far. `lines` are (arrival in monotonic seconds, fields); a thread adds to them.

    `together` counts lines that came with a later one in the same piece, `unread` those that are no reading.
    """

    columns: tuple[str, ...] | None
    lines: list[tuple[float, list[str]]] = field(default_factory=list)
    together: int = 0
    unread: int = 0
    ended: bool = False
    fault: GreenupError | None = None

    def take(self, at_s: float, texts: Sequence[str]) -> None:
        """Lines that arrived at once: all but the last are older than the stamp, by nobody knows how much."""
        for text in texts:
            if self.columns is None and not _numeric(fields := _split(text)):
                if fields != [""]:
                    meter_csv.check_header(fields)
                    self.columns = tuple(fields)
                continue
            self._reading(at_s, _split(text))

    def facts(self) -> dict[str, int]:
        """How many lines were taken, came in one piece with a later one, or were no reading."""
        return {"readings": len(self.lines), "together": self.together, "unread": self.unread}

    def _reading(self, at_s: float, fields: list[str]) -> None:
        if self.columns is None:
            raise UsageFault(
                "the meter's first line holds numbers only, and nothing says what they are",
                "say it by --external-columns, for example power_mW or voltage_V,current_A",
            )
        if fields == [""]:
            return
        if len(fields) != len(self.columns) or not meter_csv.usable(self.columns, fields):
            self.unread += 1
        elif self.lines and self.lines[-1][0] == at_s:
            self.together += 1
            self.lines[-1] = (at_s, fields)
        else:
            self.lines.append((at_s, fields))

    def save(self, path: Path) -> None:
        """Write the readings as a CSV with the arrival time in front. Raises DataFault where stamps are void."""
        total = len(self.lines) + self.together
        if self.together > MOST_TOGETHER * total:
            raise DataFault(
                f"{self.together} of {total} readings came in one piece with others: their times are not known",
                "turn off the buffer of the program that prints them (stdbuf -oL CMD, python -u), or use a CSV",
            )
        assert self.columns is not None
        rows = [["time_s", *self.columns], *([f"{at_s:.6f}", *fields] for at_s, fields in self.lines)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


@contextmanager
def recording(source: Source, columns: str | None = None) -> Iterator[Recording]:
    """Record while the block runs, from the first usable reading on; the stream is closed at the end.

    `columns` is the header, where the meter prints none. Raises DataFault where no reading comes in time, and
    UsageFault or DataFault for columns that are no meter's.
    """
    found = Recording(tuple(_split(columns)) if columns is not None else None)
    stop = threading.Event()
    thread = threading.Thread(target=_read, args=(source, found, stop), name="greenup-external", daemon=True)
    try:
        if found.columns is not None:
            meter_csv.check_header(found.columns)
        thread.start()
        _await_first(source, found)
        yield found
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()
        source.close()


def opened(place: str) -> Source:
    """The stream that `--external` names: `-`, `tcp://HOST:PORT`, or a file, FIFO or serial line (`PATH@BAUD`).

    Raises UsageFault where it cannot be opened.
    """
    try:
        if place == "-":
            return Source("stdin", sys.stdin.fileno(), lambda: None)
        if place.startswith("tcp://"):
            return _tcp(place)
        return _file(place)
    except (OSError, ValueError) as error:
        raise UsageFault(
            f"--external {place} cannot be opened: {error}",
            "name - for stdin, tcp://HOST:PORT, or a device as in /dev/ttyUSB0@115200",
        ) from error


def started(command: str) -> Source:
    """A shell command whose stdout brings the readings; it is ended, with what it started, at the close."""
    process = subprocess.Popen(
        ["sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    handle = process.stdout.fileno()

    def close() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def left() -> str:
        try:
            return f"the command ended with exit code {process.wait(1)}"
        except subprocess.TimeoutExpired:
            return "the command closed its output"

    return Source(command, handle, close, left)


def _tcp(place: str) -> Source:
    host, _, port = place.removeprefix("tcp://").rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)), CONNECT_S)
    return Source(place, connection.fileno(), connection.close)


def _file(place: str) -> Source:
    path, at, baud = place.rpartition("@")
    if not at or not baud.isdigit():
        path, baud = place, ""
    handle = os.open(path, os.O_RDONLY | os.O_NOCTTY)
    try:
        if os.isatty(handle):
            _set_line(handle, baud)
    except (OSError, ValueError, termios.error) as error:
        os.close(handle)
        raise ValueError(error) from error
    return Source(path, handle, lambda: os.close(handle))


def _set_line(handle: int, baud: str) -> None:
    """A serial line that gives what comes, unchanged: no echo, no line editing, and the speed that was named."""
    settings = termios.tcgetattr(handle)
    settings[0] = settings[1] = settings[3] = 0
    settings[2] |= termios.CLOCAL | termios.CREAD
    if baud:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise ValueError(f"{baud} is no baud rate that this system knows")
        settings[4] = settings[5] = speed
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
    termios.tcsetattr(handle, termios.TCSANOW, settings)


def _read(source: Source, found: Recording, stop: threading.Event) -> None:
    rest = b""
    with selectors.DefaultSelector() as ready:
        try:
            ready.register(source.handle, selectors.EVENT_READ)
        except PermissionError:
            # An ordinary file is always ready, and its lines come all at once: not what this is for.
            found.fault = UsageFault(
                f"{source.name} is a finished file, not a stream", "greenup compare --external"
            )
            return
        while not stop.is_set():
            if not ready.select(_POLL_S):
                continue
            piece = _piece(source.handle)
            at_s = time.monotonic()
            if not piece:
                found.ended = True
                return
            *whole, rest = (rest + piece).split(b"\n")
            rest = rest[-_LONGEST_LINE:]
            try:
                found.take(at_s, [line.decode("utf-8", errors="replace").strip() for line in whole])
            except GreenupError as fault:
                found.fault = fault
                return


def _piece(handle: int) -> bytes:
    """What has come in; nothing where the stream ended, or its device was pulled out."""
    try:
        return os.read(handle, 65536)
    except OSError:
        return b""


def _await_first(source: Source, found: Recording) -> None:
    give_up_s = time.monotonic() + FIRST_READING_S
    while not found.lines:
        if found.fault is not None:
            raise found.fault
        if found.ended or time.monotonic() > give_up_s:
            why = source.left() if found.ended else f"nothing usable within {FIRST_READING_S:.0f} s"
            raise DataFault(
                f"{source.name} gave no reading: {why}, {found.unread} lines were none",
                f"each line is one reading, after one line as header; it needs {meter_csv.VALUES}",
            )
        time.sleep(_POLL_S / 4)


def _split(text: str) -> list[str]:
    delimiter = next((each for each in _DELIMITERS if each in text), None)
    return [part.strip() for part in text.split(delimiter)] if delimiter else [text.strip()]


def _numeric(fields: Sequence[str]) -> bool:
    return any(meter_csv.number(each) is not None for each in fields)
