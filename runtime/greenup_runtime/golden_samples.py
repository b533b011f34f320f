"""Golden samples out of an .npz that nobody has proven yet: what its headers promise must be in its bytes."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
MAX_CASES = 4_096


def read(
    content: bytes, variants: tuple[str, ...], window: tuple[int, int], classes: int
) -> tuple[Float32, dict[str, Float32]]:
    """Windows [cases, channels, length] and, per variant, expected probabilities [cases, classes].

    Nothing is unpacked that is larger than the file itself. Raises ValueError for what does not fit.
    """
    arrays = _arrays(content)
    if missing := [name for name in ("windows", *map(_expected, variants)) if name not in arrays]:
        raise ValueError(f"there are no {missing[0]}")
    windows = arrays["windows"]
    if windows.ndim != 3 or windows.shape[1:] != window or not 0 < len(windows) <= MAX_CASES:
        raise ValueError(f"windows have the shape {list(windows.shape)}, the manifest says {list(window)} each")
    expected = {name: arrays[_expected(name)] for name in variants}
    for name, values in expected.items():
        if values.shape != (len(windows), classes):
            raise ValueError(f"{name} has outputs of shape {list(values.shape)} for {classes} classes")
    for values in (windows, *expected.values()):
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError("a number is not a finite float32")
    return windows, expected


def _expected(variant: str) -> str:
    return f"expected.{variant}"


def _arrays(content: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_sizes(archive, len(content))
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            return dict(loaded.items())
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        MemoryError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        SyntaxError,
        TypeError,
    ) as error:
        raise ValueError(f"the .npz is damaged: {error}") from error


def _check_sizes(archive: zipfile.ZipFile, size_bytes: int) -> None:
    entries = archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > size_bytes:
        raise ValueError("its arrays are larger than the file")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        raise ValueError("an array comes twice")
    for entry in entries:
        with archive.open(entry) as member:
            _check_header(member.read(), entry.filename)


def _check_header(member: bytes, name: str) -> None:
    """numpy makes room for the shape that a header names before it reads: it must be in the bytes."""
    stream = io.BytesIO(member)
    # numpy's module of its own format has no types.
    form: Any = np.lib.format
    reader = form.read_array_header_1_0 if form.read_magic(stream) == (1, 0) else form.read_array_header_2_0
    shape, _, dtype = reader(stream)
    count = 1
    for extent in shape:
        count *= int(extent)
    if dtype.hasobject or count * dtype.itemsize != len(member) - stream.tell():
        raise ValueError(f"{name} does not hold what its header says")
