"""A manifest's fields, read without trusting them: wrong types, endless nesting, numbers that are none."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from greenup_runtime.errors import IntegrityFault

SCHEMA = "greenup.manifest"
VERSION = 1
MAX_MANIFEST_BYTES = 4 << 20
MAX_VARIANTS = 64
MAX_CLASSES = 10_000
MAX_TEXT = 200
# A larger error than this between two sums of probabilities is no rounding.
MAX_TOLERANCE = 0.5
_REBUILD = "build the bundle again with `greenup build`"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_HEX = re.compile(r"[0-9a-f]{64}")


def strict_json(data: bytes | str) -> Any:
    """JSON as its standard has it: no NaN, no infinity. Raises ValueError, for nesting without end too."""
    try:
        return json.loads(data, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read(data: bytes) -> dict[str, Any]:
    """A manifest's object. Raises IntegrityFault for another schema or a newer version, else ValueError."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ValueError(f"it has {len(data)} bytes, {MAX_MANIFEST_BYTES} are the most")
    raw = strict_json(data)
    if not isinstance(raw, dict):
        raise ValueError(f"it is a JSON {type(raw).__name__}, not an object")
    if raw.get("schema") != SCHEMA:
        raise IntegrityFault(f"not a bundle's manifest: schema {_short(raw.get('schema'))}", _REBUILD)
    version = integer(raw["version"], 1, 2**31)
    if version > VERSION:
        raise IntegrityFault(
            f"manifest has schema version {version}, this program reads up to {VERSION}",
            "update greenup-runtime on the device (and greenup on the host)",
        )
    return raw


def name(value: Any) -> str:
    """A name that may stand in a path, a URL and a terminal. Raises ValueError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{_short(value)} is no name: letters, digits and . _ + - are, up to 64")
    return value


def text(value: Any) -> str:
    """A short printable text. Raises ValueError."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise ValueError(f"{_short(value)} is no printable text of up to {MAX_TEXT} characters")
    return value


def hex_digest(value: Any) -> str:
    """A sha256 in hex: it becomes a file's name, so nothing else may pass. Raises ValueError."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{_short(value)} is not a sha256")
    return value


def integer(value: Any, least: int, most: int) -> int:
    """A whole number within bounds. Raises ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{_short(value)} is no whole number from {least} to {most}")
    return value


def tolerance(value: Any) -> float:
    """The largest error allowed on golden samples; NaN or infinity would let anything pass. Raises ValueError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= MAX_TOLERANCE:
        raise ValueError(f"{_short(value)} is no tolerance from 0 to {MAX_TOLERANCE:g}")
    return float(value)


def listed(value: Any, least: int, most: int) -> list[Any]:
    """A list of a sensible length. Raises ValueError."""
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise ValueError(f"{_short(value)} is no list of {least} to {most} entries")
    return value


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of which none comes twice. Raises ValueError."""
    if len(set(names)) != len(names):
        raise ValueError("a name comes twice")
    return names


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _short(value: Any) -> str:
    shown = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
