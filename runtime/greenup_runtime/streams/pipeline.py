"""One thread reads, cuts and queues; this one classifies and writes.

source ─ lines ─ samples ─ windows ──▷ Waiting ──▷ model ─ recorder ─ output
reader's thread                        bounded     caller's thread
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenup_runtime import logs, systemd
from greenup_runtime.errors import GreenupError
from greenup_runtime.preprocess import InputPolicy
from greenup_runtime.recorder import Recorder
from greenup_runtime.settings import StreamSettings
from greenup_runtime.streams.labels import Label
from greenup_runtime.streams.model import Model
from greenup_runtime.streams.outputs import Output, OutputClosed
from greenup_runtime.streams.samples import Lines, SampleReader
from greenup_runtime.streams.series import Window
from greenup_runtime.streams.source import Source
from greenup_runtime.streams.waiting import Waiting
from greenup_runtime.streams.windows import GapCounts, StreamWindows

_TURN_S = 0.25
_SLICE_S = 0.05
_SAY_EVERY_S = 60.0


@dataclass(frozen=True)
class Arrived:
    """A window, and when its last sample came, in seconds since 1970."""

    window: Window
    at_s: float


class Reader:
    """Reads a source on a thread of its own and queues windows. Its fault is kept for whoever waits."""

    def __init__(
        self, source: Source, policy: InputPolicy, settings: StreamSettings, stop: threading.Event
    ) -> None:
        drops = settings.overflow == "drop" or (settings.overflow == "auto" and source.live)
        self.queue: Waiting[Arrived] = Waiting(settings.queue_windows, drops=drops)
        self.fault: GreenupError | None = None
        self.samples = SampleReader(policy.channels, settings.samples, settings.time_unit)
        self.windows = 0
        self._source = source
        self._policy = policy
        self._settings = settings
        self._stop = stop
        self._lines = Lines()
        self._cutter: StreamWindows | None = None
        self._whole = False
        self._thread = threading.Thread(target=self._run, name="greenup-stream-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the reader's end. Raises its fault, and another where a bug of ours ended it with a trace."""
        self._thread.join(timeout_s)
        if self.fault is not None:
            raise self.fault
        if not self._whole and not self._thread.is_alive():
            raise GreenupError("the reader of the stream broke; the trace above says where", "please report it")

    @property
    def gaps(self) -> GapCounts:
        """What was amiss between samples."""
        return self._cutter.counts if self._cutter is not None else GapCounts()

    def facts(self) -> dict[str, int]:
        """Counts of samples, garbage, gaps, windows."""
        return {
            "samples": self.samples.samples,
            "garbage_lines": self.samples.garbage + self._lines.too_long,
            **self.gaps.to_json(),
            "windows": self.windows,
            "dropped_windows": self.queue.dropped,
            "deepest_queue": self.queue.deepest,
            **self._source.facts(),
        }

    def _run(self) -> None:
        try:
            for data in self._source.read(self._stop):
                self._take(self._lines.feed(data))
            self._take(self._lines.end())
            if self._cutter is not None:
                self._put(self._cutter.finish())
            self._whole = True
        except GreenupError as fault:
            self.fault = fault
        except OSError as error:
            self.fault = GreenupError(f"the source cannot be read: {error.strerror or error}")
        finally:
            self.queue.close()

    def _take(self, lines: list[bytes]) -> None:
        for part in self._paced(lines):
            values, times_s = self.samples.read(part)
            if not values.shape[1]:
                continue
            if self._cutter is None:
                gap_s = self._settings.longest_gap_s
                self._cutter = StreamWindows(self._policy, timed=times_s is not None, longest_gap_s=gap_s)
            self._put(self._cutter.push(values, times_s))

    def _put(self, windows: Iterator[Window]) -> None:
        for window in windows:
            self.windows += 1
            self.queue.put(Arrived(window, time.time()))

    def _paced(self, lines: list[bytes]) -> Iterator[list[bytes]]:
        """The lines in slices at the pace of a replay; all at once where there is none."""
        rate_hz = self._settings.rate_hz
        if not rate_hz or not lines:
            yield lines
            return
        size = max(1, round(rate_hz * _SLICE_S))
        due_s = time.monotonic()
        for begin in range(0, len(lines), size):
            part = lines[begin : begin + size]
            yield part
            due_s += len(part) / rate_hz
            if self._stop.wait(max(0.0, due_s - time.monotonic())):
                return


