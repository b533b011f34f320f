"""Gaps, time base, length, segmentation: the one implementation, for training and for serving.

    series [channels, n] → fill gaps → resample to rate_hz → segment → equalize → float32 [channels, length]

The toolchain makes training windows with it, the runner makes served windows with it, and what it is told to do
travels in the bundle's manifest as an `InputPolicy`. So a client sends what its sensor gives. Normalisation is not
here: it is part of the ONNX graph.

All resampling is linear interpolation without a low-pass filter: content above half the new rate folds back.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from greenup_runtime.errors import DataFault

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
# Timestamps a year apart at 50 Hz would ask for 12 GB; a device must not die of one wrong timestamp.
MAX_SAMPLES = 50_000_000
# Epoch seconds in float64 are exact to 2e-7 s only, so the last sample of a time base may fall short by a hair.
_GRID_TOLERANCE = 1e-3


@dataclass(frozen=True)
class InputPolicy:
    """How a series becomes windows of `channels` × `length` samples.

    `equalize` says what becomes of another length: `resample` interpolates linearly over the whole span; `pad`
    holds the last value, and a longer series keeps its first `length` samples; `crop` keeps the first `length`
    samples and refuses a shorter series. `missing` fills gaps (`interpolate`) or refuses them. `rate_hz` is the
    time base asked for, `source_rate_hz` that of the source where no timestamps come with it. `window` and
    `stride` (default: `window`, no overlap) count samples after resampling. Raises ValueError where these do not
    fit together.
    """

    channels: int
    length: int
    equalize: Literal["resample", "pad", "crop"] = "resample"
    missing: Literal["interpolate", "refuse"] = "interpolate"
    rate_hz: float | None = None
    source_rate_hz: float | None = None
    window: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.equalize not in ("resample", "pad", "crop"):
            raise ValueError(f"equalize is {self.equalize!r}: resample, pad or crop is meant")
        if self.missing not in ("interpolate", "refuse"):
            raise ValueError(f"missing is {self.missing!r}: interpolate or refuse is meant")
        counts = (self.channels, self.length, self.window, self.stride)
        if any(count is not None and count < 1 for count in counts):
            raise ValueError("channels, length, window and stride are 1 or more")
        if any(rate is not None and not 0 < rate < math.inf for rate in (self.rate_hz, self.source_rate_hz)):
            raise ValueError("rate_hz and source_rate_hz are above 0")

    def to_json(self) -> dict[str, Any]:
        """The policy as the manifest holds it."""
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> InputPolicy:
        """A policy out of a manifest. Raises TypeError or ValueError for another form."""
        return InputPolicy(**raw)


def to_window(series: npt.ArrayLike, policy: InputPolicy, times_s: npt.ArrayLike | None = None) -> Float32:
    """One window [channels, length] of a whole series [channels, n] (or [n] for one channel).

    Missing values are NaN: gaps are interpolated linearly, edges are held. A series that has the length and the
    time base already comes back with its values unchanged. `times_s` are seconds, rising. Raises DataFault for a
    series that is empty, infinite, without any value in a channel, or of other channels than the policy's.
    """
    return equalized(_prepared(series, policy, times_s), policy)


def to_windows(recording: npt.ArrayLike, policy: InputPolicy, times_s: npt.ArrayLike | None = None) -> Float32:
    """All windows [k, channels, length] of a recording [channels, n]; one where the policy does not segment.

    Raises DataFault as `to_window` does, and for a recording shorter than a window.
    """
    prepared = _prepared(recording, policy, times_s)
    if policy.window is None:
        return equalized(prepared, policy)[None]
    pieces = segment(prepared, policy.window, policy.stride or policy.window)
    return np.stack([equalized(piece, policy) for piece in pieces])


def segment(recording: npt.NDArray[Any], window: int, stride: int) -> npt.NDArray[Any]:
    """Windows [k, channels, window], one every `stride` samples, of a recording [channels, n].

    A tail shorter than a window is dropped. Raises DataFault for a recording shorter than one window.
    """
    samples = recording.shape[1]
    if samples < window:
        raise DataFault(
            f"the recording has {samples} samples, a window takes {window}",
            "record longer, or use a shorter window",
        )
    views = np.lib.stride_tricks.sliding_window_view(recording, window, axis=1)[:, ::stride]
    return np.ascontiguousarray(views.transpose(1, 0, 2))


def resampled_length(
    samples: int, rate_hz: float | None, source_rate_hz: float | None, times_s: npt.ArrayLike | None = None
) -> int:
    """How many samples a series of `samples` has on the time base `rate_hz`.

    Raises DataFault for timestamps that do not rise, or where the source's rate is not known.
    """
    if rate_hz is None or samples == 0:
        return samples
    if times_s is not None:
        times = _checked_times(times_s, samples)
        return grid_count(float(times[-1] - times[0]), rate_hz)
    return grid_count((samples - 1) / known_rate(source_rate_hz), rate_hz)


def _prepared(series: npt.ArrayLike, policy: InputPolicy, times_s: npt.ArrayLike | None) -> Float64:
    """The series [channels, m] without gaps and on the policy's time base."""
    values = checked_values(series, policy)
    times = None if times_s is None else _checked_times(times_s, values.shape[1])
    return _on_time_base(_filled(values, policy, times), policy, times)


