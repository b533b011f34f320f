"""The CSV of a bench or USB meter: which column holds what, in which unit, and its values in s, W or J.

A column is known by the first word of its header, its unit by the rest: `power_mW`, `Current (mA)`, `time [ms]`,
or by a unit alone (`mW`). Words that say nothing of a unit (`Power avg`) do no harm; any other word is taken for a
unit that is not known, since a guess would be wrong by a factor of a thousand.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from greenup_runtime.errors import DataFault
from greenup_runtime.trial import FloatArray

_WORDS = {
    "time": ("time", "timestamp", "t", "elapsed", "date"),
    "power": ("power", "p"),
    "energy": ("energy", "e"),
    "voltage": ("voltage", "u"),
    "current": ("current", "i"),
}
# The first unit of each is the one that a header without a unit means.
_UNITS = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0},
    "power": {"W": 1.0, "mW": 1e-3, "kW": 1e3},
    "energy": {"J": 1.0, "mJ": 1e-3, "Wh": 3600.0, "mWh": 3.6, "kWh": 3.6e6},
    "voltage": {"V": 1.0, "mV": 1e-3},
    "current": {"A": 1.0, "mA": 1e-3, "uA": 1e-6},
}
_STEMS = {
    "second": "s",
    "sec": "s",
    "minute": "min",
    "hour": "h",
    "watt": "W",
    "joule": "J",
    "volt": "V",
    "amp": "A",
    "ampere": "A",
}
_SPELLED = {
    f"{long}{stem}{plural}": f"{short}{unit}"
    for stem, unit in _STEMS.items()
    for long, short in (("", ""), ("milli", "m"), ("micro", "u"), ("kilo", "k"))
    for plural in ("", "s")
}
_NEUTRAL = re.compile(
    r"(ch)?\d?|stamp|time|date|elapsed|since|start|iso|utc|local|avg|average|mean|rms|dc|total|sum|acc|accumulated"
    r"|used|consumption|in|out|input|output|bus|usb|load|supply|measured|value|reading",
    re.IGNORECASE,
)
VALUES = (
    "power (W), energy (J) or voltage (V) and current (A); another unit stands in the header, as in power_mW or "
    "Power [mW]"
)
_FORM = f"a header, a time column (s or ISO), and {VALUES}"


@dataclass(frozen=True)
class Record:
    """What a meter recorded: `samples` [n, 2] of seconds and watts (`power`) or joules (`counter`).

    `columns` holds the header of each column that was read and the unit it was read in.
    """

    samples: FloatArray
    kind: Literal["power", "counter"]
    columns: dict[str, str]

    def said(self) -> str:
        """The columns and units in words. A header is quoted: it may hold anything."""
        return ", ".join(f"{header!r} in {unit}" for header, unit in self.columns.items())


@dataclass(frozen=True)
class _Column:
    quantity: str
    place: int
    header: str
    unit: str | None
    """None where the header names a unit that is not known."""

    def known(self) -> str:
        """Its unit. Raises DataFault where that is not known."""
        if self.unit is None:
            known = "; ".join(f"{name}: {', '.join(units)}" for name, units in _UNITS.items())
            raise DataFault(
                f"the unit of column {self.header!r} ({self.quantity}) is not known",
                f"name the column {self.quantity}_{next(iter(_UNITS[self.quantity]))} or in another unit; "
                f"units known: {known}; a capital M is not read as milli",
            )
        return self.unit


def read(path: Path) -> Record:
    """Read a meter's CSV. Raises DataFault for another form, or for a unit that is not known."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t")
        header, *rows = [row for row in csv.reader(text.splitlines(), dialect) if row]
        record = _record([name.strip() for name in header], rows)
        _check(record.samples)
    except (OSError, UnicodeDecodeError, ValueError, IndexError, csv.Error) as error:
        raise DataFault(f"{path} cannot be read as a meter's record: {error}", f"it needs {_FORM}") from error
    return record


def check_header(header: Sequence[str]) -> None:
    """Whether a meter's columns hold an energy or a power. Raises DataFault where not, or for an unknown unit."""
    try:
        for column in _value_columns(header):
            column.known()
    except ValueError as error:
        said = ", ".join(header)
        raise DataFault(f"the columns {said!r} are not a meter's: {error}", f"it needs {VALUES}") from error


