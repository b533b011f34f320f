"""NVIDIA's tegrastats as a child process: what is left where the sensors' files cannot be read.

JetPack 4        … POM_5V_IN 1750/1628 POM_5V_GPU 0/0 …              milliwatts now / since it began
JetPack 5 and 6  … VDD_IN 4943mW/4943mW VDD_CPU_GPU_CV 1040mW/1040mW …
JetPack 7.2      … VDD_IN 4943mW/4943mW/5102mW …                     a third value

The first number is the one to integrate. A line that lacks a rail (cut off, garbled, of another language) is
skipped and counted. A process that ends is started again, a few times.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Mapping

from greenup_runtime.clock import Clock
from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import jetson_rails
from greenup_runtime.meters.base import MeterOptions, StaleReading
from greenup_runtime.meters.rails import RailsMeter, pick
from greenup_runtime.meters.sysfs import MOST_W
from greenup_runtime.trial import MeterFacts

INTERVAL_S = 0.1
MOST_RESTARTS = 5
_PATIENCE_S = 3.0
_PAUSE_S = 0.2
_SETTLED_LINES = 50
# RAM 1923/3964MB must not pass, nor must its beginning where the line was cut.
_RAIL = re.compile(
    r"(?<![^\s])(?P<name>[A-Z][A-Z0-9_]{1,40}) (?P<now>[0-9]{1,7})(?P<unit>mW)?/"
    r"[0-9]{1,7}(mW)?(/[0-9]{1,7}(mW)?)?(?![^\s])"
)
_NOT_RAILS = frozenset({"RAM", "SWAP", "IRAM", "NC"})


def parse(line: str) -> dict[str, float]:
    """Watts by rail in one line; empty where it holds none. No rail is ever 0 because it was not there."""
    rails: dict[str, float] = {}
    for found in _RAIL.finditer(line):
        power_w = int(found["now"]) / 1e3
        if found["name"] in _NOT_RAILS or power_w > MOST_W:
            continue
        rails.setdefault(found["name"], power_w)
    return rails


class Stream:
    """A thread that reads a running tegrastats and keeps its newest line with all rails."""

    def __init__(self, command: list[str], clock: Clock) -> None:
        self._command = command
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._settled = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._rails: tuple[str, ...] = ()
        self._newest: dict[str, float] | None = None
        self._last_line_s = clock.now()
        self._ended: str | None = None
        self.skipped = 0
        self.restarts = 0
        self._thread = threading.Thread(target=self._follow, name="greenup-tegrastats", daemon=True)
        self._thread.start()

    def rails(self) -> tuple[str, ...]:
        """The rails of the board, once two lines agree on them. Raises MeterFault where they do not in time."""
        self._settled.wait(_PATIENCE_S)
        with self._lock:
            if self._newest is not None:
                return self._rails
        why = self._ended or f"it printed no power ({self.skipped} lines skipped)"
        raise MeterFault(f"tegrastats cannot be used: {why}", "try `tegrastats` by hand")

    def read(self, names: Iterable[str]) -> Mapping[str, float]:
        """Watts of the newest line. Raises StaleReading before the next, MeterFault where it fell silent."""
        with self._lock:
            newest, self._newest = self._newest, None
            if newest is not None:
                return pick(newest, names)
            if self._ended is not None:
                raise MeterFault(f"tegrastats ended: {self._ended}")
            silent_s = self._clock.now() - self._last_line_s
        if silent_s > _PATIENCE_S:
            raise MeterFault(f"tegrastats is silent for {silent_s:.0f} s ({self.skipped} lines skipped)")
        raise StaleReading("tegrastats has no new line yet")

    def close(self) -> None:
        """End the process and the thread."""
        self._stop.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join(2.0)

    def _follow(self) -> None:
        while not self._stop.is_set():
            lines = self._run()
            if lines >= _SETTLED_LINES:
                self.restarts = 0
            if self._ended is not None or self._stop.is_set():
                break
            if self.restarts >= MOST_RESTARTS:
                self._end(f"it ended {self.restarts + 1} times")
                break
            self.restarts += 1
            self._stop.wait(_PAUSE_S * self.restarts)

    def _run(self) -> int:
        """Follow one process to its end; returns how many lines counted."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            self._end(error.strerror or str(error))
            return 0
        with self._lock:
            self._process = process
        if self._stop.is_set():
            process.terminate()
        assert process.stdout is not None
        with process, process.stdout:
            return sum(self._take(line) for line in process.stdout)

    def _take(self, line: str) -> bool:
        rails = parse(line)
        with self._lock:
            if rails and tuple(rails) == self._rails:
                self._newest, self._last_line_s = rails, self._clock.now()
                self._settled.set()
                return True
            if not self._settled.is_set() and rails:
                self._rails = tuple(rails)
            else:
                self.skipped += 1
            return False

    def _end(self, why: str) -> None:
        with self._lock:
            self._ended = why
        self._settled.set()


def open_meter(options: MeterOptions) -> RailsMeter:
    """Start tegrastats, found by PATH. Raises MeterFault where it is missing or prints no power."""
    program = shutil.which("tegrastats")
    if program is None:
        raise MeterFault("no tegrastats: the program is not on the PATH", "it comes with JetPack")
    stream = Stream([program, "--interval", str(round(INTERVAL_S * 1e3))], options.clock)
    try:
        labels = stream.rails()
        summed, scope = jetson_rails.counted(labels, jetson_rails.asked_for(options))
        resolution = jetson_rails.resolution_w(options, len(summed))
    except MeterFault:
        stream.close()
        raise
    facts = MeterFacts(
        name="tegrastats",
        kind="power",
        scope=scope,
        source=f"tegrastats, {' + '.join(summed)}",
        update_s=INTERVAL_S,
        resolution=resolution,
        rails=summed,
        lag_s=INTERVAL_S,
    )
    return RailsMeter(facts, stream.read, options.clock, shown=labels, has_ready_flag=True, close=stream.close)