def checked_values(series: npt.ArrayLike, policy: InputPolicy) -> Float64:
    """A series as [channels, n] of float64. Raises DataFault for another shape, infinite or too large values."""
    try:
        values = np.asarray(series, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataFault(
            f"the series is no table of numbers: {error}", "every channel has as many samples as the others"
        ) from error
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or values.shape[0] != policy.channels:
        raise DataFault(
            f"the series has shape {list(values.shape)}, a shape of [{policy.channels}, samples] is needed",
            "one row per channel, one column per sample",
        )
    if values.shape[1] == 0:
        raise DataFault("the series is empty", "send at least one sample")
    if np.isinf(values).any():
        raise DataFault("the series holds infinite values", "write a missing value as NaN, and check the sensor")
    if np.nanmax(np.abs(values), initial=0.0) > np.finfo(np.float32).max:
        raise DataFault("the series holds values too large for 32-bit numbers", "use a larger unit")
    return values


def _checked_times(times_s: npt.ArrayLike, samples: int) -> Float64:
    times = np.asarray(times_s, dtype=np.float64)
    if times.shape != (samples,):
        raise DataFault(f"{times.size} timestamps for {samples} samples", "give one timestamp per sample")
    if not np.isfinite(times).all():
        raise DataFault("a timestamp is missing or infinite", "leave out samples that have no time")
    if samples > 1 and not (np.diff(times) > 0).all():
        where = int(np.argmin(np.diff(times) > 0)) + 1
        raise DataFault(f"the timestamps do not rise at sample {where}", "sort by time and leave out doubles")
    return times


def _filled(values: Float64, policy: InputPolicy, times: Float64 | None) -> Float64:
    missing = np.isnan(values)
    if not missing.any():
        return values
    if policy.missing == "refuse":
        raise DataFault(f"{int(missing.sum())} values are missing", 'missing = "interpolate" would fill them')
    if missing.all(axis=1).any():
        channel = int(np.argmax(missing.all(axis=1)))
        raise DataFault(f"channel {channel} has no value at all", "check the sensor, or leave this series out")
    return gaps_filled(values, np.arange(values.shape[1], dtype=np.float64) if times is None else times)


def gaps_filled(values: Float64, axis: Float64) -> Float64:
    """Values [channels, n] with each channel's NaN interpolated linearly along `axis` [n], edges held.

    Every channel has a value. What lies beyond the nearest values on both sides of a gap does not matter to it.
    """
    missing = np.isnan(values)
    rows = [np.interp(axis, axis[~gap], row[~gap]) for row, gap in zip(values, missing, strict=True)]
    return np.stack(rows)


def _on_time_base(values: Float64, policy: InputPolicy, times: Float64 | None) -> Float64:
    if policy.rate_hz is None or (times is None and policy.source_rate_hz == policy.rate_hz):
        return values
    if times is None:
        times = np.arange(values.shape[1]) / known_rate(policy.source_rate_hz)
    count = grid_count(float(times[-1] - times[0]), policy.rate_hz)
    return interpolated(values, times - times[0], np.arange(count) / policy.rate_hz)


def grid_count(span_s: float, rate_hz: float) -> int:
    """How many samples of a time base of `rate_hz` lie in a span. Raises DataFault beyond MAX_SAMPLES."""
    count = int(min(span_s * rate_hz + _GRID_TOLERANCE, float(MAX_SAMPLES))) + 1
    if count > MAX_SAMPLES:
        raise DataFault(
            f"{span_s:.6g} s at {rate_hz:g} Hz are more than {MAX_SAMPLES} samples",
            "are the timestamps in seconds? cut the recording at long pauses",
        )
    return count


def known_rate(source_rate_hz: float | None) -> float:
    """The source's rate. Raises DataFault where it is not known."""
    if source_rate_hz is None:
        raise DataFault(
            "a rate is asked for, but neither timestamps nor the rate of the source are known",
            "send timestamps, or set source_rate_hz",
        )
    return source_rate_hz


def equalized(values: Float64, policy: InputPolicy) -> Float32:
    """A piece [channels, n] as a window [channels, length], as the policy's `equalize` says."""
    samples = values.shape[1]
    if samples == policy.length:
        fitted = values
    elif policy.equalize == "resample":
        at = np.arange(samples, dtype=np.float64)
        fitted = interpolated(values, at, np.linspace(0.0, samples - 1, policy.length))
    elif samples > policy.length:
        fitted = values[:, : policy.length]
    elif policy.equalize == "pad":
        fitted = np.pad(values, ((0, 0), (0, policy.length - samples)), mode="edge")
    else:
        raise DataFault(
            f'the series has {samples} samples, equalize = "crop" takes the first {policy.length}',
            'use "pad" or "resample", or a smaller length',
        )
    return np.ascontiguousarray(fitted, dtype=np.float32)


def interpolated(values: Float64, at: Float64, wanted: Float64) -> Float64:
    """Values [channels, n] at times `at` [n], linearly interpolated at times `wanted` [m]: [channels, m]."""
    return np.stack([np.interp(wanted, at, row) for row in values])
