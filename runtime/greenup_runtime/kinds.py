"""Types of settings: how text and TOML become values of them, what range they have, and how they are written.

Units in a key's name say what it may be: nothing counts below zero, a port ends at 65535.
"""

from __future__ import annotations

import json
import math
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# Smallest and largest by the last part of a key's path; all other numbers are 0 or more.
_LIMITS: dict[str, tuple[float, float]] = {
    "port": (0, 65535),
    "threads": (1, 1024),
    "every": (1, math.inf),
    "max_connections": (1, math.inf),
    "max_head_bytes": (1, math.inf),
    "max_headers": (1, math.inf),
    "max_body_bytes": (1, math.inf),
    "max_held_bytes": (1, math.inf),
    "max_bytes": (1, math.inf),
    "max_records": (1, math.inf),
    "batch_records": (1, math.inf),
    "period_s": (1e-3, math.inf),
    "every_s": (1e-3, math.inf),
    "longest_back_off_s": (1e-3, math.inf),
    "queue_windows": (1, 1_000_000),
    "held_labels": (1, 10_000_000),
    "serial_baud": (1, 100_000_000),
    "mqtt_qos": (0, 2),
}


class Text(str):
    """A value that arrives as text (environment, flag) and is read as what its key wants."""


def converted(value: Any, hint: Any, path: str, base: Path | None = None) -> Any:
    """A value of the key's type; relative file names of a file of settings begin at its folder, `base`.

    Raises ValueError that says what is wanted.
    """
    optional, kind = _optional(hint)
    if optional and isinstance(value, str) and value in ("", "none"):
        return None
    if get_origin(kind) is Literal:
        return _chosen(value, get_args(kind))
    if kind is Path:
        return _path(value, base)
    if kind is bool:
        return _truth(value)
    if kind in (int, float):
        return _within(_number(value, kind), path.rpartition(".")[2])
    if kind is str:
        return _string(value)
    raise TypeError(f"settings.py gives {path} a type that no file can hold: {hint}")


def as_toml(value: Any) -> str:
    """A value as TOML; nothing is the empty string."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)


def words_of(hint: Any) -> str:
    """What a key takes, in words."""
    optional, kind = _optional(hint)
    if get_origin(kind) is Literal:
        return " | ".join(get_args(kind))
    word = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "file"}[kind]
    return f"{word} or none" if optional else word


def _optional(hint: Any) -> tuple[bool, Any]:
    if get_origin(hint) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(hint) if part is not type(None))
        return True, kind
    return False, hint


def _chosen(value: Any, choices: tuple[Any, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{_shown(value)} is none of {', '.join(choices)}")
    return str(value)


def _path(value: Any, base: Path | None) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{_shown(value)} is no file name")
    path = Path(value).expanduser()
    return base / path if base is not None else path


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Text) and value.lower() in (*_YES, *_NO):
        return value.lower() in _YES
    raise ValueError(f"{_shown(value)} is neither true nor false")


def _number(value: Any, kind: type) -> float:
    wanted = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or (isinstance(value, str) and not isinstance(value, Text)):
        raise ValueError(f"{_shown(value)} is not {wanted}")
    try:
        number: float = kind(value) if isinstance(value, Text) or kind is float else _whole(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{_shown(value)} is not {wanted}") from error
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(value)
    return value


def _within(number: float, name: str) -> float:
    least, most = _LIMITS.get(name, (0, math.inf))
    if not least <= number <= most:
        limits = f"{least:g} or more" if math.isinf(most) else f"from {least:g} to {most:.0f}"
        raise ValueError(f"{number:g} is out of range: {limits}")
    return number


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not text")
    return str(value)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
