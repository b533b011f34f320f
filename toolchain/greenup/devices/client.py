"""The runner's verbs as methods, over any link."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenup.devices.link import Link
from greenup.devices.unpack import unpack_files
from greenup_runtime import wire
from greenup_runtime.errors import DeviceFault, GreenupError

Progress = Callable[[int, int, str], None]
_POLL_S = 0.3


class RunnerClient:
    """One device's runner. Every method raises the fault that the device reports, as it was raised there."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def hello(self) -> dict[str, Any]:
        """Versions, device id and CPU features. Raises DeviceFault where the protocols do not match."""
        answer = self._json(["hello"])
        if answer["protocol"] != wire.PROTOCOL:
            raise DeviceFault(
                f"the runner speaks protocol {answer['protocol']}, this host {wire.PROTOCOL}",
                "update the older of the two",
            )
        return answer

    def status(self) -> dict[str, Any]:
        """What serves there now."""
        return self._json(["status"])

    def meters(
        self, settings: dict[str, Any] | None = None, watch_s: float = 0.0, only: str | None = None
    ) -> list[dict[str, Any]]:
        """The device's meters, each with a reading or a reason; with `watch_s` also rate, noise and idle power.

        `only` asks for one, written as in `--meter`.
        """
        watch = ["--watch-s", str(watch_s), "--settings", json.dumps(settings or {})]
        watch += [] if only is None else ["--only", only]
        rows: list[dict[str, Any]] = self._json(["meters", *watch])["meters"]
        return rows

    def trust(self, allowed_signers_line: str) -> bool:
        """Introduce a signer on first contact; returns whether it was new."""
        return bool(self._json(["trust"], allowed_signers_line.encode())["changed"])

    def wanted(self, blobs: list[str]) -> list[str]:
        """Of these blobs, those that the device lacks."""
        missing: list[str] = self._json(["wanted"], json.dumps(blobs).encode())["missing"]
        return missing

    def install(self, archive: bytes) -> str:
        """Store a bundle's tar; returns its digest."""
        return str(self._json(["install"], archive)["bundle"])

    def prove(self, bundle: str, *, allow_unsigned: bool) -> dict[str, Any]:
        """Check an installed bundle there, golden samples included."""
        return self._json(["prove", bundle, *_unsigned(allow_unsigned)])

    def commit(self, selection: dict[str, Any], signature: str | None, *, allow_unsigned: bool) -> None:
        """Let a selection serve."""
        envelope = json.dumps({"selection": selection, "signature": signature}).encode()
        self._json(["commit", *_unsigned(allow_unsigned)], envelope)

    def signers(self) -> dict[str, Any]:
        """Whose bundles run there, the device's id, and the number of the last signed change."""
        return self._json(["signers", "list"])

    def change_signers(self, order: dict[str, Any], signature: str) -> dict[str, Any]:
        """Have a signed change of the signers made there."""
        return self._json(["signers", "apply"], json.dumps({"change": order, "signature": signature}).encode())

    def records(self, since: int) -> dict[str, Any]:
        """A batch of records after a sequence number, with the spool's uuid and the device's id."""
        return self._json(["records", "--since", str(since)])

    def acknowledge(self, spool: str, seq: int) -> None:
        """Tell the device that records up to a number are stored here."""
        self._json(["acknowledge", spool, str(seq)])

    def measure(self, request: dict[str, Any], folder: Path, progress: Progress) -> None:
        """Run a trial as a job there, and put its files into a folder; an interrupt cancels the job."""
        job = self._json(["job", "start"], json.dumps(request).encode())["job"]
        try:
            self._wait(job, progress)
        except KeyboardInterrupt:
            self._json(["job", "cancel", job])
            raise
        unpack_files(self._link.call(["job", "fetch", job]).data(), folder)

    def _wait(self, job: str, progress: Progress) -> None:
        while True:
            status = self._json(["job", "status", job])
            if status["state"] == "done":
                return
            if status["state"] in {"failed", "cancelled"}:
                raise _fault(status)
            progress(status.get("done", 0), status.get("total", 1), status.get("message", "starting"))
            time.sleep(_POLL_S)

    def _json(self, argv: list[str], stdin: bytes = b"") -> dict[str, Any]:
        answer: dict[str, Any] = self._link.call(argv, stdin).json()
        return answer


def _unsigned(allow: bool) -> list[str]:
    return ["--allow-unsigned"] if allow else []


def _fault(status: dict[str, Any]) -> GreenupError:
    fault = DeviceFault(status.get("message", "the measurement was cancelled"), status.get("hint"))
    fault.exit_code = status.get("exit_code", fault.exit_code)
    return fault
