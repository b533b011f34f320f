"""A serial line (USB, UART, pseudo terminal), opened again with back-off when it goes away."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Iterator
from typing import Any

from greenup_runtime import extras, logs
from greenup_runtime.errors import DeviceFault, UsageFault
from greenup_runtime.streams.source import IDLE_S, BackOff

_CHUNK_BYTES = 4096


class SerialSource:
    """Bytes of a serial line. Raises DeviceFault where pyserial is missing or this user may not read the line."""

    live = True

    def __init__(self, port: str, baud: int, longest_back_off_s: float) -> None:
        if not port:
            raise UsageFault("the serial line has no name", "write serial:/dev/ttyUSB0")
        self._serial = extras.load("serial", "pyserial", "serial")
        self._port = port
        self._baud = baud
        self._back_off = BackOff(longest_back_off_s, random.random)
        self._counts = {"opened": 0, "lost": 0}

    def read(self, stop: threading.Event) -> Iterator[bytes]:
        """Bytes as they come; while the line is away, its return is waited for."""
        while not stop.is_set():
            line = self._open(stop)
            if line is None:
                return
            with line:
                yield from self._bytes_of(line, stop)
            # The rest of a line that was cut is not the beginning of the next.
            yield b"\n"

    def facts(self) -> dict[str, int]:
        """How often the line was opened and lost."""
        return dict(self._counts)

    def _bytes_of(self, line: Any, stop: threading.Event) -> Iterator[bytes]:
        try:
            while not stop.is_set():
                yield line.read(max(1, min(_CHUNK_BYTES, line.in_waiting)))
        except (self._serial.SerialException, OSError) as error:
            self._counts["lost"] += 1
            logs.event("warning", "stream.serial_lost", port=self._port, cause=str(error))

    def _open(self, stop: threading.Event) -> Any:
        while not stop.is_set():
            try:
                line = self._serial.Serial(self._port, self._baud, timeout=IDLE_S)
            except ValueError as error:
                raise UsageFault(f"{self._port} cannot be opened so: {error}", "check serial_baud") from error
            except (self._serial.SerialException, OSError) as error:
                self._refuse(error)
                wait_s = self._back_off.wait_s()
                logs.event(
                    "warning", "stream.serial_awaited", port=self._port, cause=str(error), again_in_s=wait_s
                )
                stop.wait(wait_s)
                continue
            self._back_off.reset()
            self._counts["opened"] += 1
            logs.event("info", "stream.serial_open", port=self._port, baud=self._baud)
            return line
        return None

    def _refuse(self, error: OSError) -> None:
        """Waiting helps against a line that is unplugged, not against a lack of rights."""
        if error.errno in (errno.EACCES, errno.EPERM):
            raise DeviceFault(
                f"{self._port} may not be read by this user",
                "add the user to the group that owns it (dialout on Debian), and log in again",
            ) from error
