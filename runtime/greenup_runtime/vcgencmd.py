"""A Raspberry Pi's firmware asked through its own tool, a process a question: for power and for throttling."""

from __future__ import annotations

import shutil
import subprocess

from greenup_runtime.errors import MeterFault

_NAME = "vcgencmd"
_TIMEOUT_S = 2.0


def find() -> str | None:
    """The tool's path, or None where there is none."""
    return shutil.which(_NAME)


def ask(program: str, question: str) -> str:
    """What the tool prints. Raises MeterFault where it does not answer or says that it failed."""
    try:
        done = subprocess.run(
            [program, question], capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeterFault(f"{_NAME} does not answer: {error}") from error
    if done.returncode != 0:
        raise MeterFault(f"{_NAME} failed: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout.decode("utf-8", errors="replace")
