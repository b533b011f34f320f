"""A question to a Raspberry Pi's firmware through /dev/vcio, as `vcgencmd` asks it, without its process.

The property message: total bytes, request, tag GET_GENCMD_RESULT, bytes for the answer, bytes asked (0), the
firmware's result, then the command as text, which the answer replaces, and an end tag.
Older firmwares state a wrong length of the answer, so its end is the first zero byte.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from greenup_runtime.errors import MeterFault

_TAG = 0x0003_0080
_ANSWERED = 0x8000_0000
_TEXT_BYTES = 4096
_HEAD = struct.Struct("<6I")
# _IOWR(100, 0, char *)
_REQUEST = 3 << 30 | struct.calcsize("P") << 16 | 100 << 8


class Mailbox:
    """The open device. Raises MeterFault where there is none or it may not be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._device: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise MeterFault(f"{path} cannot be opened: {error.strerror}", "join the group video") from error

    def ask(self, command: str) -> str:
        """The firmware's answer to one command. Raises MeterFault where it gives none."""
        if self._device is None:
            raise MeterFault(f"{self._path} is closed")
        size = _HEAD.size + _TEXT_BYTES + 4
        message = bytearray(size)
        _HEAD.pack_into(message, 0, size, 0, _TAG, _TEXT_BYTES, 0, 0)
        message[_HEAD.size : _HEAD.size + len(command)] = command.encode("ascii")
        try:
            fcntl.ioctl(self._device, _REQUEST, message, True)
        except OSError as error:
            raise MeterFault(f"{self._path} refuses: {error.strerror}") from error
        _, answered, _, _, _, result = _HEAD.unpack_from(message)
        if answered != _ANSWERED or result != 0:
            raise MeterFault(f"the firmware refuses {command} ({answered:#x}, {result})")
        return bytes(message[_HEAD.size : -4]).partition(b"\0")[0].decode("ascii", errors="replace")

    def close(self) -> None:
        """Close the device; a second call does nothing."""
        device, self._device = self._device, None
        if device is not None:
            os.close(device)
