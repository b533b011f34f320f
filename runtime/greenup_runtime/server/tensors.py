"""Tensors of the Open Inference Protocol: JSON or binary in, float32 windows out, and answers back.

Binary tensors are little endian and row-major, as in the protocol's binary tensor extension; a BYTES element is
its length as 4 bytes, then the bytes.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup_runtime.preprocess import Float32
from greenup_runtime.server.http import Refusal

LITTLE = np.dtype("<f4")
_NUMBERS = "iuf"
_LARGEST_DIMENSION = 1 << 31


def checked_shape(shape: Any, limit: int) -> tuple[int, int, int]:
    """A shape [cases, channels, samples]. Raises Refusal for anything else, or above `limit` values."""
    whole = isinstance(shape, list) and all(type(size) is int for size in shape)
    if not whole or len(shape) != 3 or not all(0 < size < _LARGEST_DIMENSION for size in shape):
        raise Refusal(
            400, f"shape is {_short(shape)}, three whole numbers above 0 are meant: [cases, channels, samples]"
        )
    cases, channels, samples = shape
    if cases * channels * samples > limit:
        raise Refusal(413, f"shape {shape} holds more than the {limit} values that are taken at once")
    return cases, channels, samples


def from_binary(data: memoryview, shape: tuple[int, int, int]) -> Float32:
    """The tensor in binary data. Raises Refusal where size and shape do not agree."""
    if len(data) != 4 * math.prod(shape):
        raise Refusal(
            400, f"shape {list(shape)} of FP32 takes {4 * math.prod(shape)} bytes, {len(data)} were sent"
        )
    values: Float32 = np.frombuffer(data, LITTLE).reshape(shape)
    # The JSON before it has any length, and kernels may not take what is not aligned.
    return values if values.flags.aligned else values.copy()


def from_json(data: Any, shape: tuple[int, int, int]) -> Float32:
    """The tensor in a JSON list, flat or nested; null is a missing value.

    Raises Refusal for anything but numbers and null, ragged lists, and where size and shape do not agree.
    """
    try:
        values: npt.NDArray[Any] = np.array(data) if isinstance(data, list) else np.array("")
        if values.dtype == object:
            values = np.array([_number(value) for value in values.ravel()]).reshape(values.shape)
    except (ValueError, OverflowError) as error:
        raise Refusal(400, f"data is no list of numbers: {_short(str(error))}") from error
    if values.dtype.kind not in _NUMBERS:
        raise Refusal(400, "data is no list of numbers")
    if values.size != math.prod(shape) or (values.ndim > 1 and values.shape != shape):
        raise Refusal(400, f"data has the shape {list(values.shape)}, the tensor's is {list(shape)}")
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(shape)


def bytes_elements(texts: list[bytes]) -> bytes:
    """Texts as the elements of a BYTES tensor."""
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{_short(value)} is no number")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
