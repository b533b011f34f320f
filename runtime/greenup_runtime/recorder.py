"""What the server tells of each inference it served, and what it can say of it at once."""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol


class Receipt(NamedTuple):
    """The id of an inference's record, and its energy in joules where a counter gave it at once.

    `method` is `pending` where energy is known only when the period is over, `none` (with `reason`) where no meter
    is there, `off` where no record is kept.
    """

    id: str
    method: str
    energy_j: float | None = None
    reason: str | None = None


class Recorder(Protocol):
    """Takes what was served. `served` is called on the serving thread and takes microseconds."""

    def began(self) -> float:
        """A request begins; the time of the monotonic clock, in seconds.

        It need not be called. Where it is, a counter can be read around a long request that runs alone, and
        `served` knows its energy at once; `served` must then follow for each, or `gave_up` where one failed.
        """

    def gave_up(self) -> None:
        """A request that had begun will not be served."""

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        """One request of so many windows was answered between two times of the monotonic clock, in seconds."""

    def facts(self) -> dict[str, Any]:
        """For `/metrics`: spool depth, dropped, joules so far, the meter's state."""

    def joules(self) -> dict[tuple[str, str], float]:
        """Joules of what was served so far, by bundle and variant."""

    def close(self) -> None:
        """Store what is still held, durably."""


class NoRecorder:
    """Keeps no records."""

    def began(self) -> float:
        """The time."""
        return time.perf_counter()

    def gave_up(self) -> None:
        """Nothing is kept."""

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        """Nothing is kept."""
        return Receipt("", "off", None, "records are off")

    def facts(self) -> dict[str, Any]:
        """Nothing is known."""
        return {}

    def joules(self) -> dict[tuple[str, str], float]:
        """Nothing is known."""
        return {}

    def close(self) -> None:
        """Nothing is held."""
