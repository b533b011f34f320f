"""What the server tells of each inference it served, and what it can say of it at once."""

from __future__ import annotations

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

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        """One request of so many windows was answered between two times of the monotonic clock, in seconds."""

    def facts(self) -> dict[str, Any]:
        """For `/metrics`: spool depth, dropped, joules so far, the meter's state."""

    def close(self) -> None:
        """Store what is still held, durably."""


class NoRecorder:
    """Keeps no records."""

    def served(self, bundle: str, variant: str, began_s: float, ended_s: float, windows: int) -> Receipt:
        """Nothing is kept."""
        return Receipt("", "off", None, "records are off")

    def facts(self) -> dict[str, Any]:
        """Nothing is known."""
        return {}

    def close(self) -> None:
        """Nothing is held."""
