"""Read a `.npz` file: `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup.data.files import DataFile
from greenup.data.recordings import Float64, Reading, Recording, listed
from greenup_runtime.errors import DataFault

Arrays = dict[str, npt.NDArray[Any]]


def read(file: DataFile, group: str | None) -> tuple[Reading, Reading | None]:
    """Training cases, and test cases where the file has a test part.

    `x` is [cases, n] or [cases, channels, n]; `y` [cases] holds words or whole numbers; the array named by `group`
    ([cases], for a part of its own with the part's ending) holds the groups. Samples missing in every channel at
    the end of a case are padding and left out. Raises DataFault for another form.
    """
    arrays = _arrays(file)
    if "x" in arrays:
        return _part(file, arrays, "", group), None
    if "x_train" in arrays:
        test = _part(file, arrays, "_test", None) if "x_test" in arrays else None
        return _part(file, arrays, "_train", group), test
    raise DataFault(f"{file.name} has no array x or x_train", f"it holds: {listed(arrays)}")


def _arrays(file: DataFile) -> Arrays:
    try:
        with np.load(io.BytesIO(file.read()), allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataFault(
            f"{file.name} cannot be read as .npz: {error}",
            "write it with numpy.savez, x as numbers and y as words or whole numbers (no Python objects)",
        ) from error


def _part(file: DataFile, arrays: Arrays, ending: str, group: str | None) -> Reading:
    x = arrays[f"x{ending}"]
    if x.ndim not in (2, 3) or x.dtype.kind not in "fiu":
        raise DataFault(
            f"{file.name}: x{ending} is {x.dtype} of shape {list(x.shape)}",
            "numbers of shape [cases, n] or [cases, channels, n] are needed",
        )
    cases = (x if x.ndim == 3 else x[:, None]).astype(np.float64)
    labels = _words(file, arrays, f"y{ending}", len(cases))
    groups = _words(file, arrays, f"{group}{ending}", len(cases)) if group else [None] * len(cases)
    series = [_without_padding(case) for case in cases]
    padded = sum(values.shape[1] < cases.shape[2] for values in series)
    recordings = tuple(
        Recording(values, label, f"{file.name}: x{ending}[{number}]", owner)
        for number, (values, label, owner) in enumerate(zip(series, labels, groups, strict=True))
    )
    notes = (f"{padded} cases of x{ending} end in NaN: taken as padding and left out",) if padded else ()
    return Reading(recordings, notes)


def _words(file: DataFile, arrays: Arrays, name: str, cases: int) -> list[str]:
    if name not in arrays:
        raise DataFault(f"{file.name} has no array {name}", f"it holds: {listed(arrays)}")
    values = arrays[name]
    if values.shape != (cases,):
        raise DataFault(
            f"{file.name}: {name} has shape {list(values.shape)} for {cases} cases", "one for each case"
        )
    if values.dtype.kind == "f":
        if not np.array_equal(values, np.round(values)):
            raise DataFault(f"{file.name}: {name} holds fractions or NaN", "labels are words or whole numbers")
        values = values.astype(np.int64)
    return [str(value).strip() for value in values]


def _without_padding(case: Float64) -> Float64:
    """The case up to its last sample that has a value; one without any value stays as it is, to be refused."""
    present = np.flatnonzero(~np.isnan(case).all(axis=0))
    return case[:, : present[-1] + 1] if present.size else case
