"""Environments of their own for what greenup is compared with: `olive`, `mlserver`.

    python benchmarks/environments.py olive mlserver

Each is made once below the cache (`$GREENUP_CACHE/envs`, else `~/.cache/greenup/envs`) and found there by the
benchmarks; its Python is printed. Their packages pin others than greenup's own environment does, so they cannot
share one. torch and onnxruntime are those of constraints.txt: the CPU build, and the same runtime for all.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from greenup.folders import cache_folder

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
# One list per call of pip. requests: Olive imports it and does not ask for it.
PACKAGES = {
    "olive": (("torch",), ("olive-ai>=0.13,<0.14", "onnxruntime", "onnx", "requests>=2")),
    "mlserver": (("mlserver>=1.7,<1.8", "onnxruntime"),),
}
_PINNED = ("torch", "onnxruntime", "onnx")


def main() -> None:
    """Make the environments that are named and print where their Pythons are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="+", choices=sorted(PACKAGES))
    for name in parser.parse_args().name:
        print(made(name))


def python_of(name: str) -> Path | None:
    """The Python of an environment, or None where it was not made."""
    python = _folder(name) / "bin" / "python"
    return python if (_folder(name) / ".made").exists() else None


def made(name: str) -> Path:
    """The Python of an environment, which is made where it is missing; a half-made one is made again."""
    if found := python_of(name):
        return found
    folder = _folder(name)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    for packages in PACKAGES[name]:
        pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        if failed := subprocess.run([*pip, *_pinned(packages)]).returncode:
            sys.exit(f"error: environment {name} could not be made: pip ended with {failed}")
    (folder / ".made").touch()
    return folder / "bin" / "python"


def _folder(name: str) -> Path:
    return cache_folder() / "envs" / name


def _pinned(packages: tuple[str, ...]) -> list[str]:
    """Packages with greenup's own versions where those matter; its other pins would not fit."""
    lines = CONSTRAINTS.read_text().splitlines()
    versions = {line.split("==")[0]: line for line in lines if "==" in line and not line.startswith("#")}
    return [versions[name] if name in _PINNED else name for name in packages]


if __name__ == "__main__":
    main()
