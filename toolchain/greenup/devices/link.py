"""How the host reaches a device: a command line there, bytes in, one framed answer out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from greenup_runtime import wire
from greenup_runtime.errors import DeviceFault

RUNNER_VARIABLE = "GREENUP_RUNNER"


class Link(Protocol):
    """A way to run the runner's verbs on a device."""

    def call(self, argv: Sequence[str], stdin: bytes = b"") -> wire.Frame:
        """Run `greenup-runner --framed ARGV…` there. Raises DeviceFault where no whole answer comes back."""
        ...


class LocalLink:
    """This machine as the device: the runner as a process of its own, with a data folder of its own.

    The runner is the one installed beside this Python, or the one that $GREENUP_RUNNER names.
    """

    def __init__(self, home: Path | None = None, runner: str | None = None) -> None:
        self._command = _runner_command(runner)
        if home is not None:
            self._command += ["--home", str(home)]

    def call(self, argv: Sequence[str], stdin: bytes = b"") -> wire.Frame:
        """Run one verb of the local runner."""
        command = [*self._command, "--framed", *argv]
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        except OSError as error:
            raise DeviceFault(
                f"the runner {command[0]} cannot be started: {error.strerror}",
                f"install greenup-runtime, or name a runner in {RUNNER_VARIABLE}",
            ) from error
        if not done.stdout and done.returncode != 0:
            tail = done.stderr[-600:].decode(errors="replace").strip()
            raise DeviceFault(
                f"the runner failed with exit code {done.returncode}: {tail}", "see `greenup doctor`"
            )
        return wire.decode(done.stdout)


def _runner_command(runner: str | None) -> list[str]:
    named = runner or os.environ.get(RUNNER_VARIABLE)
    if named:
        return [named]
    beside = Path(sys.executable).with_name("greenup-runner")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "greenup_runtime.cli"]
