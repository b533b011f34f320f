"""What the server counts, as Prometheus text (exposition format 0.0.4).

Names end in their unit; what the recorder tells is passed on as `greenup_<its name>`, a counter if the name ends
in `_total`, else a gauge.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
# Upper edges in seconds: models on these boards take from 50 µs to seconds.
BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_Sample = tuple[Mapping[str, str], float]


class Metrics:
    """Counts of requests and their latencies."""

    def __init__(self) -> None:
        self.began = time.time()
        self.requests: dict[tuple[int, str], int] = {}
        self.windows: dict[str, int] = {}
        self.switches = 0
        self.failed_loads = 0
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def count(self, status: int, variant: str = "", latency_s: float | None = None) -> None:
        """One request was answered; `latency_s`, from its last byte to the answer, if it was an inference."""
        key = (status, variant)
        self.requests[key] = self.requests.get(key, 0) + 1
        if latency_s is not None:
            buckets = self._buckets.get(variant)
            if buckets is None:
                buckets = self._buckets[variant] = [0] * (len(BUCKETS_S) + 1)
            buckets[bisect_left(BUCKETS_S, latency_s)] += 1
            self._seconds[variant] = self._seconds.get(variant, 0.0) + latency_s

    def lines(self) -> list[str]:
        """The counts as lines of text."""
        by_code = [({"code": str(code), "variant": variant}, n) for (code, variant), n in self.requests.items()]
        lines = family("greenup_requests_total", "counter", "Requests answered.", by_code)
        by_variant = [({"variant": variant}, n) for variant, n in self.windows.items()]
        lines += family("greenup_windows_total", "counter", "Windows classified.", by_variant)
        lines += single("greenup_switches_total", "counter", "Switches of what serves.", self.switches)
        text = "Loads that failed; the old one serves on."
        lines += single("greenup_failed_loads_total", "counter", text, self.failed_loads)
        return lines + self._histogram()

    def _histogram(self) -> list[str]:
        name = "greenup_request_latency_seconds"
        lines = _head(name, "histogram", "From a request's last byte to its answer.")
        for variant, buckets in self._buckets.items():
            below = 0
            for edge, count in zip((*map(str, BUCKETS_S), "+Inf"), buckets, strict=True):
                below += count
                lines.append(f"{name}_bucket{_labels({'variant': variant, 'le': edge})} {below}")
            lines.append(f"{name}_sum{_labels({'variant': variant})} {self._seconds[variant]!r}")
            lines.append(f"{name}_count{_labels({'variant': variant})} {below}")
        return lines


def family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> list[str]:
    """One metric with its help, type and samples."""
    return [*_head(name, kind, text), *(f"{name}{_labels(labels)} {value!r}" for labels, value in samples)]


def single(name: str, kind: str, text: str, value: float) -> list[str]:
    """One metric without labels."""
    return family(name, kind, text, [({}, value)])


def facts(told: Mapping[str, Any]) -> list[str]:
    """What the recorder tells: numbers as they are, texts as a label of a metric that is 1, unknowns left out."""
    lines: list[str] = []
    for key, value in told.items():
        name = "greenup_" + "".join(letter if letter.isalnum() else "_" for letter in key)
        if isinstance(value, (bool, int, float)):
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += single(name, kind, f"Told by the recorder: {key}.", float(value))
        elif value is not None:
            lines += family(f"{name}_info", "gauge", f"Told by the recorder: {key}.", [({"value": str(value)}, 1)])
    return lines


def process_lines(began: float) -> list[str]:
    """This process: start, memory, descriptors, by the names that Prometheus' own libraries use."""
    lines = single("process_start_time_seconds", "gauge", "Start of the process, Unix time.", began)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (Path.iterdir keeps one open)
    except OSError:
        return lines
    size_bytes = pages * os.sysconf("SC_PAGE_SIZE")
    lines += single("process_resident_memory_bytes", "gauge", "Resident memory.", size_bytes)
    return lines + single("process_open_fds", "gauge", "Open descriptors.", descriptors)


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {_escaped(text)}", f"# TYPE {name} {kind}"]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    inside = ",".join(
        '{}="{}"'.format(name, _escaped(value).replace('"', '\\"')) for name, value in labels.items()
    )
    return "{" + inside + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
