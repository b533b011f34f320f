"""One bench per meter: a board or a stand-in that the conformance suite reads, renews and breaks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from boards import i2c, ina, jetson, packages, programs, rapl
from greenup_runtime.clock import FakeClock
from greenup_runtime.meters import Meter, MeterOptions, open_named

GARBAGE = {"empty": "", "huge": "9" * 30 + "\n", "garbage": "5٣ W\n", "negative": "-5\n", "not a number": "nan\n"}


@dataclass
class Bench:
    """Where a case builds: a root, a folder on the PATH, and a clock."""

    root: Path
    path: Path
    monkeypatch: pytest.MonkeyPatch
    clock: FakeClock = field(default_factory=FakeClock)
    request: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    estimate: dict[str, Any] = field(default_factory=dict)

    def open(self) -> Meter:
        """The meter on this bench."""
        options = MeterOptions(root=self.root, clock=self.clock, settings=self.settings, estimate=self.estimate)
        return open_named(self.request, options)


@dataclass(frozen=True)
class Handle:
    """What a test turns. `renew` lets a second pass; then the meter must show `value` (more) joules or watts.

    `breaks` are by name what may happen to the sensor's input; `stale` says that a value is given once only.
    """

    renew: Callable[[], None]
    value: float
    breaks: dict[str, Callable[[], None]] = field(default_factory=dict)
    stale: bool = False


def _file_breaks(file: Path) -> dict[str, Callable[[], None]]:
    def vanish() -> None:
        file.unlink()

    def fail() -> None:
        file.unlink()
        # The kernel answers EIO to a read at its address 0.
        file.symlink_to("/proc/self/mem")

    def put(text: str) -> Callable[[], None]:
        return lambda: file.write_text(text) and None

    return {"vanished": vanish, "EIO": fail, **{name: put(text) for name, text in GARBAGE.items()}}


def _second(bench: Bench) -> Callable[[], None]:
    return lambda: bench.clock.sleep(1.0)


def rapl_case(bench: Bench) -> Handle:
    bench.request = "rapl"
    zones = rapl.amd(bench.root)

    def renew() -> None:
        bench.clock.sleep(1.0)
        rapl.spend(zones["0"], 15.0)

    return Handle(renew, 15.0, _file_breaks(zones["0"] / "energy_uj"))


def pyrapl_case(bench: Bench) -> Handle:
    bench.monkeypatch.setitem(sys.modules, "pyRAPL", packages.pyrapl())
    handle = rapl_case(bench)
    bench.request = "pyrapl"
    # pyRAPL holds its files open: what is unlinked below it is not gone for it.
    return Handle(handle.renew, 15.0, {name: way for name, way in handle.breaks.items() if name in GARBAGE})


def ina_hwmon_case(bench: Bench) -> Handle:
    bench.request = "ina:hwmon"
    folder = ina.hwmon(bench.root)
    return Handle(_second(bench), 2.56, _file_breaks(folder / "power1_input"), stale=True)


def ina_iio_case(bench: Bench) -> Handle:
    bench.request = "ina:iio"
    folder = ina.iio(bench.root)
    return Handle(_second(bench), 2.5, _file_breaks(folder / "in_power2_raw"), stale=True)


def ina3221_case(bench: Bench) -> Handle:
    bench.request = "ina:rails=CH1"
    folder = ina.ina3221(bench.root)
    return Handle(_second(bench), 2.5, _file_breaks(folder / "curr1_input"), stale=True)


def ina_i2c_case(bench: Bench) -> Handle:
    bench.request = "ina:i2c"
    bench.settings = {"ina": {"chip": "ina226", "address": 0x40, "shunt_ohm": 0.1}}
    chip = i2c.Ina226()
    bench.monkeypatch.setitem(sys.modules, "smbus2", i2c.module(bench.root, {0x40: chip}))

    def renew() -> None:
        chip.ready = True

    def fail() -> None:
        i2c.SMBus.fails_with = 5

    def unplug() -> None:
        i2c.SMBus.chips = {}

    def overflow() -> None:
        chip.ready = chip.overflow = True

    def reset() -> None:
        chip.ready, chip.words[5] = True, 0

    return Handle(renew, 2.5, {"EIO": fail, "vanished": unplug, "huge": overflow, "reset": reset}, stale=True)


def jetson_case(bench: Bench) -> Handle:
    bench.request = "jetson"
    folder = jetson.orin_nano_jetpack6(bench.root)
    return Handle(_second(bench), 4.943, _file_breaks(folder / "in1_input"), stale=True)


def jetson_jetpack4_case(bench: Bench) -> Handle:
    bench.request = "jetson"
    folder = jetson.nano_jetpack4(bench.root)
    return Handle(_second(bench), 1.75, _file_breaks(folder / "in_power0_input"), stale=True)


def jtop_case(bench: Bench) -> Handle:
    bench.request = "jtop"
    bench.monkeypatch.setitem(sys.modules, "jtop", packages.jtop())

    def renew() -> None:
        packages.Jtop.clients[-1].turn()

    def show(power: Any) -> Callable[[], None]:
        def put() -> None:
            packages.Jtop.power = power
            renew()

        return put

    rails = packages.JTOP_ORIN_NANO["rail"]
    breaks = {
        "vanished": show(None),
        "empty": show({}),
        "garbage": show({"rail": rails, "tot": {"power": "4943"}}),
        "huge": show({"rail": rails, "tot": {"power": 10**30}}),
        "negative": show({"rail": rails, "tot": {"power": -1}}),
        "not a number": show({"rail": rails, "tot": {"power": float("nan")}}),
    }
    return Handle(renew, 4.943, breaks, stale=True)


def tegrastats_case(bench: Bench) -> Handle:
    bench.request = "tegrastats"
    line = programs.JETPACK6_ORIN_NANO
    # Two lines to agree on, one more for each time that the file grows.
    program = bench.path / "tegrastats"
    lines = bench.path / "lines.txt"
    lines.write_text(f"{line}\n" * 2)
    program.write_text(f'#!/bin/sh\nexec tail -n +1 -s 0.01 -f "{lines}"\n')
    program.chmod(0o755)

    def put(text: str) -> Callable[[], None]:
        def append() -> None:
            with lines.open("a") as file:
                file.write(f"{text}\n")
            bench.clock.sleep(1.0)

        return append

    def silence() -> None:
        bench.clock.sleep(60.0)

    breaks = {name: put(text.strip()) for name, text in GARBAGE.items()}
    breaks["cut off"] = put(line[: line.index("VDD_SOC")])
    return Handle(put(line), 4.943, {**breaks, "vanished": silence}, stale=True)


def pmic_case(bench: Bench) -> Handle:
    bench.request = "pmic:vcgencmd"
    programs.vcgencmd(bench.path, programs.PMIC)
    text = programs.PMIC
    breaks = _file_breaks(bench.path / "answer.txt")
    del breaks["EIO"]
    breaks["cut off"] = lambda: (bench.path / "answer.txt").write_text(text[:300]) and None
    changed = text.replace("0.94657990A", "946.57990A")
    breaks["huge"] = lambda: (bench.path / "answer.txt").write_text(changed) and None
    return Handle(_second(bench), programs.PMIC_W, breaks, stale=True)


def nvml_case(bench: Bench) -> Handle:
    bench.request = "nvml"
    gpu = packages.Gpu()
    bench.monkeypatch.setitem(sys.modules, "pynvml", packages.pynvml(gpu))

    def renew() -> None:
        gpu.energy_mj += 70_000

    def put(value: Any) -> Callable[[], None]:
        return lambda: setattr(gpu, "energy_mj", value)

    breaks = {"vanished": lambda: setattr(gpu, "fails", True), "huge": put(10**30), "garbage": put("70")}
    return Handle(renew, 70.0, {**breaks, "negative": put(-1), "reset": put(3), "not a number": put(float("nan"))})


def estimate_case(bench: Bench) -> Handle:
    bench.request = "estimate"
    bench.estimate = {"active_w_per_core": 5.0, "idle_w": 1.0, "source": "a test"}
    return Handle(lambda: bench.clock.work(1.0), 6.0)


def fake_case(bench: Bench) -> Handle:
    bench.request = "fake:idle_w=2,active_w=3"
    return Handle(lambda: bench.clock.work(1.0), 5.0)


def replay_case(bench: Bench) -> Handle:
    trace = bench.root / "trace.jsonl"
    head = {"kind": "power", "scope": "board", "source": "a test", "update_s": 0.1}
    samples = [{"time_s": second, "value": 3.5} for second in (0.0, 1.0, 2.0)]
    bench.root.mkdir(exist_ok=True)
    trace.write_text("\n".join(json.dumps(line) for line in [head, *samples]))
    bench.request = f"replay:{trace}"
    return Handle(_second(bench), 3.5)


CASES: dict[str, Callable[[Bench], Handle]] = {
    "rapl": rapl_case,
    "pyrapl": pyrapl_case,
    "ina": ina_hwmon_case,
    "ina (IIO)": ina_iio_case,
    "ina (INA3221)": ina3221_case,
    "ina (I2C)": ina_i2c_case,
    "jetson": jetson_case,
    "jetson (JetPack 4)": jetson_jetpack4_case,
    "jtop": jtop_case,
    "tegrastats": tegrastats_case,
    "pmic": pmic_case,
    "nvml": nvml_case,
    "estimate": estimate_case,
    "fake": fake_case,
    "replay": replay_case,
}
