"""Run the scenarios named in /input/scenarios.json, each in a process of its own, and say what each found."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import frames
import rig
import scenarios


def main() -> None:
    """One frame per scenario."""
    rig.load("i2c-dev", *(name for name in ("industrialio", "kfifo_buf") if (rig.MODULES / f"{name}.ko").exists()))
    keep = rig.present()
    for name in json.loads(Path("/input/scenarios.json").read_text()):
        begin_s = time.monotonic()
        failed = _forked(name)
        rig.clean(keep)
        if failed is not None:
            _say({"scenario": name, "failed": failed})
        print(f"{name}: {time.monotonic() - begin_s:.1f} s", flush=True)


def _forked(name: str) -> str | None:
    """Run a scenario in a fork, so that what it leaves behind ends with it; returns what it complained of."""
    with tempfile.TemporaryFile() as complaints:
        child = os.fork()
        if child == 0:
            os.dup2(complaints.fileno(), 2)
            _say({"scenario": name, **scenarios.ALL[name]()})
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        complaints.seek(0)
        text = complaints.read().decode(errors="replace")
    return None if status == 0 else text[-4000:] or f"status {status}"


def _say(value: dict[str, object]) -> None:
    print(frames.encode(value), flush=True)


if __name__ == "__main__":
    main()
