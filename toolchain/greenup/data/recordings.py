"""What every reader gives: recordings with a label, not yet cut, stretched or split.

A case of an archive is a recording that becomes one window; a day of a meter becomes many. A recording is the
unit that a split never divides, so overlapping windows cannot end up on two sides.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from greenup_runtime.errors import DataFault

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """Values [channels, n] as they were read (NaN where missing), with one label.

    `origin` says where it comes from in messages; `times_s` are seconds [n] where the data has timestamps.
    """

    values: Float64
    label: str
    origin: str
    group: str | None = None
    times_s: Float64 | None = None


@dataclass(frozen=True)
class Reading:
    """What one or more files hold, and what the reader wants to be known about it."""

    recordings: tuple[Recording, ...]
    notes: tuple[str, ...] = ()


def class_names(recordings: Iterable[Recording]) -> tuple[str, ...]:
    """The labels that occur, in the order of their numbers where all are whole numbers, else by alphabet."""
    labels = {recording.label for recording in recordings}
    if all(label.lstrip("-").isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def check_channels(recordings: tuple[Recording, ...]) -> int:
    """The number of channels of all recordings. Raises DataFault where there is none, or they differ."""
    if not recordings:
        raise DataFault("the data holds no recording at all", "docs/data.md shows the layouts that are read")
    first = recordings[0]
    for recording in recordings:
        if recording.values.shape[0] != first.values.shape[0]:
            raise DataFault(
                f"channels differ: {first.origin} has {first.values.shape[0]}, "
                f"{recording.origin} has {recording.values.shape[0]}",
                "every recording needs the same channels",
            )
    return int(first.values.shape[0])


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?`, or nothing where no known name is near."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=1)
    return f", did you mean {by_lower[near[0]]!r}?" if near else ""


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a message, the rest of a long list as a count."""
    every = list(names)
    shown = ", ".join(every[:limit]) or "nothing"
    return shown if len(every) <= limit else f"{shown} and {len(every) - limit} more"