def usable(header: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a row of as many fields holds numbers where the header says that energy or power stands."""
    return all(number(row[column.place]) is not None for column in _value_columns(header))


def number(text: str) -> float | None:
    """A finite number with a point or a comma, or None."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _record(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Record:
    time = _need(header, "time")
    times, time_unit = _times(rows, time)
    columns = _value_columns(header)
    values = np.prod([_numbers(rows, column) for column in columns], axis=0)
    units = {time.header: time_unit, **{column.header: column.known() for column in columns}}
    kind: Literal["power", "counter"] = "counter" if columns[0].quantity == "energy" else "power"
    return Record(np.column_stack([times, values]), kind, units)


def _value_columns(header: Sequence[str]) -> list[_Column]:
    found = _find(header, "power") or _find(header, "energy")
    return [found] if found else [_need(header, "voltage"), _need(header, "current")]


def _find(header: Sequence[str], quantity: str) -> _Column | None:
    """The first column of a quantity whose unit is known, else the first one at all."""
    found = []
    for word in (*_WORDS[quantity], None):
        for place, name in enumerate(header):
            words = _rest(name, quantity, word)
            if words is not None:
                found.append(_Column(quantity, place, name, _unit_among(words, quantity)))
    return next((column for column in found if column.unit is not None), found[0] if found else None)


def _need(header: Sequence[str], quantity: str) -> _Column:
    column = _find(header, quantity)
    if column is None:
        raise ValueError(f"no column for {quantity}")
    return column


def _rest(name: str, quantity: str, word: str | None) -> list[str] | None:
    """The words of a header after its first, `word`; all if `word` is None and the first is a unit; else None."""
    first, *rest = re.split(r"[^\w%°]+|_+", name)
    if word is None:
        folded = {unit.lower() for unit in _UNITS[quantity]}
        plain = _plain(first).lower()
        return [first, *rest] if plain in folded or _SPELLED.get(plain, "") in _UNITS[quantity] else None
    if first.lower() == word:
        return rest
    if len(word) > 2 and first.lower().startswith(word):
        return [first[len(word) :], *rest]
    return None


def _unit_among(words: Sequence[str], quantity: str) -> str | None:
    """The one unit that the words of a header name; the SI unit where they name none, None where it is unknown."""
    units = {_unit(word, quantity) for word in words if not _NEUTRAL.fullmatch(word)}
    return next(iter(_UNITS[quantity])) if not units else units.pop() if len(units) == 1 else None


def _unit(word: str, quantity: str) -> str | None:
    """A word as a unit. Case may differ (`power_mw`, `TIME_S`), but M could be mega, and is not taken for m."""
    plain = _plain(word)
    spelled = _SPELLED.get(plain.lower())
    if spelled in _UNITS[quantity]:
        return spelled
    for unit in _UNITS[quantity]:
        mega = plain.startswith("M") and unit.startswith("m") and unit != "min"
        if plain.lower() == unit.lower() and not mega:
            return unit
    return None


def _plain(word: str) -> str:
    """The word with u for the micro sign, and for the Greek letter that looks the same."""
    return word.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")


def _numbers(rows: Sequence[Sequence[str]], column: _Column) -> FloatArray:
    """A column's values in the SI unit."""
    values = np.array([float(row[column.place].replace(",", ".")) for row in rows])
    return _UNITS[column.quantity][column.known()] * values


def _times(rows: Sequence[Sequence[str]], column: _Column) -> tuple[FloatArray, str]:
    """Seconds, of numbers in the column's unit or of ISO dates, and what they were read as."""
    try:
        return _numbers(rows, column), column.known()
    except ValueError:
        texts = [row[column.place].strip() for row in rows]
        return np.array([datetime.fromisoformat(text).timestamp() for text in texts]), "ISO dates"


def _check(samples: FloatArray) -> None:
    if len(samples) < 10:
        raise ValueError(f"{len(samples)} rows are too few")
    if not np.isfinite(samples).all():
        raise ValueError("a value is missing")
    if (np.diff(samples[:, 0]) <= 0).any():
        row = int(np.argmax(np.diff(samples[:, 0]) <= 0)) + 2
        raise ValueError(f"time does not rise after row {row}")
