"""What scenarios are made of: drivers, chips bound to them, the plant, the runner's own meters and sampler."""

from __future__ import annotations

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
    """What the runner's own sampler saw of a meter, from now on and for some seconds."""
    clock = SystemClock()
    with Sampler(opened, clock) as sampler:
        start_s, _ = sampler.mark()
        # A counter is read at the edges only, but must be read once in each of its ranges.
        for _ in range(round(seconds / 0.2)):
            clock.sleep(0.2)
            sampler.mark()
        end_s, fault = sampler.mark()
        clock.sleep(3 * opened.facts.update_s)
    return {
        "facts": vars(opened.facts),
        "warning": getattr(opened, "warning", None),
        "start_s": start_s,
        "end_s": end_s,
        "fault": fault,
        "trace": packed(sampler.trace().tobytes()),
    }


def packed(content: bytes) -> str:
    """Bytes for a line of JSON."""
    return base64.b64encode(zlib.compress(content)).decode()


def ledger() -> str:
    """The plant's ledger, for a line of JSON."""
    return packed(LEDGER.read_bytes())
