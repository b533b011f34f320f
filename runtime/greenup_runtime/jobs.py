"""Long work that outlives the link: a process of its own, with its progress and result on disk.

jobs/<id>/request.json    what to do
jobs/<id>/progress.json   how far it is; the state `done`, `failed` or `cancelled` is final
jobs/<id>/result/         files, fetched as one tar
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any

from greenup_runtime.errors import DeviceFault, GreenupError, UsageFault
from greenup_runtime.files import write_json
from greenup_runtime.store import Store

FINAL = frozenset({"done", "failed", "cancelled"})
_PROGRESS_EVERY_S = 0.2


class Job:
    """One piece of long work in the store's `jobs` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self._written_s = 0.0

    @property
    def result(self) -> Path:
        """The folder for the job's result files."""
        return self.folder / "result"

    def request(self) -> dict[str, Any]:
        """What the job was asked to do."""
        request: dict[str, Any] = json.loads((self.folder / "request.json").read_text())
        return request

    def progress(self, done: int, total: int, message: str) -> None:
        """Say how far the work is; written a few times a second at most."""
        if time.monotonic() - self._written_s >= _PROGRESS_EVERY_S:
            self._write({"state": "running", "done": done, "total": total, "message": message})

    def finish(self, fault: GreenupError | None = None) -> None:
        """Write the final state."""
        if fault is None:
            return self._write({"state": "done"})
        values = {"message": fault.message, "hint": fault.hint, "exit_code": fault.exit_code}
        return self._write({"state": "failed", **values})

    def status(self) -> dict[str, Any]:
        """The job's state; a process that died without a word has failed."""
        status: dict[str, Any] = json.loads((self.folder / "progress.json").read_text())
        if status["state"] not in FINAL and not _alive(status.get("pid")):
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            return {
                "state": "failed",
                "message": f"the job's process ended without a result: {log.strip() or 'no output'}",
                "hint": "was it killed, for lack of memory perhaps?",
                "exit_code": DeviceFault.exit_code,
            }
        return status

    def fetch(self) -> bytes:
        """The result's files as a tar. Raises DeviceFault while there is none."""
        status = self.status()
        if status["state"] != "done":
            raise DeviceFault(
                f"job {self.id} has no result, its state is {status['state']}", "wait, or start it again"
            )
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path in sorted(self.result.iterdir()):
                archive.add(path, arcname=path.name, recursive=False)
        return buffer.getvalue()

    def cancel(self) -> None:
        """Stop the job's process, if it still runs."""
        status = self.status()
        if status["state"] in FINAL:
            return
        os.kill(int(status["pid"]), signal.SIGTERM)
        self._write({"state": "cancelled"})

    def _write(self, values: dict[str, Any]) -> None:
        self._written_s = time.monotonic()
        write_json(self.folder / "progress.json", {"pid": os.getpid(), **values})


def start(store: Store, request: dict[str, Any], root: Path) -> Job:
    """Begin a job in a process of its own session, so that a cut link does not end it."""
    store.forget_jobs()
    job = Job(store.home / "jobs" / uuid.uuid4().hex[:16])
    job.result.mkdir(parents=True)
    write_json(job.folder / "request.json", request)
    command = [sys.executable, "-m", "greenup_runtime.cli", "--home", str(store.home), "--root", str(root)]
    command += ["job", "run", job.id]
    with (job.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    if not (job.folder / "progress.json").exists():
        write_json(job.folder / "progress.json", {"state": "starting", "pid": process.pid})
    return job


def find(store: Store, job_id: str) -> Job:
    """A job by its id. Raises UsageFault for an unknown one."""
    folder = store.home / "jobs" / job_id
    if not job_id.isalnum() or not folder.is_dir():
        raise UsageFault(f"there is no job {job_id!r} on this device")
    return Job(folder)


def _alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError, IndexError):
        return False
    # A child that ended but was not waited for still answers signals.
    return state != "Z"
