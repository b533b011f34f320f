"""Stand-ins for the optional packages of two meters: what their documented interfaces answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

JTOP_ORIN_NANO = {
    "rail": {
        "VDD_CPU_GPU_CV": {"volt": 4936, "curr": 208, "power": 1040, "avg": 1011, "online": True},
        "VDD_SOC": {"volt": 4936, "curr": 296, "power": 1461, "avg": 1450, "online": True},
    },
    "tot": {"volt": 4943, "curr": 1000, "power": 4943, "avg": 4890, "online": True},
}


class JtopError(Exception):
    """What jtop raises where its service is missing."""


class Jtop:
    """A client: calls back once when started, and again for each `turn`."""

    power: ClassVar[Any] = JTOP_ORIN_NANO
    running: ClassVar[bool] = True
    clients: ClassVar[list[Jtop]] = []

    def __init__(self, interval: float) -> None:
        self.callbacks: list[Callable[[Jtop], None]] = []
        self.closed = 0
        Jtop.clients.append(self)

    def attach(self, callback: Callable[[Jtop], None]) -> None:
        self.callbacks.append(callback)

    def start(self) -> None:
        if not Jtop.running:
            raise JtopError("The jtop.service is not active")
        threading.Thread(target=self.turn).start()

    def turn(self) -> None:
        for callback in self.callbacks:
            callback(self)

    def close(self) -> None:
        self.closed += 1


def jtop(power: Any = JTOP_ORIN_NANO, *, running: bool = True) -> ModuleType:
    """The module jtop, with the service running or not."""
    Jtop.power, Jtop.running, Jtop.clients = power, running, []
    made = ModuleType("jtop")
    made.__dict__.update(jtop=Jtop, JtopException=JtopError, __version__="7.2.0")
    return made


class NvmlError(Exception):
    """What NVML raises."""


class Gpu:
    """A GPU's registers, and calls of the library that are still open."""

    def __init__(self, *, counter: bool = True, count: int = 1) -> None:
        self.energy_mj: Any = 5_000_000
        self.power_mw: Any = 70_000
        self.counter = counter
        self.count = count
        self.fails = False
        self.open = 0


def pynvml(gpu: Gpu | None) -> ModuleType:
    """The module pynvml on one GPU, or on none."""

    def init() -> None:
        if gpu is None:
            raise NvmlError("Driver Not Loaded")
        gpu.open += 1

    def shutdown() -> None:
        assert gpu is not None
        gpu.open -= 1

    def value(name: str) -> Any:
        assert gpu is not None
        if gpu.fails or (name == "energy_mj" and not gpu.counter):
            raise NvmlError("GPU is lost" if gpu.fails else "Not Supported")
        return getattr(gpu, name)

    made = ModuleType("pynvml")
    made.__dict__.update(
        NVMLError=NvmlError,
        nvmlInit=init,
        nvmlShutdown=shutdown,
        nvmlDeviceGetCount=lambda: gpu.count if gpu else 0,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "NVIDIA T4",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: value("energy_mj"),
        nvmlDeviceGetPowerUsage=lambda handle: value("power_mw"),
    )
    return made


class PyRaplError(Exception):
    """What pyRAPL raises where it cannot use a machine."""


def pyrapl(zones: int = 1) -> ModuleType:
    """The module pyRAPL as far as its sensor goes: fixed paths, files held open, -1 for what is not there."""
    api = ModuleType("pyRAPL.device_api")
    api.__dict__.update(os=os, folder="/sys/class/powercap/intel-rapl/intel-rapl:")

    class Sensor:
        def __init__(self) -> None:
            opener = api.__dict__.get("open", open)
            names = [f"{api.folder}{number}" for number in range(zones)]
            if not all(api.os.path.exists(name) for name in names):
                raise PyRaplError("no package")
            self.files = [opener(f"{name}/energy_uj", "r") for name in names]

        def energy(self) -> list[float]:
            values = []
            for file in self.files:
                file.seek(0)
                values += [float(file.readline()), -1.0]
            return values

    made = ModuleType("pyRAPL")
    made.__dict__.update(device_api=api, Sensor=Sensor, PyRAPLException=PyRaplError, __version__="0.2.3.1")
    return made
