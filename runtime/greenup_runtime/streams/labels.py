"""A classified window as a line: time, label, confidence, and the receipt of its record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from greenup_runtime.preprocess import Float32
from greenup_runtime.recorder import Receipt
from greenup_runtime.streams.series import Window

# Times from here on (1973) are taken for seconds since 1970; smaller ones count from some start of the sensor's.
_EPOCH_S = 1e8


@dataclass(frozen=True)
class Label:
    """One window's answer."""

    number: int
    window: Window
    arrived_s: float
    """Seconds since 1970 when the last sample came."""
    probabilities: Float32
    latency_s: float
    receipt: Receipt

    def to_json(self, classes: tuple[str, ...], variant: str, *, every: bool) -> dict[str, Any]:
        """The label for programs; `every` adds the probability of every class."""
        best = int(np.argmax(self.probabilities))
        found: dict[str, Any] = {
            "time": self.time(),
            "window": self.number,
            "label": classes[best],
            "confidence": round(float(self.probabilities[best]), 6),
            "variant": variant,
            "latency_s": round(self.latency_s, 9),
            "record": self.receipt.id or None,
            "energy_j": self.receipt.energy_j,
            "energy": self.receipt.method,
        }
        if self.receipt.reason:
            found["reason"] = self.receipt.reason
        if self.window.start_s is not None:
            found |= {"start_s": self.window.start_s, "end_s": self.window.end_s}
        if self.window.filled:
            found["filled"] = self.window.filled
        if every:
            found["probabilities"] = dict(zip(classes, map(float, self.probabilities), strict=True))
        return found

    def line(self, classes: tuple[str, ...], variant: str, style: str, *, every: bool) -> str:
        """The label's line, as `json` or `text`."""
        if style == "json":
            return json.dumps(self.to_json(classes, variant, every=every), ensure_ascii=False)
        best = int(np.argmax(self.probabilities))
        return f"{self.time()}  {classes[best]}  {self.probabilities[best]:.3f}"

    def time(self) -> str:
        """When the window's last sample was taken, by its timestamp if that is a date, else by its arrival."""
        end_s = self.window.end_s
        at_s = end_s if end_s is not None and end_s >= _EPOCH_S else self.arrived_s
        return datetime.fromtimestamp(at_s, tz=timezone.utc).isoformat(timespec="milliseconds")
