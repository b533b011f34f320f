"""Time as the measurement sees it, so that a simulated trial can run on a clock of its own.

What must happen beside the measured work (a sensor that is read at its own rate) is a beat of the clock: a
thread with absolute deadlines on the machine's clock, a callback at its due times on a fake one.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

Beat = Callable[[], None]


class Repeated(Protocol):
    """Something that the clock does again and again until it is stopped."""

    def stop(self) -> None:
        """Do it no more; a beat that is under way is waited for."""
        ...


class Clock(Protocol):
    """Monotonic seconds, waiting, and beats."""

    def now(self) -> float:
        """Monotonic time in seconds."""
        ...

    def cpu(self) -> float:
        """CPU time of this process in seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass without work."""
        ...

    def repeat(self, period_s: float, beat: Beat) -> Repeated:
        """Call `beat` now and every `period_s` from now on; deadlines are absolute, so no drift adds up."""
        ...


class SystemClock:
    """The machine's own clocks."""

    now = staticmethod(time.perf_counter)
    cpu = staticmethod(time.process_time)
    sleep = staticmethod(time.sleep)

    def repeat(self, period_s: float, beat: Beat) -> Repeated:
        """A thread that calls `beat` at absolute deadlines; one that came too late is left out, not made up."""
        return _BeatThread(period_s, beat)


class _BeatThread:
    def __init__(self, period_s: float, beat: Beat) -> None:
        self._period_s = period_s
        self._beat = beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="greenup-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.perf_counter()
        while not self._stop.wait(max(0.0, due_s - time.perf_counter())):
            self._beat()
            due_s += self._period_s
            behind_s = time.perf_counter() - due_s
            if behind_s > 0:
                due_s += math.ceil(behind_s / self._period_s) * self._period_s


class FakeClock:
    """A clock that moves only when told to: `work` passes busy time, `sleep` idle time.

    Beats fire at their due times while it moves, in the caller's thread: a simulated hour takes milliseconds
    and every run is the same.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self._cpu_s = 0.0
        self._beats: list[_FakeBeat] = []
        self._due_s = math.inf
        self._beating = False

    def now(self) -> float:
        """Seconds passed so far."""
        return self._now_s

    def cpu(self) -> float:
        """Busy seconds passed so far."""
        return self._cpu_s

    def sleep(self, seconds: float) -> None:
        """Pass idle time."""
        self._pass(seconds, 0.0)

    def work(self, seconds: float) -> None:
        """Pass busy time."""
        end_s = self._now_s + seconds
        if end_s < self._due_s:
            self._cpu_s += seconds
            self._now_s = end_s
        else:
            self._pass(seconds, 1.0)

    def repeat(self, period_s: float, beat: Beat) -> Repeated:
        """Call `beat` when the time that passes reaches its due times, from now on."""
        repeated = _FakeBeat(self, period_s, beat, self._now_s)
        self._beats.append(repeated)
        self._find_due()
        return repeated

    def drop(self, beat: _FakeBeat) -> None:
        """Forget a beat."""
        self._beats = [each for each in self._beats if each is not beat]
        self._find_due()

    def _pass(self, seconds: float, busy: float) -> None:
        end_s = self._now_s + seconds
        # Time that a beat itself takes (a slow sensor) does not set off other beats.
        while self._due_s <= end_s and not self._beating:
            self._move_to(max(self._due_s, self._now_s), busy)
            self._fire()
        self._move_to(max(end_s, self._now_s), busy)

    def _move_to(self, at_s: float, busy: float) -> None:
        self._cpu_s += busy * (at_s - self._now_s)
        self._now_s = at_s

    def _fire(self) -> None:
        self._beating = True
        try:
            for each in self._beats:
                if each.due_s <= self._now_s:
                    each.count += 1
                    each.beat()
        finally:
            self._beating = False
        self._find_due()

    def _find_due(self) -> None:
        self._due_s = min((each.due_s for each in self._beats), default=math.inf)


class _FakeBeat:
    def __init__(self, clock: FakeClock, period_s: float, beat: Beat, first_s: float) -> None:
        self._clock = clock
        self._period_s = period_s
        self._first_s = first_s
        self.beat = beat
        self.count = 0

    @property
    def due_s(self) -> float:
        """When the next beat is due: a multiple of the period, so that no rounding adds up."""
        return self._first_s + self.count * self._period_s

    def stop(self) -> None:
        self._clock.drop(self)
