"""How host and runner talk: the runner's command line, its answer framed by a sentinel.

    <whatever a noisy shell profile prints>
    \\x1eGREENUP/1 json 123\\n
    {… 123 bytes …}

`kind` is `json` (an answer), `fault` (what went wrong, with the exit code) or `bytes` (a tar). What stands before
the sentinel is ignored; an answer without a sentinel, or shorter than it says, is a fault of the link.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from greenup_runtime.errors import DeviceFault, GreenupError, IntegrityFault, UsageFault

PROTOCOL = 1
_MARK = b"\x1eGREENUP/"
_BY_EXIT_CODE: dict[int, type[GreenupError]] = {2: UsageFault, 3: DeviceFault, 4: IntegrityFault}


@dataclass(frozen=True)
class Frame:
    """One answer: its kind and its bytes."""

    kind: str
    payload: bytes

    def json(self) -> Any:
        """The answer as a JSON value; a `fault` is raised again as the fault it was on the device."""
        if self.kind == "bytes":
            raise DeviceFault("the runner answered with bytes where JSON was expected", "update the runner")
        value = json.loads(self.payload)
        if self.kind == "fault":
            raise _BY_EXIT_CODE.get(value["exit_code"], GreenupError)(value["message"], value["hint"])
        return value

    def data(self) -> bytes:
        """The answer's bytes; a `fault` is raised."""
        if self.kind != "bytes":
            self.json()
            raise DeviceFault("the runner answered with JSON where bytes were expected", "update the runner")
        return self.payload


def encode(kind: str, payload: bytes) -> bytes:
    """One framed answer."""
    return _MARK + f"{PROTOCOL} {kind} {len(payload)}\n".encode() + payload


def encode_json(value: Any) -> bytes:
    """A framed JSON answer."""
    return encode("json", json.dumps(value).encode())


def encode_fault(fault: GreenupError) -> bytes:
    """A framed fault, from which the host raises the same one."""
    value = {"message": fault.message, "hint": fault.hint, "exit_code": fault.exit_code}
    return encode("fault", json.dumps(value).encode())


def decode(output: bytes) -> Frame:
    """Find the answer in a command's output. Raises DeviceFault where there is none, or only a part of one."""
    _, mark, rest = output.partition(_MARK)
    head, newline, payload = rest.partition(b"\n")
    if not mark or not newline:
        shown = output[-300:].decode(errors="replace").strip()
        raise DeviceFault(
            "the device gave no answer" + (f": {shown}" if shown else ""), "is the runner installed?"
        )
    version, kind, size = head.decode().split(" ")
    if int(version) != PROTOCOL:
        raise DeviceFault(
            f"the runner speaks protocol {version}, this host {PROTOCOL}", "update the older of the two"
        )
    if len(payload) < int(size):
        raise DeviceFault("the device's answer was cut short", "try again")
    return Frame(kind, payload[: int(size)])
