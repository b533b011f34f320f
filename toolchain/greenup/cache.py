"""Stages cached by content: a stage's result lies in a folder named by the digest of all its inputs.

A folder appears by one rename when its stage has finished, so what is there is whole. An interrupted stage
leaves a `.partial` folder, which the next run of the same stage is given back: training resumes from it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import greenup_runtime
from greenup import __version__
from greenup_runtime.errors import GreenupError

_PACKAGE = Path(__file__).resolve().parent
_RUNTIME = Path(greenup_runtime.__file__).resolve().parent
_KEY_LENGTH = 32


class Cache:
    """Finished stages below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, inputs: dict[str, Any], code: Sequence[str], libraries: Sequence[str]) -> str:
        """Digest of a stage's inputs, of the modules that do its work, and of the libraries they rest on."""
        whole = {
            "inputs": inputs,
            "code": _code_digest(code),
            "libraries": {name: metadata.version(name) for name in libraries},
            "greenup": __version__,
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]

    def get(self, stage: str, key: str) -> Path | None:
        """The folder of a finished stage, if there is one."""
        folder = self.root / stage / key
        return folder if folder.is_dir() else None

    def run(self, stage: str, key: str, make: Callable[[Path], None]) -> Path:
        """The folder of the stage; `make` fills it if it is not there yet.

        Two processes that want the same stage do it once. Raises GreenupError where the disk is full; what was
        done until then is kept for the next run.
        """
        folder = self.root / stage / key
        partial = folder.with_suffix(".partial")
        with writing(f"stage {stage}"):
            partial.parent.mkdir(parents=True, exist_ok=True)
            with _lock(folder.with_suffix(".lock")):
                if not folder.is_dir():
                    partial.mkdir(exist_ok=True)
                    make(partial)
                    partial.rename(folder)
        return folder


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a full or read-only disk into a fault that says what was being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}:
            raise
        raise GreenupError(
            f"{what} could not be written: {error.strerror}" + (f" ({error.filename})" if error.filename else ""),
            "make room, or name another place with --out and GREENUP_CACHE; nothing was left half-written",
        ) from error


def replace_folder(source: Path, target: Path) -> None:
    """Copy a folder to its place so that the place holds the old or the new one, never a part."""
    fresh = target.with_name(f".{target.name}.new")
    old = target.with_name(f".{target.name}.old")
    with writing(str(target)):
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copytree(source, fresh)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise _plain(error) from error
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def _plain(error: OSError) -> OSError:
    """The first cause inside shutil's collection of copy errors, as an OSError with its number."""
    if not isinstance(error, shutil.Error):
        return error
    text = str(error.args[0][0][2])
    number = errno.ENOSPC if "Errno 28" in text else errno.EACCES
    return OSError(number, text)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _code_digest(modules: Sequence[str]) -> str:
    """Digest of sources, named relative to the package or, with `runtime/`, to the runtime's.

    A changed stage must not serve old results.
    """
    digest = hashlib.sha256()
    for name in sorted(modules):
        path = _RUNTIME / name.removeprefix("runtime/") if name.startswith("runtime/") else _PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()
