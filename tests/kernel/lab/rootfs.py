"""The machine's root file system: Debian's Python with numpy, ONNX Runtime and smbus2, and little else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from lab import cpio
from lab.apt import Apt, unpack
from lab.machines import Machine

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
PYTHON = "3.11"
_PACKAGES = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "busybox-static", "kmod", "libstdc++6")
_WHEELS = ("numpy", "onnxruntime", "smbus2")
_SITE = "usr/lib/python3/dist-packages"
_PRUNED = (
    "usr/share",
    "var",
    "etc/init.d",
    "usr/lib/*/gconv",
    f"usr/lib/python{PYTHON}/lib2to3",
    f"usr/lib/python{PYTHON}/pydoc_data",
    f"{_SITE}/onnxruntime/tools",
    f"{_SITE}/onnxruntime/transformers",
    f"{_SITE}/onnxruntime/quantization",
    f"{_SITE}/onnxruntime/datasets",
    # A second copy of the library, which the Python module does not use.
    f"{_SITE}/onnxruntime/capi/libonnxruntime.so.1*",
    f"{_SITE}/numpy/**/tests",
    f"{_SITE}/numpy/_core/include",
    f"{_SITE}/numpy/f2py",
)


def build(machine: Machine, guest: Apt, work: Path, out: Path) -> None:
    """Put `root.cpio` into a folder."""
    root = work / "root"
    unpack(guest.fetch_with_dependencies(*_PACKAGES), root)
    for wheel in _wheels(machine, work / "wheels"):
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(root / _SITE)
    for pattern in _PRUNED:
        for path in list(root.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in ("dev", "proc", "sys", "tmp", "root"):
        (root / folder).mkdir(exist_ok=True)
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to(f"python{PYTHON}")
    _compile(root)
    with (out / "root.cpio").open("wb") as archive:
        cpio.write_tree(root, archive)


def _compile(root: Path) -> None:
    """Byte code, where this machine has the same Python: an emulated one needs ten seconds for numpy's."""
    python = shutil.which(f"python{PYTHON}")
    if python:
        command = [python, "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
        # Some of the standard library's tests hold wrong syntax on purpose.
        subprocess.run([*command, str(root / f"usr/lib/python{PYTHON}"), str(root / _SITE)], check=False)


def _wheels(machine: Machine, folder: Path) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    command += ["--constraint", str(CONSTRAINTS), "--dest", str(folder)]
    for platform in (*machine.wheels, "any"):
        command += ["--platform", platform]
    subprocess.run([*command, *_WHEELS], check=True)
    return sorted(folder.glob("*.whl"))
