"""The two machines: what they are made of and how QEMU runs them."""

from __future__ import annotations

from dataclasses import dataclass

KERNEL_SERIES = "6.1"


@dataclass(frozen=True)
class Machine:
    """One emulated machine. `architecture` is Debian's name, `kernel_architecture` the kernel's.

    `stock_drivers` come with the kernel's package. `own_drivers` are built out of tree from the kernel's source,
    because Debian's kernel lacks them, and `test_drivers` from tests/kernel/drivers.
    """

    name: str
    architecture: str
    kernel_architecture: str
    cross: str
    wheels: tuple[str, ...]
    own_drivers: tuple[str, ...]
    stock_drivers: tuple[str, ...]
    test_drivers: tuple[str, ...]
    qemu: tuple[str, ...]
    console: str
    device_tree: str | None = None


X86 = Machine(
    name="x86",
    architecture="amd64",
    kernel_architecture="x86",
    cross="",
    wheels=("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"),
    own_drivers=("drivers/hwmon/ina2xx.c", "drivers/hwmon/ina3221.c"),
    stock_drivers=("i2c-dev", "i2c-stub", "industrialio", "kfifo_buf", "ina2xx-adc"),
    test_drivers=("fakerapl",),
    qemu=("qemu-system-x86_64", "-machine", "pc,accel=tcg", "-cpu", "max"),
    console="ttyS0",
)
JETSON = Machine(
    name="jetson",
    architecture="arm64",
    kernel_architecture="arm64",
    cross="aarch64-linux-gnu-",
    wheels=("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
    own_drivers=("drivers/hwmon/ina2xx.c", "drivers/hwmon/ina3221.c", "drivers/i2c/i2c-stub.c"),
    stock_drivers=("i2c-dev",),
    # Debian's arm64 kernel has no powercap.
    test_drivers=(),
    qemu=("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a76"),
    console="ttyAMA0",
    device_tree="jetson.dts",
)
MACHINES = {machine.name: machine for machine in (X86, JETSON)}
