"""Read a `.ts` file of the UCR/UEA archive: the values by aeon, the labels by ourselves.

aeon writes labels in small letters and turns the `nan` of `banana` into `NaN`; it also stumbles over a blank last
line and, in files with timestamps, drops the sign of every value (seen in aeon 1.6). So it is handed a clean copy,
labels are read as they stand, and timestamps are refused.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from greenup.data.files import DataFile
from greenup.data.recordings import Reading, Recording
from greenup_runtime.errors import DataFault


def read(file: DataFile) -> Reading:
    """All cases of a `.ts` file. Raises DataFault where it has no header, no labels, or a broken line."""
    head, lines = _parts(file)
    _check_header(file, head)
    if not lines:
        raise DataFault(f"{file.name} has no case after its @data line", "is the file complete?")
    values = _values(file, head, lines)
    labels = [line.rpartition(":")[2].strip() for line in lines]
    if not all(labels):
        raise DataFault(f"{file.name}: case {labels.index('') + 1} has no label", "a case ends in `:label`")
    return Reading(
        tuple(
            Recording(series, label, f"case {number} of {file.name}")
            for number, (series, label) in enumerate(zip(values, labels, strict=True), start=1)
        )
    )


def _parts(file: DataFile) -> tuple[list[str], list[str]]:
    """The header's lines, `@data` last, and the lines of the cases, without byte order mark and blank lines."""
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFault(f"{file.name} is not UTF-8 text: {error}", "save it as UTF-8") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.lower() == "@data":
            return lines[: number + 1], lines[number + 1 :]
    raise DataFault(
        f"{file.name} has no header: there is no @data line",
        "a .ts file starts with @problemName, @classLabel true <labels> and @data; see docs/data.md",
    )


def _check_header(file: DataFile, head: list[str]) -> None:
    words = [line.lower().split() for line in head if line.startswith("@")]
    tags = {tag: value for tag, value, *_ in (line for line in words if len(line) > 1)}
    if tags.get("@targetlabel") == "true":
        raise DataFault(
            f"{file.name} is a regression set (@targetLabel true)", "greenup learns classes, not numbers"
        )
    if tags.get("@classlabel") == "false":
        raise DataFault(f"{file.name} has no labels (@classLabel false)", "a classifier needs labelled cases")
    if tags.get("@timestamps") == "true":
        raise DataFault(
            f"{file.name} holds timestamps, which cannot be read from .ts", "use CSV with a time column"
        )


def _values(file: DataFile, head: list[str], lines: list[str]) -> Any:
    from aeon.datasets import load_from_ts_file

    # The label is replaced, since aeon rewrites `?` and `nan` in it as well.
    cases = [f"{line.rpartition(':')[0]}:0" for line in lines]
    with tempfile.TemporaryDirectory(prefix="greenup-ts-") as folder:
        copy = Path(folder) / "copy.ts"
        copy.write_text("\n".join([*head, *cases]) + "\n", encoding="utf-8")
        try:
            return load_from_ts_file(str(copy))[0]
        except (OSError, ValueError, IndexError) as error:
            raise DataFault(
                f"{file.name} cannot be read: {error}".replace(str(copy), file.name),
                "every case has the channels and the length that the header promises",
            ) from error
