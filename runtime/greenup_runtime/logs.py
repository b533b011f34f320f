"""What the runner says while it works: one line per event on stderr, as text or as JSON.

    23:50:01.123 warning stream.dropped windows=3 queue=64
    {"time": "2026-11-24T23:50:01.123+00:00", "level": "warning", "event": "stream.dropped", "windows": 3, …}

An event's name is a fixed word, what changes is in its fields, so that a collector counts without parsing prose.
Under systemd the level goes in front as journald's priority, and journald keeps the time. Values of fields whose
name says that they are secret, and passwords inside URLs, never reach the line. Nothing here belongs on the hot
path: an event that can happen per request is counted there and said once.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import Any

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
REDACTED = "[redacted]"
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_SECRET = re.compile(
    r"(password|passwd|secret|token|authorization|credential|private_key|api_key)s?$", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*(?=@)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}")
_STDERR = 2


class _Log:
    """How events are written; one per process."""

    def __init__(self) -> None:
        self.as_json = False
        self.least = LEVELS.index("info")
        self.journal = False


_log = _Log()


def configure(style: str = "text", level: str = "info") -> None:
    """Set the form (`text` or `json`) and the lowest level that is written, for the whole process."""
    _log.as_json = style == "json"
    _log.least = LEVELS.index(level)
    _log.journal = "JOURNAL_STREAM" in os.environ


def enabled(level: str) -> bool:
    """Whether an event of this level would be written: ask before making costly fields."""
    return LEVELS.index(level) >= _log.least


def event(level: str, event: str, **fields: Any) -> None:
    """Write one event, in one write, so that lines of several threads do not mix; never raises for a full disk."""
    if not enabled(level):
        return
    line = line_of(level, event, fields)
    try:
        os.write(_STDERR, line.encode("utf-8", "backslashreplace") + b"\n")
    except OSError:
        # Whoever read our log is gone; the work goes on.
        return


def line_of(level: str, event: str, fields: dict[str, Any], now: datetime | None = None) -> str:
    """The line of an event as it is configured, without its end."""
    at = now or datetime.now().astimezone()
    shown = {key: redacted(key, value) for key, value in fields.items()}
    if _log.as_json:
        head = {"time": at.isoformat(timespec="milliseconds"), "level": level, "event": event}
        return json.dumps({**head, **shown}, default=str, ensure_ascii=False)
    before = f"<{_PRIORITY[level]}>" if _log.journal else f"{at.strftime('%H:%M:%S.%f')[:-3]} {level} "
    return before + " ".join([event, *(f"{key}={_text(value)}" for key, value in shown.items())])


def redacted(key: str, value: Any) -> Any:
    """A field's value without secrets: those that its name gives away, and those inside of text."""
    if _SECRET.search(key):
        return REDACTED if value else value
    if isinstance(value, dict):
        return {inner: redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted("", item) for item in value]
    if isinstance(value, BaseException):
        value = str(value)
    if isinstance(value, str):
        return _BEARER.sub(rf"\1 {REDACTED}", _USERINFO.sub(rf"\1:{REDACTED}", value))
    return value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str, ensure_ascii=False)
    text = str(value)
    # A line break in a field could forge an event of its own.
    return text if text and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)
