"""Read CSV files: one row per sample, a column per channel.

A file in a class's sub-folder is one recording of that class. Elsewhere a `label` column says what each row is,
and a recording is a stretch of rows with one label (and one group): a window cut out of it has one label only.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from greenup.data.files import DataFile
from greenup.data.recordings import Float64, Reading, Recording, did_you_mean, listed
from greenup.recipe import DataSpec
from greenup_runtime.errors import DataFault

if TYPE_CHECKING:
    import pandas as pd

_MISSING = ["", "?", "nan", "NaN", "NAN", "NA", "N/A", "null", "NULL", "None"]
_LOOKS_LIKE_TIME = {"time", "timestamp", "timestamps", "date", "datetime", "time_s"}


def read(files: tuple[DataFile, ...], spec: DataSpec) -> Reading:
    """All recordings of the files. Raises DataFault for a missing column, a word among numbers, or bad times."""
    recordings: list[Recording] = []
    unlabelled = 0
    first: tuple[str, list[str]] | None = None
    for file in files:
        label = file.name.split("/")[0] if "/" in file.name else None
        frame = _frame(file, spec, label)
        channels = _channels(file, frame, spec)
        first = first or (file.name, channels)
        if channels != first[1]:
            raise DataFault(
                f"channels differ: {first[0]} has {listed(first[1])}, {file.name} has {listed(channels)}",
                'name the columns to use, as in channels = ["power"]',
            )
        unlabelled += int(frame[spec.label].isna().sum()) if label is None else 0
        recordings += _stretches(file, frame, channels, spec, label)
    notes = (f"{unlabelled} rows without a label were left out",) if unlabelled else ()
    return Reading(tuple(recordings), notes)


def _frame(file: DataFile, spec: DataSpec, label: str | None) -> pd.DataFrame:
    """The table as words and numbers, its columns checked."""
    import pandas as pd

    text = _text(file)
    header, _, rest = text.partition("\n")
    delimiter = max(",;\t", key=header.count)
    columns = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
    _check_columns(file, columns, spec, label)
    # Where the semicolon parts the fields, the comma may be the decimal point.
    decimal = "," if delimiter == ";" and re.search(r"\d,\d", rest) else "."
    words = {name: str for name in (spec.label, spec.group, spec.time) if name in columns}
    missing = {name: ["", "?"] if name in words else _MISSING for name in columns}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                io.StringIO(rest),
                sep=delimiter,
                decimal=decimal,
                names=columns,
                header=None,
                index_col=False,
                dtype=words,
                na_values=missing,
                keep_default_na=False,
                skipinitialspace=True,
                # Where there is one column only, a blank line is a missing value.
                skip_blank_lines=len(columns) > 1,
                low_memory=False,
            )
        except (ValueError, pd.errors.ParserWarning) as error:
            raise DataFault(
                f"{file.name} cannot be read as CSV: {error}", "every row needs as many fields as the header"
            ) from error


def _text(file: DataFile) -> str:
    try:
        text = file.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataFault(f"{file.name} is not UTF-8 text: {error}", "save it as UTF-8") from error
    if not text:
        raise DataFault(f"{file.name} is empty", "remove it, or write its header line and samples")
    return text.replace("\r\n", "\n")


def _check_columns(file: DataFile, columns: list[str], spec: DataSpec, label: str | None) -> None:
    if all(re.fullmatch(r"[-+.\deE]+", name) for name in columns):
        raise DataFault(f"{file.name} has no header line", "the first line names the columns, as in `power,label`")
    if len(set(columns)) != len(columns):
        raise DataFault(f"{file.name} names a column twice: {listed(columns)}", "give each column its own name")
    wanted = [*(() if label else (spec.label,)), spec.group, spec.time, *(spec.channels or ())]
    for name in wanted:
        if name is not None and name not in columns:
            raise DataFault(
                f"{file.name} has no column {name!r}{did_you_mean(name, columns)}",
                f"its columns are: {listed(columns)}",
            )


def _channels(file: DataFile, frame: pd.DataFrame, spec: DataSpec) -> list[str]:
    """The columns that are channels: those named, else all but label, group and time; made numbers in place."""
    names = list(spec.channels or (name for name in frame if name not in (spec.label, spec.group, spec.time)))
    if not names:
        raise DataFault(f"{file.name} has no column with values", f"its columns are: {listed(map(str, frame))}")
    for name in names:
        if spec.channels is None and spec.time is None and name.lower() in _LOOKS_LIKE_TIME:
            raise DataFault(
                f"{file.name}: column {name!r} looks like time, and would be learnt from as a channel",
                f'say time = "{name}", or name the columns to use with channels',
            )
        frame[name] = _numbers(file, frame, name)
    return names


def _numbers(file: DataFile, frame: pd.DataFrame, name: str) -> Any:
    import pandas as pd

    numbers = pd.to_numeric(frame[name], errors="coerce")
    bad = np.flatnonzero((numbers.isna() & frame[name].notna()).to_numpy())
    if bad.size:
        raise DataFault(
            f"{file.name}: {frame[name].iloc[bad[0]]!r} in column {name!r}, line {bad[0] + 2}, is no number",
            'name the columns to use, as in channels = ["power"]; a missing value is empty, NaN or ?',
        )
    return numbers.astype(np.float64)


def _stretches(
    file: DataFile, frame: pd.DataFrame, channels: list[str], spec: DataSpec, label: str | None
) -> list[Recording]:
    """One recording per stretch of rows with one label and one group; rows without a label belong to none."""
    if frame.empty:
        raise DataFault(f"{file.name} has a header but no samples", "remove it, or write its samples")
    labels = [label] * len(frame) if label else _words(frame[spec.label])
    groups = _words(frame[spec.group]) if spec.group else [None] * len(frame)
    values = np.ascontiguousarray(frame[channels].to_numpy(dtype=np.float64).T)
    times = _times(file, frame, spec.time)
    keys = list(zip(labels, groups, strict=True))
    edges = [0, *(row for row in range(1, len(keys)) if keys[row] != keys[row - 1]), len(keys)]
    return [
        Recording(
            values[:, start:end],
            word,
            file.name if len(edges) == 2 else f"lines {start + 2} to {end + 1} of {file.name}",
            groups[start],
            None if times is None else times[start:end],
        )
        for start, end in itertools.pairwise(edges)
        if (word := labels[start]) is not None
    ]


def _words(column: Any) -> list[str | None]:
    return [None if word != word or word is None else str(word).strip() for word in column]


def _times(file: DataFile, frame: pd.DataFrame, name: str | None) -> Float64 | None:
    """Seconds of every row, from numbers (taken as seconds) or from dates."""
    import pandas as pd

    if name is None:
        return None
    seconds = pd.to_numeric(frame[name].str.replace(",", ".", regex=False), errors="coerce")
    if seconds.isna().any():
        dates = pd.to_datetime(frame[name], errors="coerce", utc=True, format="ISO8601")
        seconds = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    bad = np.flatnonzero(seconds.isna().to_numpy())
    if bad.size:
        raise DataFault(
            f"{file.name}: {frame[name].iloc[bad[0]]!r} in column {name!r}, line {bad[0] + 2}, is no time",
            "write seconds, or dates as 2026-01-31T12:00:00",
        )
    times: Float64 = seconds.to_numpy(dtype=np.float64)
    return times
