"""The kernel and its modules: Debian's image as it is, and the drivers it leaves out, built from its source."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.apt import Apt, unpack
from lab.machines import KERNEL_SERIES, Machine

SOURCES = Path(__file__).parents[1] / "drivers"
# i2c-stub's adapter gets a node of the device tree, so that the kernel makes the sensors written there.
_STUB_BEFORE = "\tret = i2c_add_adapter(&stub_adapter);"
_MODULE_H, _OF_H = "#include <linux/module.h>\n", "#include <linux/of.h>\n"
_STUB_NODE = '\tstub_adapter.dev.of_node = of_find_node_by_path("/i2c-stub");\n'


def build(machine: Machine, guest: Apt, host: Apt, work: Path, out: Path) -> str:
    """Put `vmlinuz` and `modules/*.ko` into a folder; returns the kernel's release."""
    image = guest.newest(f"linux-image-{machine.architecture}", rf"linux-image-{KERNEL_SERIES}\S*")
    release = image.removeprefix("linux-image-")
    common = f"{release.removesuffix('-' + machine.architecture)}-common"
    packages = guest.fetch(image, f"linux-headers-{release}", f"linux-headers-{common}")
    tree = work / "tree"
    unpack(packages + host.fetch(f"linux-kbuild-{KERNEL_SERIES}"), tree)
    shutil.copy(tree / "boot" / f"vmlinuz-{release}", out / "vmlinuz")
    modules = out / "modules"
    modules.mkdir()
    for name in machine.stock_drivers:
        (found,) = (tree / "lib/modules" / release).rglob(f"{name}.ko")
        shutil.copy(found, modules)
    _sources(machine, host, work)
    _make(machine, tree, release, work / "drivers")
    for built in (work / "drivers").glob("*.ko"):
        shutil.copy(built, modules)
    return release


def _sources(machine: Machine, host: Apt, work: Path) -> None:
    """Our own module and, out of the kernel's source, the drivers to build."""
    folder = work / "drivers"
    folder.mkdir()
    for path in SOURCES.iterdir():
        shutil.copy(path, folder)
    (package,) = host.fetch(f"linux-source-{KERNEL_SERIES}")
    name = f"linux-source-{KERNEL_SERIES}"
    archive = f"dpkg-deb --fsys-tarfile {package} | tar -xO ./usr/src/{name}.tar.xz"
    members = " ".join(f"{name}/{driver}" for driver in machine.own_drivers)
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{archive} | tar -xJ -C {folder} --strip-components=3 {members}"],
        check=True,
    )
    stub = folder / "i2c-stub.c"
    if stub.exists():
        text = stub.read_text()
        assert text.count(_STUB_BEFORE) == 1, "i2c-stub has changed: look at it"
        stub.write_text(
            text.replace(_STUB_BEFORE, _STUB_NODE + _STUB_BEFORE).replace(_MODULE_H, _MODULE_H + _OF_H)
        )


def _make(machine: Machine, tree: Path, release: str, folder: Path) -> None:
    headers = tree / "usr/src" / f"linux-headers-{release}"
    # The package's Makefile names the common headers by where they would be installed.
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{tree}/usr/src/"))
    built = [*machine.test_drivers, *(Path(driver).stem for driver in machine.own_drivers)]
    objects = " ".join(f"{name}.o" for name in built)
    command = ["make", "-C", str(headers), f"M={folder}", f"ARCH={machine.kernel_architecture}"]
    command += [f"CC={machine.cross}gcc-12", f"CROSS_COMPILE={machine.cross}", f"GREENUP_MODULES={objects}"]
    done = subprocess.run(
        [*command, "modules"], capture_output=True, text=True, env={**os.environ, "MAKEFLAGS": ""}, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the drivers do not build:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
