"""The recorder of a serving runner: a queue on the serving threads' side, one thread that does the rest."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from pathlib import Path
from typing import Any

from greenup_runtime import meters
from greenup_runtime.clock import Clock, SystemClock
from greenup_runtime.meters import Chosen, MeterOptions
from greenup_runtime.recorder import NoRecorder, Receipt, Recorder
from greenup_runtime.recording.at_once import AtOnce
from greenup_runtime.recording.book import Book, beat_s
from greenup_runtime.recording.keeper import Keeper
from greenup_runtime.recording.requests import Served
from greenup_runtime.sampling import Reopen, Sampler
from greenup_runtime.settings import RecordSettings
from greenup_runtime.spool import Bounds
from greenup_runtime.store import Store

# Beyond so many the oldest are lost, and counted: the recorder's thread has then stood still for long.
MAX_QUEUED = 100_000
# Each turn wakes a core; seldom ones keep the interpreter's lock for longer.
_TURN_S = 0.25
_DAY_S = 86_400.0
# Each answer carries it; what each meter lacks is in records and told by the verb.
_NO_METER = "no meter works here: greenup-runner meters says why"
_ONE_OF_MANY = Receipt("", "off", None, "not every request leaves a record of its own")


class LiveRecorder:
    """Takes what was served, in about a microsecond; energy is found and stored by a thread.

    `period_s` and the meter's kind decide when a record's energy is known; a crash of the process loses what was
    not stored yet. A disk that is full costs records, which are counted, and never a request.
    """

    def __init__(
        self, settings: RecordSettings, store: Store, chosen: Chosen, clock: Clock, reopen: Reopen | None = None
    ) -> None:
        self._queue: deque[Served] = deque(maxlen=MAX_QUEUED)
        self._numbers = itertools.count(1)
        self._taken = 0
        self._stop = threading.Event()
        self._chosen = chosen
        self._meter = chosen.meter.facts if chosen.meter else None
        why_none = "; ".join(chosen.reasons) or "no meter here"
        self._keeper = Keeper(lambda: store.spool(bounds_of(settings)))
        self._sampler = Sampler(chosen.meter, clock, reopen, beat_s(settings, self._meter))
        self._sampler.__enter__()
        self._book = Book(settings, store.device_id, self._sampler, self._meter, why_none, clock, self._keeper)
        self._at_once = AtOnce(self._sampler, self._meter, clock)
        self._told = False
        self._prefix = f"{self._book.run}-"
        self._method = "pending" if self._meter else "none"
        self._reason = None if self._meter else why_none if len(chosen.reasons) < 2 else _NO_METER
        self._every = settings.every if settings.mode == "every" else int(settings.mode == "each")
        self._thread = threading.Thread(target=self._run, name="greenup-recorder", daemon=True)
        self._thread.start()

    def began(self) -> float:
        """A request begins; the time of the monotonic clock, in seconds."""
        self._told = True
        return self._at_once.began()

    def gave_up(self) -> None:
        """A request that had begun will not be served."""
        self._at_once.ended(0.0)

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        """One request of so many windows was answered between two times of the monotonic clock, in seconds."""
        number = next(self._numbers)
        self._queue.append((bundle, variant, began_s, ended_s, windows, number))
        energy_j = self._at_once.ended(ended_s - began_s) if self._told else None
        if not (self._every == 1 or (self._every and number % self._every == 0)):
            return _ONE_OF_MANY
        if energy_j is not None:
            return Receipt(f"{self._prefix}{number}", "counter", energy_j)
        return Receipt(f"{self._prefix}{number}", self._method, None, self._reason)

    def facts(self) -> dict[str, Any]:
        """For `/metrics`, flat: what the spool holds, joules so far, and how the meter fares."""
        meter = self._meter
        state = "none" if meter is None else "lost" if self._sampler.lost else "ok"
        return {
            **self._keeper.facts(),
            **self._book.facts(),
            "records_queued": len(self._queue),
            "recorder_up": self._thread.is_alive(),
            "meter_up": state == "ok",
            "meter_state": state,
            "meter_name": meter.name if meter else None,
            "meter_scope": meter.scope if meter else None,
            "meter_reason": self._reason,
            "meter_simulated": meter.simulated if meter else None,
            "meter_estimated": meter.estimated if meter else None,
        }

    def joules(self) -> dict[tuple[str, str], float]:
        """Joules so far by bundle and variant."""
        return self._book.joules()

    def close(self) -> None:
        """Settle and store what is still held, and give the meter back."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_TURN_S):
            self._book.turn(*self._take())
        self._book.finish(*self._take())
        self._sampler.__exit__(None, None, None)

    def _take(self) -> tuple[list[Served], int]:
        """What was served since the last turn, and how many more were pushed out of the queue."""
        queue = self._queue
        served = [queue.popleft() for _ in range(len(queue))]
        if not served:
            return served, 0
        # Numbers rise by one. Threads may overtake one another by a few, which the next turn makes up for.
        self._taken += len(served)
        missed = max(0, max(served[0][5], served[-1][5]) - self._taken) if len(served) == MAX_QUEUED else 0
        self._taken += missed
        return served, missed


def bounds_of(settings: RecordSettings) -> Bounds:
    """What the spool may hold."""
    return Bounds(settings.max_records, settings.max_bytes, settings.max_age_days * _DAY_S)


def open_recorder(settings: RecordSettings, store: Store, root: Path = Path("/")) -> Recorder:
    """The recorder that the settings ask for. Raises MeterFault for a meter named outright that does not work."""
    if settings.mode == "off":
        return NoRecorder()
    clock = SystemClock()
    options = MeterOptions(root=root, clock=clock)
    chosen = meters.choose(settings.meter, meters.SENSORS, options)
    name = chosen.meter.facts.name if chosen.meter and settings.meter == "auto" else settings.meter
    return LiveRecorder(settings, store, chosen, clock, lambda: meters.open_named(name, options))
