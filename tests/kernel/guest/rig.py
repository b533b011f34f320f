"""What scenarios are made of: drivers, chips bound to them, the plant, the runner's own meters and sampler."""

from __future__ import annotations

import array
import base64
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chips

from greenup_runtime.clock import SystemClock
from greenup_runtime.meters import MeterOptions, open_named
from greenup_runtime.meters.base import Meter
from greenup_runtime.sampling import Sampler

ADDRESS = 0x40
COUNTER_PERIOD_S = 0.2
MODULES = Path("/modules")
LEDGER = Path("/tmp/ledger")


def load(*modules: str) -> None:
    """Insert kernel modules with their parameters, as `insmod` takes them."""
    for module in modules:
        name, *parameters = module.split()
        subprocess.run(["insmod", str(MODULES / f"{name}.ko"), *parameters], check=True)


def present() -> list[str]:
    """The modules that are loaded, the newest first."""
    return [line.split()[0] for line in Path("/proc/modules").read_text().splitlines()]


def clean(keep: list[str]) -> None:
    """Take away what a scenario left behind: chips on the stub's bus, and modules that were not there before."""
    for found in Path("/sys/bus/i2c/devices").glob("*-00*/name"):
        device = found.parent.resolve()
        if "stub" in (device.parent / "name").read_text() and not (device / "of_node").exists():
            (device.parent / "delete_device").write_text("0x" + device.name.partition("-")[2])
    for name in present():
        if name not in keep:
            subprocess.run(["rmmod", name], check=True)


@contextmanager
def chip_on_bus(kind: str, address: int = ADDRESS) -> Iterator[Path]:
    """Tell the kernel of a chip on i2c-stub's bus, as a user would; the driver that is loaded takes it."""
    bus = Path(f"/sys/bus/i2c/devices/i2c-{chips.stub_bus()}")
    (bus / "new_device").write_text(f"{kind} {address:#x}")
    try:
        yield Path(f"/sys/bus/i2c/devices/{chips.stub_bus()}-{address:04x}")
    finally:
        (bus / "delete_device").write_text(f"{address:#x}")


@contextmanager
def plant(law: dict[str, Any], *powered: dict[str, Any], period_s: float = 0.01) -> Iterator[None]:
    """Run the plant; its ledger lies in LEDGER afterwards."""
    settings = {"chips": powered, "law": law, "ledger": str(LEDGER), "period_s": period_s}
    LEDGER.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _PLANT, json.dumps(settings)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"begun\n"
        yield
    finally:
        process.stdin.close()
        process.wait(10)


# Without `site` it starts in half the time, and needs smbus2's folder named.
_PLANT = "import sys; sys.path += ['/guest', '/usr/lib/python3/dist-packages']; import plant; plant.main()"


def meter(request: str) -> Meter:
    """The runner's meter on this machine."""
    return open_named(request, MeterOptions(root=Path("/")))


def sampled(opened: Meter, seconds: float) -> dict[str, Any]:
    """What a meter showed from now on for some seconds: a power meter through the sampler, a counter by hand.

    A counter must be read once in each of its ranges.
    """
    clock = SystemClock()
    facts = opened.facts
    start_s = clock.now()
    if facts.kind == "power":
        with Sampler(opened, clock) as sampler:
            # Its thread needs a moment to begin.
            clock.sleep(0.1)
            start_s = clock.now()
            clock.sleep(seconds)
            end_s = clock.now()
            clock.sleep(3 * facts.update_s)
        trace = sampler.trace().tobytes()
    else:
        readings = array.array("d")
        for _ in range(round(seconds / COUNTER_PERIOD_S) + 1):
            value = opened.read()
            readings.extend((clock.now(), value))
            clock.sleep(COUNTER_PERIOD_S)
        start_s, end_s, trace = readings[0], readings[-2], readings.tobytes()
    return {
        "facts": vars(facts),
        "warning": getattr(opened, "warning", None),
        "start_s": start_s,
        "end_s": end_s,
        "trace": packed(trace),
    }


def packed(content: bytes) -> str:
    """Bytes for a line of JSON."""
    return base64.b64encode(zlib.compress(content)).decode()


def ledger() -> str:
    """The plant's ledger, for a line of JSON."""
    return packed(LEDGER.read_bytes())
