"""From recordings to windows: choose the policy from the training part, let the runtime's code do the work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from greenup.data.dataset import Windows
from greenup.data.recordings import Recording
from greenup.recipe import DataSpec
from greenup_runtime.errors import DataFault
from greenup_runtime.preprocess import InputPolicy, resampled_length, to_windows

TINY_STD = 1e-3


def without_short(recordings: Sequence[Recording], spec: DataSpec) -> tuple[tuple[Recording, ...], int]:
    """The recordings that hold a window, and how many do not. Raises DataFault where none does."""
    if spec.window is None:
        return tuple(recordings), 0
    lengths = [_samples(recording, spec) for recording in recordings]
    long = tuple(item for item, length in zip(recordings, lengths, strict=True) if length >= spec.window)
    if not long:
        raise DataFault(
            f"window = {spec.window} is longer than every recording: the longest has {max(lengths, default=0)} "
            "samples with one label",
            "use a shorter window, or longer recordings",
        )
    return long, len(recordings) - len(long)


def choose_policy(train: Sequence[Recording], channels: int, spec: DataSpec) -> InputPolicy:
    """The policy of the recipe; a length left open comes from the training recordings only.

    It is the window's, else the one that all have, else by `equalize`: `resample` takes their median, `pad` the
    longest (nothing is cut), `crop` the shortest (nothing is refused). A source rate left open is the usual one by
    their timestamps, so that the runner can also take series that come without.
    """
    return InputPolicy(
        channels=channels,
        length=spec.length or spec.window or _length(train, spec),
        equalize=spec.equalize,
        missing=spec.missing,
        rate_hz=spec.rate_hz,
        source_rate_hz=spec.source_rate_hz or _usual_rate_hz(train, spec),
        window=spec.window,
        stride=spec.stride,
    )


def cut(
    recordings: Sequence[Recording], policy: InputPolicy, classes: tuple[str, ...], *, by_group: bool = False
) -> Windows:
    """All windows of the recordings. Raises DataFault, naming the recording, where one cannot be used."""
    pieces, labels, units = [], [], []
    for recording in recordings:
        try:
            windows = to_windows(recording.values, policy, recording.times_s)
        except DataFault as fault:
            raise DataFault(f"{recording.origin}: {fault.message}", fault.hint) from fault
        pieces.append(windows)
        labels += [classes.index(recording.label)] * len(windows)
        units += [(recording.group or "") if by_group else recording.origin] * len(windows)
    return Windows(np.concatenate(pieces), np.array(labels, dtype=np.int64), np.array(units, dtype=np.str_))


def notes_on_short(count: int, spec: DataSpec) -> list[str]:
    """How many recordings hold no window."""
    return [f"{count} recordings shorter than a window of {spec.window} were left out"] if count else []


def notes_on_lengths(recordings: Sequence[Recording], policy: InputPolicy, spec: DataSpec) -> list[str]:
    """What was done to lengths and gaps, in words."""
    notes = []
    lengths = [_samples(recording, spec) for recording in recordings]
    if policy.window is not None:
        stride = policy.stride or policy.window
        notes.append(f"recordings are cut into windows of {policy.window} samples, one every {stride}")
    elif min(lengths) != max(lengths) or lengths[0] != policy.length:
        chosen = "the recipe" if spec.length else _RULES[spec.equalize]
        spread = f"{min(lengths)} to {max(lengths)}" if min(lengths) != max(lengths) else f"{lengths[0]}"
        notes.append(f"series of {spread} samples become {policy.length} ({chosen}) by {policy.equalize}")
    if policy.rate_hz is not None and spec.source_rate_hz is None:
        notes.append(f"by their times recordings have {policy.source_rate_hz:g} Hz; the runner assumes it without")
    gaps = sum(int(np.isnan(recording.values).sum()) for recording in recordings)
    if gaps:
        notes.append(f"{gaps} missing values were filled by linear interpolation")
    return notes


def notes_on_values(learnt: Sequence[Windows], test: Windows) -> list[str]:
    """How many windows are nearly constant, and how many test windows were also learnt from."""
    notes = []
    parts = (*learnt, test)
    tiny = sum(int((part.x.std(axis=2, dtype=np.float64) < TINY_STD).any(axis=1).sum()) for part in parts)
    if tiny:
        total = sum(map(len, parts))
        notes.append(f"{tiny} of {total} windows have a channel with a standard deviation below {TINY_STD:g}")
    seen = {window.tobytes() for part in learnt for window in part.x}
    doubles = sum(window.tobytes() in seen for window in test.x)
    if doubles:
        notes.append(
            f"{doubles} of {len(test)} test windows equal a training or validation window; left as they are"
        )
    return notes


_RULES = {
    "resample": "the median of the training series",
    "pad": "the longest training series",
    "crop": "the shortest training series",
}


def _length(train: Sequence[Recording], spec: DataSpec) -> int:
    lengths = [_samples(recording, spec) for recording in train]
    chosen = {"resample": round(float(np.median(lengths))), "pad": max(lengths), "crop": min(lengths)}[
        spec.equalize
    ]
    if chosen < 2:
        raise DataFault(
            f"the training series are empty or too short: {chosen} samples, 2 are needed",
            "one row per sample and one recording per file or stretch is expected; see docs/data.md",
        )
    return chosen


def _usual_rate_hz(train: Sequence[Recording], spec: DataSpec) -> float | None:
    """One over the median time step of the recordings, to six digits; None where no rate is asked for."""
    steps = [np.diff(item.times_s) for item in train if item.times_s is not None and len(item.times_s) > 1]
    if spec.rate_hz is None or not steps:
        return None
    return float(f"{1 / float(np.median(np.concatenate(steps))):.6g}")


def _samples(recording: Recording, spec: DataSpec) -> int:
    try:
        count = recording.values.shape[1]
        return resampled_length(count, spec.rate_hz, spec.source_rate_hz, recording.times_s)
    except DataFault as fault:
        raise DataFault(f"{recording.origin}: {fault.message}", fault.hint) from fault
