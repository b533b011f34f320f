"""Where labels go: stdout, a file that is appended to; to a topic they go by mqtt.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from greenup_runtime import logs
from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import StreamSettings

_STDOUT = 1


class OutputClosed(Exception):
    """Whoever read the labels has gone; there is nobody to classify for."""


class Output(Protocol):
    """Takes labels, a line each."""

    def write(self, line: str) -> None:
        """Write one line, at once. Raises OutputClosed where nobody reads any more."""
        ...

    def idle(self) -> None:
        """Do what waited, while there is nothing else to do."""
        ...

    def close(self, drain_s: float) -> None:
        """Bring out what is held, within so many seconds."""
        ...

    def facts(self) -> dict[str, int]:
        """What happened to the lines, counted by name."""
        ...


def open_output(settings: StreamSettings, client_id: str) -> Output:
    """The output that the settings name. Raises UsageFault for one that cannot be written."""
    if settings.output == "-":
        return DescriptorOutput(_STDOUT)
    if settings.output.partition(":")[0] in ("mqtt", "mqtts"):
        from greenup_runtime.streams.mqtt import MqttOutput

        return MqttOutput(settings, client_id)
    return FileOutput(Path(settings.output))


class DescriptorOutput:
    """Stdout, unbuffered: a label is of use when it is there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, line: str) -> None:
        """Write one line whole."""
        try:
            write_all(self._descriptor, f"{line}\n".encode())
        except BrokenPipeError as error:
            raise OutputClosed from error

    def idle(self) -> None:
        """Nothing waits."""

    def close(self, drain_s: float) -> None:
        """Nothing is held."""

    def facts(self) -> dict[str, int]:
        """Nothing is lost."""
        return {}


class FileOutput:
    """A file that is appended to, and opened again when it was moved away (logrotate).

    What a full disk refuses is lost, counted and said once; the stream goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lost = 0
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise UsageFault(f"{path} cannot be written: {error.strerror}") from error

    def write(self, line: str) -> None:
        """Append one line."""
        try:
            if self._moved():
                os.close(self._descriptor)
                self._descriptor = self._open()
            write_all(self._descriptor, f"{line}\n".encode())
        except OSError as error:
            if not self._lost:
                logs.event("error", "stream.labels_lost", file=str(self._path), cause=error.strerror)
            self._lost += 1

    def idle(self) -> None:
        """Nothing waits."""

    def close(self, drain_s: float) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def facts(self) -> dict[str, int]:
        """Labels that could not be written."""
        return {"labels_lost": self._lost}

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _moved(self) -> bool:
        here = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, however few go at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