class Stream:
    """Classifies what a reader queues until the source ends, `stop` is set or nobody reads the labels."""

    def __init__(
        self,
        reader: Reader,
        model: Model,
        recorder: Recorder,
        output: Output,
        settings: StreamSettings,
        stop: threading.Event,
    ) -> None:
        self.reload = threading.Event()
        self.classified = 0
        self._reader = reader
        self._model = model
        self._recorder = recorder
        self._output = output
        self._settings = settings
        self._stop = stop
        self._labels: Counter[str] = Counter()
        self._slowest_s = 0.0
        self._said_dropped = 0
        self._said_garbage = 0

    def run(self) -> dict[str, Any]:
        """Run to the end; returns the counts. Raises the reader's fault."""
        self._reader.start()
        systemd.notify("READY=1")
        try:
            self._classify_all()
        except OutputClosed:
            logs.event("info", "stream.output_closed")
        finally:
            self._stop.set()
            systemd.notify("STOPPING=1")
            self._reader.queue.abandon()
            self._output.close(self._settings.drain_s)
            self._recorder.close()
        self._reader.join(self._settings.drain_s)
        return self.facts()

    def facts(self) -> dict[str, Any]:
        """All counts so far, labels by class, and the slowest inference in seconds."""
        return {
            **self._reader.facts(),
            "classified": self.classified,
            "labels": dict(self._labels),
            "slowest_s": self._slowest_s,
            **self._output.facts(),
        }

    def _classify_all(self) -> None:
        beat, say = _Every(systemd.watchdog_s()), _Every(_SAY_EVERY_S)
        drained_by_s: float | None = None
        while not self._reader.queue.over:
            beat.do(self._live)
            say.do(self._say)
            self._model.follow(now=self.reload.is_set())
            self.reload.clear()
            if self._stop.is_set():
                drained_by_s = drained_by_s or time.monotonic() + self._settings.drain_s
                if time.monotonic() > drained_by_s:
                    return
            arrived = self._reader.queue.take(_TURN_S)
            if arrived is None:
                self._output.idle()
            else:
                self._classify(arrived)

    def _classify(self, arrived: Arrived) -> None:
        began_s = time.perf_counter()
        probabilities = self._model.engine.infer(arrived.window.values[None])[0]
        ended_s = time.perf_counter()
        model = self._model
        receipt = self._recorder.served(model.bundle.digest, model.variant, began_s, ended_s, 1)
        self.classified += 1
        self._slowest_s = max(self._slowest_s, ended_s - began_s)
        label = Label(self.classified, arrived.window, arrived.at_s, probabilities, ended_s - began_s, receipt)
        self._labels[model.bundle.classes[int(np.argmax(probabilities))]] += 1
        every = self._settings.probabilities
        self._output.write(label.line(model.bundle.classes, model.variant, self._settings.labels, every=every))

    def _say(self) -> None:
        """What went amiss since the last time, as events; nothing where nothing did."""
        dropped, samples = self._reader.queue.dropped, self._reader.samples
        if dropped > self._said_dropped:
            said, queue = self._said_dropped, self._settings.queue_windows
            logs.event("warning", "stream.dropped", windows=dropped - said, queue=queue)
        if samples.garbage > self._said_garbage:
            lines = samples.garbage - self._said_garbage
            logs.event("warning", "stream.garbage", lines=lines, example=samples.example)
        self._said_dropped, self._said_garbage = dropped, samples.garbage

    def _live(self) -> None:
        dropped = self._reader.queue.dropped
        systemd.notify(f"WATCHDOG=1\nSTATUS={self.classified} windows classified, {dropped} dropped")


class _Every:
    """Does something now and then every so many seconds; never where there is no period."""

    def __init__(self, period_s: float | None) -> None:
        self._period_s = period_s
        self._due_s = time.monotonic()

    def do(self, what: Callable[[], object]) -> None:
        now_s = time.monotonic()
        if self._period_s is not None and now_s >= self._due_s:
            self._due_s = now_s + self._period_s
            what()
