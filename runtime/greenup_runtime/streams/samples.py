"""Lines of text become samples; what is no sample is counted and left out.

    1.25                       one channel
    1.25,0.5                   two channels; also with ; tab or blanks between
    1700000000.5,1.25,0.5      one value more than channels: the first is the time
    2026-11-24T23:50:01Z,1.25  a time may also be ISO 8601
    1.25,,nan                  missing values
    {"time": 1700000000.5, "values": [1.25, null]}    or "value": 1.25, or [1.25, 0.5], or 1.25

Whether a stream has times is what its first good line says; a line of the other kind is garbage.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

import numpy as np

from greenup_runtime.preprocess import Float64

_UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_MISSING = ("", "nan", "na", "null", "none")
_MOST = float(np.finfo(np.float32).max)
_LONGEST_LINE_BYTES = 1 << 20
_FRACTION = re.compile(r"\.(\d+)")
_SHOWN = 80
Row = tuple["float | None", list[float]]


class Lines:
    """Bytes as they come → whole lines; a line without an end is dropped once it is too long to be one."""

    def __init__(self) -> None:
        self._rest = b""
        self.too_long = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            self._rest = b""
            self.too_long += 1
        return lines

    def end(self) -> list[bytes]:
        """What came after the last line's end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class SampleReader:
    """Samples of `channels` values out of lines. `form` is csv, json or auto; `time_unit` is that of numbers."""

    def __init__(self, channels: int, form: str = "auto", time_unit: str = "s") -> None:
        self.timed: bool | None = None
        self.samples = 0
        self.garbage = 0
        self.example: str | None = None
        self._channels = channels
        self._unit_s = _UNIT_S[time_unit]
        self._fixed: Callable[[str], Row] | None = {"csv": self._csv, "json": self._json}.get(form)

    def read(self, lines: Iterable[bytes]) -> tuple[Float64, Float64 | None]:
        """Values [channels, n] and times [n] in seconds, or None where the stream has none."""
        rows = [row for line in lines if (row := self._row(line)) is not None]
        self.samples += len(rows)
        values = np.array([values for _, values in rows], dtype=np.float64).reshape(-1, self._channels).T
        times_s = np.array([time_s for time_s, _ in rows], dtype=np.float64) if self.timed else None
        return values, times_s

    def _row(self, line: bytes) -> Row | None:
        try:
            text = line.decode("utf-8").strip()
            if not text:
                return None
            row = (self._fixed or (self._json if text[0] in "{[" else self._csv))(text)
            self._accept(row)
            return row
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self.garbage += 1
            if self.example is None:
                self.example = line[:_SHOWN].decode("utf-8", "backslashreplace")
            return None

    def _accept(self, row: Row) -> None:
        """Raise ValueError for a row that is no sample of this stream."""
        time_s, values = row
        if len(values) != self._channels:
            raise ValueError("another number of channels")
        if any(abs(value) > _MOST for value in values):
            raise ValueError("infinite, or too large for 32-bit numbers")
        if time_s is not None and not math.isfinite(time_s):
            raise ValueError("no time")
        if self.timed is None:
            self.timed = time_s is not None
        elif self.timed != (time_s is not None):
            raise ValueError("with a time among those without, or without one")

    def _csv(self, text: str) -> Row:
        if "," in text or ";" in text or "\t" in text:
            fields = [field.strip() for field in text.replace(";", ",").replace("\t", ",").split(",")]
        else:
            fields = text.split()
        time_s = self._time(fields.pop(0)) if len(fields) == self._channels + 1 else None
        return time_s, [math.nan if field.lower() in _MISSING else float(field) for field in fields]

    def _json(self, text: str) -> Row:
        sample, time = json.loads(text), None
        if isinstance(sample, dict):
            time = next((sample[key] for key in ("time", "timestamp", "t") if key in sample), None)
            sample = sample["values"] if "values" in sample else sample["value"]
        values = sample if isinstance(sample, list) else [sample]
        return None if time is None else self._time(time), [_value(value) for value in values]

    def _time(self, time: Any) -> float:
        if isinstance(time, bool):
            raise ValueError("no time")
        try:
            return float(time) * self._unit_s
        except ValueError:
            return _iso_time(time)


def _value(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("no number")
    return float(value)


def _iso_time(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time; without an offset it is UTC. Python 3.10 knows neither Z nor .1."""
    text = _FRACTION.sub(lambda found: "." + found[1][:6].ljust(6, "0"), text.replace("Z", "+00:00"))
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
