"""Write files so that a crash leaves the old or the new one, never half of either."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from greenup_runtime.errors import DeviceFault

_LOCK_POLL_S = 0.05


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's content by one rename, durable when this returns."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(data)
            temporary.flush()
            os.fsync(temporary.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_atomic(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durable when this returns."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporaries(folder: Path) -> list[Path]:
    """What `write_atomic` left in a folder when it was killed; look only while nobody else writes there."""
    return sorted(path for path in folder.glob(".*") if path.is_file() and not path.is_symlink())


@contextmanager
def locked(path: Path, wait_s: float, busy: str) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends.

    Raises DeviceFault with the text of `busy` where another process has held it for `wait_s` seconds.
    """
    with path.open("a") as handle:
        end_s = time.monotonic() + wait_s
        while not _taken(handle.fileno()):
            if time.monotonic() >= end_s:
                raise DeviceFault(f"{busy}; waited {wait_s:g} s", "try again when it has ended")
            time.sleep(_LOCK_POLL_S)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
