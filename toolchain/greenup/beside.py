"""Measure while a meter beside the board is read live: record, run the trial, lay the record onto it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from greenup import live, loop
from greenup_runtime.errors import DataFault

RECORD = "external.csv"
# So many readings tell the meter's rate where nobody said it.
_RATE_FROM = 11
_PATIENCE_S = 30.0
# Readings that are waited for after the trial, so that the record reaches beyond its end.
_TRAILING_READINGS = 5


def measure_beside(
    source: live.Source, columns: str | None, rate_hz: float | None, measure: Callable[[float], Path]
) -> Path:
    """Run `measure(rate_hz)`, which returns a new trial's folder, while the source is recorded.

    Returns the folder of the trial with the meter's energy; the record is kept as `external.csv` in the first
    one. Where the record cannot be laid onto the trial, that one stays without energy and the fault names it.
    """
    with live.recording(source, columns) as record:
        rate_hz = rate_hz or _rate_hz(record)
        folder = measure(rate_hz)
        time.sleep(_TRAILING_READINGS / rate_hz)
        ended = f" ({source.left()})" if record.ended else ""
    try:
        if record.fault is not None:
            raise record.fault
        record.save(folder / RECORD)
        return loop.with_external(folder, folder / RECORD, {"source": source.name, **record.facts()})
    except DataFault as fault:
        kept = f"trial {folder} is kept, without energy"
        raise DataFault(fault.message + ended, f"{fault.hint}; {kept}" if fault.hint else kept) from fault


def _rate_hz(record: live.Recording) -> float:
    """How often readings come, by the first few of them. Raises DataFault where they stop."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while len(record.lines) < _RATE_FROM:
        if record.ended or record.fault is not None or time.monotonic() > give_up_s:
            raise DataFault(
                f"{len(record.lines)} readings came in {_PATIENCE_S:.0f} s and then no more",
                "let the meter send all the time; where it is slow, name its rate by --external-hz",
            )
        time.sleep(0.05)
    times = np.array([at_s for at_s, _ in record.lines])
    return float(1 / np.median(np.diff(times)))
