"""Records travel to the host and are forgotten here when it has them: days late if need be, never lost on the way.

      spool ──batch──▶ host stores it durably ──acknowledged: highest seq──▶ spool forgets up to there

What arrives twice (an answer that was lost) has the same key twice: (device id, spool uuid, seq).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from greenup_runtime.errors import DeviceFault, SpoolFault
from greenup_runtime.post import Batch, Busy, Host, TooLarge
from greenup_runtime.settings import ShipSettings
from greenup_runtime.spool import Spool
from greenup_runtime.store import Store

Wait = Callable[[float], bool]


class Shipper:
    """Ships what waits in the store's spool, in a thread from `start` to `close`, or at once by `ship`.

    Raises UsageFault for an address that cannot be meant.
    """

    def __init__(self, settings: ShipSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._host = Host(settings)
        self._batch = max(1, settings.batch_records)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._fault: str | None = None
        self._shipped = 0

    def start(self) -> Shipper:
        """Ship from now on, in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="greenup-shipper", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop; what is under way ends first."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def facts(self) -> dict[str, Any]:
        """For `/metrics`: records shipped, failures in a row, and the last one's message."""
        return {
            "records_shipped_total": self._shipped,
            "ship_failures": self._failures,
            "ship_fault": self._fault,
        }

    def run(self, wait: Wait | None = None) -> None:
        """Ship and wait, in turns, until `wait` (seconds) says that it is enough; by default until `close`."""
        wait = wait or self._stop.wait
        while not wait(self._turn()):
            pass

    def ship(self) -> int:
        """Ship all that waits; returns how many records the host acknowledged. Raises DeviceFault."""
        with self._store.spool() as spool:
            try:
                return self._all_of(spool)
            finally:
                self._host.close()

    def _turn(self) -> float:
        """Ship once; returns the seconds to wait before the next time."""
        try:
            self.ship()
        except DeviceFault as fault:
            self._failures += 1
            self._fault = fault.message
            least_s = fault.wait_s if isinstance(fault, Busy) else 0.0
            return max(self._back_off_s(), min(least_s, self._settings.longest_back_off_s))
        self._failures, self._fault = 0, None
        return self._settings.every_s

    def _back_off_s(self) -> float:
        """Twice as long after each failure, and never at the same moment as other devices."""
        longest_s = self._settings.longest_back_off_s
        # The exponent is bounded: a float has no room for two to the power of a year of failures.
        back_off_s = min(longest_s, max(1.0, self._settings.every_s) * 2.0 ** min(self._failures - 1, 30))
        return back_off_s * random.uniform(0.5, 1.0)

    def _all_of(self, spool: Spool) -> int:
        total = 0
        while not self._stop.is_set():
            name, lines = spool.lines(0, self._batch)
            if not lines:
                break
            total += self._one(spool, Batch.of(self._store.device_id, name, lines))
        return total

    def _one(self, spool: Spool, batch: Batch) -> int:
        try:
            acknowledged = self._host.send(batch)
        except TooLarge:
            if len(batch.lines) == 1:
                raise
            self._batch = len(batch.lines) // 2
            return 0
        gone = _forget(spool, batch, acknowledged)
        self._shipped += gone
        return gone


def _forget(spool: Spool, batch: Batch, acknowledged: int) -> int:
    """Forget what the host has. Raises DeviceFault where it has nothing of the batch."""
    if acknowledged < batch.first:
        raise DeviceFault(
            f"the host stored nothing of the batch: it acknowledged {acknowledged}, {batch.first} is the first",
            "see the host's log",
        )
    if acknowledged > batch.last and acknowledged <= spool.head():
        # It has later ones by another way (`records` over the link); those get their own turn.
        acknowledged = batch.last
    try:
        return spool.acknowledge(acknowledged, batch.spool)
    except SpoolFault as fault:
        raise DeviceFault(f"the host has the batch, but the spool cannot forget it: {fault.message}") from fault
