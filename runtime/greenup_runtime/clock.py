"""Time as the measurement sees it, so that a simulated trial can run on a clock of its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds, and waiting."""

    def now(self) -> float:
        """Monotonic time in seconds."""
        ...

    def cpu(self) -> float:
        """CPU time of this process in seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass without work."""
        ...


class SystemClock:
    """The machine's own clocks."""

    now = staticmethod(time.perf_counter)
    cpu = staticmethod(time.process_time)
    sleep = staticmethod(time.sleep)


class FakeClock:
    """A clock that moves only when told to: `work` passes busy time, `sleep` idle time."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._cpu_s = 0.0

    def now(self) -> float:
        """Seconds passed so far."""
        return self._now_s

    def cpu(self) -> float:
        """Busy seconds passed so far."""
        return self._cpu_s

    def sleep(self, seconds: float) -> None:
        """Pass idle time."""
        self._now_s += seconds

    def work(self, seconds: float) -> None:
        """Pass busy time."""
        self._now_s += seconds
        self._cpu_s += seconds
