"""The machine's power, as a process of its own: it sets the sensors every few milliseconds and keeps the ledger.

    python3 plant.py '{"chips": [{"kind": "ina219", "address": 64, "shunt_ohm": 0.1}], "ledger": "/tmp/ledger",
                       "law": {"points": [[0, 2.0], [1, 2.0], [1, 5.0]]}}'

Two laws: `points` of (seconds, watts) with straight lines between, or the closed loop P = `idle_w` + `busy_w` ×
(share of the time that the processor was busy since the last tick). The scheduler's own count in /proc/schedstat
says how long that was, in nanoseconds; /proc/stat has steps of 10 ms.

The ledger is the truth: pairs of (CLOCK_MONOTONIC seconds, watts from then on), which no meter ever sees. The
process tells that it has begun by one line, and writes the ledger when its stdin is closed.
"""

from __future__ import annotations

import array
import json
import os
import select
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import chips

Law = Callable[[float], float]
# A board's capacitors do as much. Without it a sampler would see each time the tick in which it slept.
SMOOTHING_S = 0.05


def profile(points: list[list[float]]) -> Law:
    """Watts by the seconds since the beginning; the last point holds for ever."""
    begin_s = time.perf_counter()

    def watts(now_s: float) -> float:
        at_s = now_s - begin_s
        for (from_s, from_w), (to_s, to_w) in pairwise(points):
            if from_s <= at_s < to_s:
                return from_w + (to_w - from_w) * (at_s - from_s) / (to_s - from_s)
        return points[-1][1]

    return watts


def closed_loop(idle_w: float, busy_w: float) -> Law:
    """Watts by how busy the machine was since the last call; on one processor 0 … 1."""
    file = os.open("/proc/schedstat", os.O_RDONLY)

    def busy_s() -> float:
        lines = os.pread(file, 4096, 0).splitlines()
        return sum(int(line.split()[7]) for line in lines if line.startswith(b"cpu")) / 1e9

    last = [time.perf_counter() - 1e-3, busy_s(), 0.0]

    def watts(now_s: float) -> float:
        busy = busy_s()
        elapsed_s = now_s - last[0]
        share = min(1.0, (busy - last[1]) / elapsed_s)
        share = last[2] + (share - last[2]) * min(1.0, elapsed_s / SMOOTHING_S)
        last[:] = [now_s, busy, share]
        return idle_w + busy_w * share

    return watts


def main() -> None:
    """Run until stdin is closed."""
    settings = json.loads(sys.argv[1])
    sensors = [chips.KINDS[chip.pop("kind")](**chip) for chip in settings["chips"]]
    # Ticks must come in time however busy the machine is: that is what the law is about.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    law = profile(**settings["law"]) if "points" in settings["law"] else closed_loop(**settings["law"])
    period_s = settings.get("period_s", 0.01)
    ledger = array.array("d")
    while True:
        before_s = time.perf_counter()
        watts = law(before_s)
        for sensor in sensors:
            sensor.set_w(watts)
        after_s = time.perf_counter()
        if not ledger:
            print("begun", flush=True)
        ledger.extend(((before_s + after_s) / 2, watts))
        rest_s = max(0.001, before_s + period_s - time.perf_counter())
        if select.select([sys.stdin], [], [], rest_s)[0]:
            break
    Path(settings["ledger"]).write_bytes(ledger.tobytes())


if __name__ == "__main__":
    main()
