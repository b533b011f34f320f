"""Collect a meter's samples while bursts run.

A counter needs no background work: it is read at each edge of a burst, so sampling costs the measured work
nothing. A power meter is sampled by a thread at its own update rate.
"""

from __future__ import annotations

import threading
from types import TracebackType

import numpy as np

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters.base import Meter
from greenup_runtime.trial import FloatArray


class Sampler:
    """Samples of one meter on one clock; with no meter it only tells the time."""

    def __init__(self, meter: Meter | None, clock: Clock) -> None:
        self._meter = meter
        self._clock = clock
        self._samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: str | None = None

    def __enter__(self) -> Sampler:
        if self._meter is not None and self._meter.facts.kind == "power":
            self._thread = threading.Thread(target=self._poll, name="greenup-sampler", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._meter is not None:
            self._meter.close()

    def mark(self) -> tuple[float, str | None]:
        """The time at the edge of a burst, and why a counter could not be read there, if it could not."""
        if self._meter is None or self._meter.facts.kind == "power":
            return self._clock.now(), self._fault
        return self._sample(self._meter)

    def trace(self) -> FloatArray:
        """All samples so far, with the shape [samples, 2]: seconds, and joules or watts."""
        return np.array(self._samples, dtype=np.float64).reshape(-1, 2)

    def _sample(self, meter: Meter) -> tuple[float, str | None]:
        try:
            value = meter.read()
        except MeterFault as fault:
            return self._clock.now(), fault.message
        now_s = self._clock.now()
        self._samples.append((now_s, value))
        return now_s, None

    def _poll(self) -> None:
        assert self._meter is not None
        while not self._stop.is_set():
            _, self._fault = self._sample(self._meter)
            self._stop.wait(self._meter.facts.update_s)
