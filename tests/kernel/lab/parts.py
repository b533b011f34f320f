"""Where a machine's parts are kept between runs, and whether they are there.

`$GREENUP_KERNEL_CACHE`, else `greenup-kernel` in the user's cache folder, holds `downloads/` and one folder per
machine named by the digest of what it is made from, so that a changed driver or builder makes new parts.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import drivers, rootfs
from lab.apt import Apt
from lab.machines import Machine

VARIABLE = "GREENUP_KERNEL_CACHE"
_HERE = Path(__file__).parent


def cache() -> Path:
    """The cache folder. The user's home is asked of the system: tests give $HOME another meaning."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/greenup-kernel"


def folder(machine: Machine) -> Path:
    """Where the parts of a machine are, or would be: `vmlinuz`, `modules/`, `root.cpio`, perhaps `board.dtb`."""
    digest = hashlib.sha256()
    builders = [_HERE / f"{name}.py" for name in ("apt", "cpio", "drivers", "machines", "parts", "rootfs")]
    for path in [*builders, *sorted(drivers.SOURCES.iterdir()), rootfs.CONSTRAINTS]:
        digest.update(path.name.encode() + path.read_bytes())
    return cache() / f"{machine.name}-{digest.hexdigest()[:12]}"


def prepare(machine: Machine) -> Path:
    """Build what is missing of a machine's parts; a folder appears whole or not at all."""
    done = folder(machine)
    if done.exists():
        return done
    host_architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    guest, host = (Apt(cache() / "downloads" / name, name) for name in (machine.architecture, host_architecture))
    for each in {guest.architecture: guest, host.architecture: host}.values():
        each.update()
    with TemporaryDirectory(dir=cache()) as scratch:
        work, out = Path(scratch), Path(scratch) / "out"
        out.mkdir()
        drivers.build(machine, guest, host, work, out)
        rootfs.build(machine, guest, work, out)
        if machine.device_tree:
            _device_tree(machine, work, out)
        out.rename(done)
    for old in cache().glob(f"{machine.name}-*"):
        if old != done:
            shutil.rmtree(old)
    return done


def _device_tree(machine: Machine, work: Path, out: Path) -> None:
    """QEMU's own device tree for the machine, with the board's sensors appended."""
    assert machine.device_tree is not None
    command, _, *rest = machine.qemu
    plain, text = work / "plain.dtb", work / "board.dts"
    subprocess.run(
        [command, "-machine", f"virt,dumpdtb={plain}", *rest[1:], "-m", "1024", "-nographic"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(plain)], capture_output=True, check=True)
    text.write_bytes(source.stdout + (drivers.SOURCES / machine.device_tree).read_bytes())
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", str(out / "board.dtb"), str(text)], check=True)
