"""What sampling costs: CPU time of the background sampler at 10, 100 and 1000 Hz, as a share of one core.

    python benchmarks/sampler.py [--seconds 10] [--json FILE]

The meter reads two files of a tree on disk (volts and amperes), as a sensor through hwmon does. The main thread
sleeps meanwhile, so the process' CPU time is the sampler's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from greenup_runtime.clock import SystemClock
from greenup_runtime.sampling import Sampler
from greenup_runtime.trial import MeterFacts

RATES_HZ = (10.0, 100.0, 1000.0)
GOAL = 0.02


class FileMeter:
    """Millivolts times milliamperes of two files."""

    def __init__(self, folder: Path, rate_hz: float) -> None:
        self.facts = MeterFacts("files", "power", "board", "two files on disk", 1 / rate_hz, simulated=True)
        self._volts, self._amperes = folder / "in1_input", folder / "curr1_input"
        self._volts.write_text("5012\n")
        self._amperes.write_text("641\n")

    def read(self) -> float:
        """Watts now."""
        return int(self._volts.read_text()) * int(self._amperes.read_text()) / 1e6

    def close(self) -> None:
        """Nothing is held open."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run")
    parser.add_argument("--json", type=Path, default=Path(tempfile.gettempdir()) / "greenup-sampler.json")
    arguments = parser.parse_args()
    rows = [measure(rate_hz, arguments.seconds) for rate_hz in RATES_HZ]
    show(rows)
    arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"wrote {arguments.json}")


def measure(rate_hz: float, seconds: float) -> dict[str, Any]:
    """CPU share and the rate that was reached."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Sampler(FileMeter(Path(folder), rate_hz), SystemClock()) as sampler,
    ):
        before_s, cpu_s = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        wall_s, cpu_s = time.perf_counter() - before_s, time.process_time() - cpu_s
        samples = len(sampler.trace())
    return {"rate_hz": rate_hz, "reached_hz": samples / wall_s, "cpu_share": cpu_s / wall_s}


def _meter(folder: str, rate_hz: float) -> FileMeter:
    return FileMeter(Path(folder), rate_hz)


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"Sampler; the goal is {100 * GOAL:g} % of a core at 100 Hz")
    for column in ("rate", "reached", "of one core"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(f"{row['rate_hz']:g} Hz", f"{row['reached_hz']:.1f} Hz", f"{100 * row['cpu_share']:.2f} %")
    Console().print(table)


if __name__ == "__main__":
    main()
