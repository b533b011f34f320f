"""What an ONNX file asks for, read from its bytes alone: operator sets, and whether it reaches for other files.

An ONNX file may keep weights outside itself, under any path. greenup writes none such, so a file with external
data is refused before a library opens it. Only the nesting of messages is walked (protobuf's wire format: a key, a
length, bytes); weights are skipped, not read. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Where a message of one kind holds messages of another: {kind: {field: kind}}.
_INSIDE = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
}
_IR_VERSION, _OPSET_DOMAIN, _OPSET_VERSION = 1, 1, 2
_NODE_DOMAIN = 7
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_MAX_DEPTH = 64
_MAX_MESSAGES = 2_000_000


@dataclass(frozen=True)
class OnnxFacts:
    """A file's IR version, its operator sets by domain ('' is ONNX's own), and whether data lies outside it."""

    ir_version: int
    opsets: dict[str, int]
    domains: frozenset[str]
    external: bool


def read(content: bytes) -> OnnxFacts:
    """The facts of a file's bytes. Raises ValueError for bytes that are no ONNX model."""
    found = _Found()
    _walk(found, memoryview(content), "model", 0)
    if not found.ir_version or not found.opsets:
        raise ValueError("it names no IR version or no operator set")
    return OnnxFacts(found.ir_version, found.opsets, frozenset(found.domains), found.external)


class _Found:
    def __init__(self) -> None:
        self.ir_version = 0
        self.opsets: dict[str, int] = {}
        self.domains: set[str] = set()
        self.external = False
        self.messages = 0


def _walk(found: _Found, message: memoryview, kind: str, depth: int) -> None:
    found.messages += 1
    if depth > _MAX_DEPTH or found.messages > _MAX_MESSAGES:
        raise ValueError("it is nested too deep, or has too many parts")
    if kind == "opset":
        return _note_opset(found, message)
    for field, value in _fields(message):
        _note(found, kind, field, value)
        inner = _INSIDE.get(kind, {}).get(field)
        if inner and isinstance(value, memoryview):
            _walk(found, value, inner, depth + 1)
    return None


def _note(found: _Found, kind: str, field: int, value: int | memoryview) -> None:
    if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value)):
        found.external = True
    elif kind == "model" and field == _IR_VERSION and isinstance(value, int):
        found.ir_version = value
    elif kind == "node" and field == _NODE_DOMAIN and isinstance(value, memoryview):
        found.domains.add(bytes(value[:200]).decode(errors="replace"))


def _note_opset(found: _Found, message: memoryview) -> None:
    domain, version = "", 0
    for field, value in _fields(message):
        if field == _OPSET_DOMAIN and isinstance(value, memoryview):
            domain = bytes(value[:200]).decode(errors="replace")
        elif field == _OPSET_VERSION and isinstance(value, int):
            version = value
    found.opsets["" if domain == "ai.onnx" else domain] = version


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field; a value is a number, or the bytes of a text or a nested message."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        size, at = _varint(message, at) if wire == _LENGTH else (_fixed(wire), at)
        if at + size > end:
            raise ValueError("it was cut short")
        if wire == _LENGTH:
            yield field, message[at : at + size]
        at += size


def _fixed(wire: int) -> int:
    if wire not in (_FIXED_64, _FIXED_32):
        raise ValueError("it is no protobuf message")
    return 8 if wire == _FIXED_64 else 4


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("it was cut short")
