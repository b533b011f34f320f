"""RAPL as the package pyRAPL reads it: selectable as a second opinion on the same counters.

pyRAPL (2019) opens fixed paths, so its `open` and `os` are bound to the root while its sensor is made. It knows
no wrap: a counter that falls is a fault here, from then on. It refuses packages of several dies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import extras
from greenup_runtime.meters.base import MeterOptions
from greenup_runtime.meters.rapl import STEP_J, UPDATE_S
from greenup_runtime.trial import MeterFacts

_HINT = "use rapl, which reads the same counters"


class PyRaplMeter:
    """Joules since opening: what pyRAPL's sensor shows for packages and memory."""

    def __init__(self, sensor: Any, version: str) -> None:
        self._sensor = sensor
        self._last_uj = self._values()
        self._start_uj = list(self._last_uj)
        self._fell = False
        shown = [index for index, value in enumerate(self._last_uj) if value >= 0]
        if not shown:
            raise MeterFault("pyRAPL shows no counter", _HINT)
        memory = any(index % 2 for index in shown)
        self.facts = MeterFacts(
            name="pyrapl",
            kind="counter",
            scope="package + memory" if memory else "package",
            source=f"pyRAPL {version}",
            update_s=UPDATE_S,
            resolution=len(shown) * STEP_J,
            rails=tuple(f"{('package', 'dram')[index % 2]}-{index // 2}" for index in shown),
        )

    def read(self) -> float:
        """Joules since the meter was opened."""
        values = self._values()
        if self._fell or any(now < last for now, last in zip(values, self._last_uj, strict=True)):
            self._fell = True
            raise MeterFault("a counter of pyRAPL fell: it does not undo wraps", _HINT)
        self._last_uj = values
        return sum(now - start for now, start in zip(values, self._start_uj, strict=True)) / 1e6

    def close(self) -> None:
        """pyRAPL closes its files when it is collected."""

    def _values(self) -> list[float]:
        try:
            values = [float(value) for value in self._sensor.energy()]
        except (OSError, ValueError) as error:
            raise MeterFault(f"pyRAPL cannot read: {error}", _HINT) from error
        if any(not -1 <= value < 2**63 for value in values):
            raise MeterFault("pyRAPL shows a counter that cannot be right", _HINT)
        return values


def open_meter(options: MeterOptions) -> PyRaplMeter:
    """Make pyRAPL's sensor on the root. Raises MeterFault where it is not installed or refuses this machine."""
    pyrapl = extras.load("pyRAPL", "pyRAPL", "pyrapl")
    with _rooted(pyrapl.device_api, options.root):
        try:
            sensor = pyrapl.Sensor()
        except (pyrapl.PyRAPLException, OSError, ValueError, IndexError) as error:
            why = str(error) or type(error).__name__
            raise MeterFault(f"pyRAPL refuses this machine: {why}", _HINT) from error
    return PyRaplMeter(sensor, pyrapl.__version__)


@contextmanager
def _rooted(module: Any, root: Path) -> Iterator[None]:
    """Let a module that names absolute paths find them below the root."""

    def below(path: str) -> str:
        return str(root / path.lstrip("/"))

    def rooted_open(path: str, *rest: Any) -> Any:
        return Path(below(path)).open(*rest)

    module.open = rooted_open
    module.os = SimpleNamespace(path=SimpleNamespace(exists=lambda path: os.path.exists(below(path))))  # noqa: PTH110
    try:
        yield
    finally:
        module.os = os
        del module.open
