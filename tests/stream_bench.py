"""A committed small bundle, and `greenup-runner stream` as a process, for tests of streams."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import small_bundle

from greenup import bundle as packing
from greenup_runtime.bundle import Bundle
from greenup_runtime.proof import prove
from greenup_runtime.store import SELECTION_SCHEMA, Store

RUNNER = (sys.executable, "-m", "greenup_runtime.cli")
LENGTH = small_bundle.LENGTH
PATIENCE_S = 60.0


def committed(home: Path, variant: str = "fp32") -> tuple[Store, Bundle]:
    """A store in which the small bundle serves."""
    store = Store(home)
    bundle = small_bundle.make(home.with_name(f"{home.name}-bundle") / "b")
    store.install(io.BytesIO(packing.to_tar(bundle, None, bundle.blob_names())))
    store.keep_proof(prove(bundle, None, store.allowed_signers, allow_unsigned=True))
    choose(store, bundle, variant)
    return store, bundle


def choose(store: Store, bundle: Bundle, variant: str) -> None:
    """Let another variant serve."""
    selection = {
        "schema": SELECTION_SCHEMA,
        "device": store.device_id,
        "bundle": bundle.digest,
        "variant": variant,
        "trial": None,
        "budget": {},
        "sequence": store.state()["highest_sequence"] + 1,
    }
    store.commit(selection, None, allow_unsigned=True)


def lines(count: int, begin: int = 0) -> str:
    """So many samples, each its own number."""
    return "".join(f"{number}\n" for number in range(begin, begin + count))


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait until something holds; only a bug makes this long."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited for {what}")


class Running:
    """`greenup-runner stream …` with its output in files."""

    def __init__(self, home: Path, *arguments: object, environment: dict[str, str] | None = None) -> None:
        self._out = home.with_name(f"{home.name}-out-{time.monotonic_ns()}")
        self._err = self._out.with_suffix(".err")
        command = [*RUNNER, "--home", str(home), "stream", *map(str, arguments)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env={**os.environ, "GREENUP_RUNNER_LOG_FORMAT": "json", **(environment or {})},
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def say(self, text: str) -> None:
        """Write to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def labels(self) -> list[dict[str, Any]]:
        """Labels on stdout so far."""
        return [json.loads(line) for line in self._out.read_text().splitlines()]

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Events on stderr so far, or those of one name."""
        text = self._err.read_text()
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [event for event in found if name in (None, event["event"])]

    def error(self) -> str:
        """All of stderr."""
        return self._err.read_text()

    def await_labels(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many labels, no more and no fewer so far."""
        until(lambda: len(self.labels()) >= count or self.process.poll() is not None, f"{count} labels")
        found = self.labels()
        assert len(found) == count, self.error()
        return found

    def await_event(self, name: str) -> dict[str, Any]:
        """Wait for an event."""
        found: dict[str, Any] = until(lambda: self.events(name), name)[0]
        return found

    def end(self, number: int | None = None) -> dict[str, Any]:
        """End it by closing stdin, or by a signal; returns the summary."""
        if number is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
        else:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        assert code == (130 if number == signal.SIGINT else 0), self.error()
        return self.events("stream.end")[0]
