"""Play a recorded trace back as if it were a sensor; always marked `simulated`.

The file holds JSON lines: first the meter's facts (`kind`, `scope`, `source`, `update_s`), then one
`{"time_s": …, "value": …}` per sample, time counted from the trace's start. Between samples a power meter
holds its last value, as a sensor's register does; a counter is interpolated. After its end the trace repeats.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.trial import FloatArray, MeterFacts


class ReplayMeter:
    """A trace [samples, 2] (seconds; joules or watts) played from the moment of opening."""

    def __init__(self, facts: MeterFacts, trace: FloatArray, clock: Clock) -> None:
        self.facts = facts
        self._times = trace[:, 0] - trace[0, 0]
        self._values = trace[:, 1] - (trace[0, 1] if facts.kind == "counter" else 0.0)
        self._clock = clock
        self._start_s = clock.now()

    def read(self) -> float:
        """The value that the recorded meter had this long after the trace's start."""
        turns, offset_s = divmod(self._clock.now() - self._start_s, float(self._times[-1]))
        if self.facts.kind == "power":
            return float(self._values[np.searchsorted(self._times, offset_s, side="right") - 1])
        return float(turns * self._values[-1] + np.interp(offset_s, self._times, self._values))

    def close(self) -> None:
        """Nothing is held open."""


def open_meter(options: MeterOptions) -> ReplayMeter:
    """Read the trace that the argument names. Raises MeterFault where it is missing or damaged."""
    if not options.argument:
        raise MeterFault("replay needs a file", "write replay:trace.jsonl")
    path = Path(options.argument)
    try:
        head, *lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        trace = np.array([[line["time_s"], line["value"]] for line in lines], dtype=np.float64)
        facts = MeterFacts(
            name="replay",
            kind=head["kind"],
            scope=head["scope"],
            source=f"replay of {head['source']}",
            update_s=float(head["update_s"]),
            simulated=True,
        )
        _check(facts, trace)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeterFault(
            f"trace {path} cannot be replayed: {error}", "its form is in greenup_runtime.meters.replay"
        ) from error
    return ReplayMeter(facts, trace, options.clock)


def _check(facts: MeterFacts, trace: FloatArray) -> None:
    if facts.kind not in {"counter", "power"}:
        raise ValueError(f"kind {facts.kind!r} is neither counter nor power")
    if len(trace) < 2 or not np.isfinite(trace).all() or (np.diff(trace[:, 0]) <= 0).any():
        raise ValueError("it needs two or more finite samples at rising times")
    if facts.kind == "counter" and (np.diff(trace[:, 1]) < 0).any():
        raise ValueError("a counter may not fall")
