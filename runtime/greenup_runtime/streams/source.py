"""Where samples come from: one protocol, and the sources that need no extra package.

A source yields bytes as they come and b"" now and then while nothing comes, so that whoever reads can stop.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from greenup_runtime import logs
from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import StreamSettings

CHUNK_BYTES = 1 << 16
IDLE_S = 0.2
_STDIN = 0


class Source(Protocol):
    """Bytes of lines, from somewhere."""

    live: bool
    """Whether it goes on by itself, so that it cannot be made to wait without losing samples elsewhere."""

    def read(self, stop: threading.Event) -> Iterator[bytes]:
        """Bytes until the source ends or `stop` is set."""
        ...

    def facts(self) -> dict[str, int]:
        """What happened to the connection, counted by name."""
        ...


def open_source(settings: StreamSettings, client_id: str) -> Source:
    """The source that the settings name. Raises UsageFault where it cannot be, DeviceFault without its package."""
    kind, _, rest = settings.source.partition(":")
    if settings.source == "-":
        return DescriptorSource(_STDIN)
    if kind == "serial":
        from greenup_runtime.streams.serial_line import SerialSource

        return SerialSource(rest, settings.serial_baud, settings.longest_back_off_s)
    if kind in ("mqtt", "mqtts"):
        from greenup_runtime.streams.mqtt import MqttSource

        return MqttSource(settings, client_id)
    path = Path(settings.source)
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return DescriptorSource(_opened(path))
    return FileSource(path, follow=settings.follow, from_start=settings.from_start or not settings.follow)


def _opened(path: Path) -> int:
    if path.is_dir():
        raise UsageFault(f"{path} is a folder, not a stream of samples", "name a file, or - for stdin")
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}") from error


class DescriptorSource:
    """Stdin, a named pipe: bytes until whoever writes closes its end."""

    live = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, stop: threading.Event) -> Iterator[bytes]:
        """Bytes until the other end is closed."""
        while not stop.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], IDLE_S)
            data = os.read(self._descriptor, CHUNK_BYTES) if ready else None
            if data == b"":
                return
            yield data or b""

    def facts(self) -> dict[str, int]:
        """Nothing can happen to it."""
        return {}


class FileSource:
    """A file, read to its end, or followed by name as it grows: rotated (another file of this name), truncated."""

    live = False

    def __init__(self, path: Path, *, follow: bool, from_start: bool, idle_s: float = IDLE_S) -> None:
        self._path = path
        self._follow = follow
        self._from_start = from_start
        self._idle_s = idle_s
        self._counts = {"rotations": 0, "truncations": 0}
        if not follow:
            os.close(_opened(path))

    def read(self, stop: threading.Event) -> Iterator[bytes]:
        """The file's bytes. A followed file that is not there yet is waited for."""
        descriptor = self._first(stop)
        if descriptor is None:
            return
        try:
            while not stop.is_set():
                if data := os.read(descriptor, CHUNK_BYTES):
                    yield data
                    continue
                if not self._follow:
                    return
                yield b""
                descriptor, ended = self._renewed(descriptor)
                if ended:
                    # What the old file ended with is a line, and not the beginning of the new one's first.
                    yield b"\n"
                else:
                    stop.wait(self._idle_s)
        finally:
            os.close(descriptor)

    def facts(self) -> dict[str, int]:
        """How often the file was rotated and truncated."""
        return dict(self._counts)

    def _first(self, stop: threading.Event) -> int | None:
        if not self._follow:
            return _opened(self._path)
        waited = False
        while not stop.is_set():
            if (descriptor := self._open_again()) is not None:
                # A file that came after we did is read whole.
                if not self._from_start and not waited:
                    os.lseek(descriptor, 0, os.SEEK_END)
                return descriptor
            if not waited:
                logs.event("warning", "stream.file_awaited", file=str(self._path))
                waited = True
            stop.wait(self._idle_s)
        return None

    def _renewed(self, descriptor: int) -> tuple[int, bool]:
        """The descriptor to go on with at a file's end, and whether it begins another content."""
        here = os.fstat(descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return descriptor, False
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            if here.st_size > os.lseek(descriptor, 0, os.SEEK_CUR):
                return descriptor, False
            return self._rotated(descriptor)
        if here.st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
            os.lseek(descriptor, 0, os.SEEK_SET)
            self._count("truncations", "stream.file_truncated")
            return descriptor, True
        return descriptor, False

    def _rotated(self, descriptor: int) -> tuple[int, bool]:
        again = self._open_again()
        if again is None:
            return descriptor, False
        os.close(descriptor)
        self._count("rotations", "stream.file_rotated")
        return again, True

    def _open_again(self) -> int | None:
        try:
            return os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageFault(f"{self._path} cannot be read: {error.strerror}") from error

    def _count(self, name: str, event: str) -> None:
        self._counts[name] += 1
        logs.event("info", event, file=str(self._path))


class BackOff:
    """Waits that double up to a longest, each shortened by chance, so that many devices do not come at once."""

    def __init__(self, longest_s: float, chance: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._chance = chance
        self._next_s = 0.5

    def wait_s(self) -> float:
        """Seconds until the next try."""
        now_s = min(self._next_s, self._longest_s)
        self._next_s = min(self._next_s * 2, self._longest_s)
        return now_s * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """It went well: begin small again."""
        self._next_s = 0.5


def describe(facts: dict[str, Any]) -> str:
    """Counts above zero as `name n`."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if value)
