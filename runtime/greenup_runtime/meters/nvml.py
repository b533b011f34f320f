"""An NVIDIA GPU through its management library: the energy counter where the GPU has one, else power.

The counter (since Volta) is in millijoules since the driver was loaded. Power is a mean of up to a second on many
boards, which `lag_s` says. Either is the GPU alone: the processor beside it is not seen.

Source: NVIDIA, NVML API reference, nvmlDeviceGetTotalEnergyConsumption and nvmlDeviceGetPowerUsage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import extras
from greenup_runtime.meters.base import Meter, MeterOptions
from greenup_runtime.meters.rails import RailsMeter
from greenup_runtime.meters.sysfs import MOST_W
from greenup_runtime.trial import MeterFacts

_UPDATE_S = 0.1
_POWER_LAG_S = 1.0
_MOST_MW = int(MOST_W * 1e3)


class CounterMeter:
    """Joules of one GPU since opening."""

    def __init__(self, facts: MeterFacts, read_mj: Callable[[], int], close: Callable[[], None]) -> None:
        self.facts = facts
        self._read_mj = read_mj
        self._close: Callable[[], None] | None = close
        self._first_mj = self._last_mj = read_mj()

    def read(self) -> float:
        """Joules since the meter was opened. Raises MeterFault where the counter cannot be read or fell."""
        now_mj = self._read_mj()
        if now_mj < self._last_mj:
            raise MeterFault("the GPU's energy counter fell: its driver was loaded again", "open the meter again")
        self._last_mj = now_mj
        return (now_mj - self._first_mj) / 1e3

    def close(self) -> None:
        """Let go of the library; a second call does nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()


def open_meter(options: MeterOptions) -> Meter:
    """Open one GPU, by number where there are several. Raises MeterFault where there is none."""
    nvml = extras.load("pynvml", "nvidia-ml-py", "nvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise MeterFault(f"no NVIDIA GPU: {error}", "install NVIDIA's driver") from error
    try:
        return _open(nvml, options)
    except (nvml.NVMLError, MeterFault) as error:
        nvml.nvmlShutdown()
        if isinstance(error, MeterFault):
            raise
        raise MeterFault(f"the GPU cannot be read: {error}") from error


def _open(nvml: Any, options: MeterOptions) -> Meter:
    index = _index(options.argument, int(nvml.nvmlDeviceGetCount()))
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)

    def checked(function: Callable[[Any], Any], most: int) -> int:
        try:
            value = function(handle)
        except nvml.NVMLError as error:
            raise MeterFault(f"the GPU cannot be read: {error}") from error
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise MeterFault(f"the GPU's reading cannot be right: {value!r}")
        return value

    def facts(kind: str) -> MeterFacts:
        return MeterFacts(
            name="nvml",
            kind="counter" if kind == "energy" else "power",
            scope="GPU",
            source=f"NVML {kind}, {text}",
            update_s=_UPDATE_S,
            resolution=1e-3,
            rails=("GPU",),
            lag_s=0.0 if kind == "energy" else _POWER_LAG_S,
        )

    def read_mj() -> int:
        return checked(nvml.nvmlDeviceGetTotalEnergyConsumption, 2**63)

    def read_w(_names: object) -> dict[str, float]:
        return {"GPU": checked(nvml.nvmlDeviceGetPowerUsage, _MOST_MW) / 1e3}

    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        checked(nvml.nvmlDeviceGetPowerUsage, _MOST_MW)
        return RailsMeter(facts("power"), read_w, options.clock, close=nvml.nvmlShutdown)
    return CounterMeter(facts("energy"), read_mj, nvml.nvmlShutdown)


def _index(argument: str | None, count: int) -> int:
    if count == 0:
        raise MeterFault("no NVIDIA GPU is here")
    if argument is None and count == 1:
        return 0
    if argument is None or not argument.isdecimal() or int(argument) >= count:
        raise MeterFault(f"there are {count} GPUs", f"name one: nvml:0 … nvml:{count - 1}")
    return int(argument)
