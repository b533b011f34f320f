"""Brings blocks into the spool; where that fails serving goes on, and what could not be kept is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from greenup_runtime.errors import DeviceFault
from greenup_runtime.spool import Block, Spool, of_records

# So many records wait in memory for a disk that is full or busy; then the oldest are lost, and counted.
MAX_WAITING = 20_000
LostRecord = Callable[[int, str], dict[str, Any]]


class Keeper:
    """Owns the recorder's spool. It belongs to one thread; `facts` may be read from any."""

    def __init__(self, open_spool: Callable[[], Spool]) -> None:
        self._open_spool = open_spool
        self._spool: Spool | None = None
        self._waiting: deque[Block] = deque()
        self._untold = 0
        self._reason = ""
        self.lost = 0
        self.fault: str | None = None
        self.depth = 0
        self.dropped = 0

    def keep(self, blocks: Sequence[Block], lost_record: LostRecord) -> bool:
        """Store what waits and these, in one transaction; whether that worked."""
        self._waiting.extend(blocks)
        told = self._untold
        extra = list(of_records([lost_record(told, self._reason)])) if told else []
        try:
            if self._spool is None:
                self._spool = self._open_spool()
                self._spool.check()
            if self._waiting or extra:
                self._spool.append_blocks([*extra, *self._waiting])
            self.depth, self.dropped = self._spool.depth(), self._spool.dropped
        except DeviceFault as fault:
            self.fault = fault.message
            self._lose(fault.message)
            return False
        self._waiting.clear()
        self._untold -= told
        self.fault = None
        return True

    def miss(self, count: int, reason: str) -> None:
        """So many records were never made."""
        self.lost += count
        self._untold += count
        self._reason = reason

    def facts(self) -> dict[str, Any]:
        """Depth of the spool, records dropped and lost so far, and why the spool cannot be written, if so."""
        return {
            "spool_records": self.depth,
            "records_dropped_total": self.dropped,
            "records_lost_total": self.lost,
            "spool_fault": self.fault,
        }

    def close(self) -> None:
        """Give the spool back; what still waits is lost."""
        if self._waiting:
            self.miss(sum(block.count for block in self._waiting), self.fault or "")
            self._waiting.clear()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _lose(self, reason: str) -> None:
        waiting = sum(block.count for block in self._waiting)
        while waiting > MAX_WAITING:
            oldest = self._waiting.popleft()
            waiting -= oldest.count
            self.miss(oldest.count, reason)
