"""What is installed on a device, and which variant of it serves.

    layout.json                     version of this layout
    device.json                     the device's own id, drawn once
    allowed_signers                 whose bundles run here
    blobs/sha256/<hex>              each blob once, whatever bundles share it
    bundles/<digest>/manifest.json  and manifest.json.sig
    state.json                      what serves now, what served before, the highest selection seen
    spool.sqlite                    records that no host has acknowledged; spool.2.sqlite after damage
    jobs/<id>/                      long work and its results

A switch is one atomic rename of state.json: a crash leaves the old bundle serving or the new one, never
neither.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, BinaryIO

from greenup_runtime.bundle import BLOBS, MANIFEST_NAME, SIGNATURE_NAME, Bundle, parse
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault
from greenup_runtime.files import write_atomic, write_json
from greenup_runtime.signing import verify
from greenup_runtime.spool import Bounds, Spool
from greenup_runtime.unpack import unpack

LAYOUT_VERSION = 1
HOME_VARIABLE = "GREENUP_RUNNER_HOME"
SELECTION_SCHEMA = "greenup.selection/1"


def default_home() -> Path:
    """Where a runner keeps its data: $GREENUP_RUNNER_HOME, else the user's data folder."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "greenup-runner"


def selection_bytes(selection: dict[str, Any]) -> bytes:
    """The bytes of a selection that are signed: canonical JSON."""
    return json.dumps(selection, sort_keys=True, separators=(",", ":")).encode()


class Store:
    """The runner's data folder. Opening it creates the folder; a newer layout raises DeviceFault."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.blobs = home / BLOBS
        try:
            self.blobs.mkdir(parents=True, exist_ok=True)
            self._check_layout()
            self.device_id = self._device_id()
        except OSError as error:
            raise DeviceFault(f"the runner cannot use {home}: {error}", f"set {HOME_VARIABLE}") from error

    @property
    def allowed_signers(self) -> Path:
        """The file that names whose signatures count here."""
        return self.home / "allowed_signers"

    def spool(self, bounds: Bounds | None = None) -> Spool:
        """The device's spool of records, with the bounds that were last given."""
        return Spool(self.home / "spool.sqlite", bounds, self.device_id)

    def trust(self, line: str) -> bool:
        """Trust a signer, given as a line of an allowed-signers file; only the first is taken on its word.

        Returns whether anything changed. Raises IntegrityFault where the device already trusts others.
        """
        line = line.strip()
        known = self.allowed_signers.read_text().splitlines() if self.allowed_signers.exists() else []
        if line in known:
            return False
        if known:
            raise IntegrityFault(
                "this device already trusts another signer",
                f"add the new key to {self.allowed_signers} on the device",
            )
        write_atomic(self.allowed_signers, (line + "\n").encode())
        return True

    def missing(self, blobs: list[str]) -> list[str]:
        """Which of these blobs the device lacks."""
        return [name for name in blobs if not (self.blobs / name).exists()]

    def install(self, stream: BinaryIO) -> Bundle:
        """Store a pushed bundle (a tar stream); it does not serve before it is committed."""
        heads = unpack(stream, self.blobs)
        bundle = parse(heads[MANIFEST_NAME], self.blobs)
        if gone := self.missing(list(bundle.blob_names())):
            raise IntegrityFault(f"{len(gone)} blobs of the bundle were not pushed", "push the bundle again")
        folder = self.home / "bundles" / bundle.digest
        write_atomic(folder / SIGNATURE_NAME, heads.get(SIGNATURE_NAME, b""))
        write_atomic(folder / MANIFEST_NAME, heads[MANIFEST_NAME])
        return bundle

    def bundle(self, digest: str) -> tuple[Bundle, str | None]:
        """An installed bundle and its signature. Raises UsageFault where it is not installed."""
        folder = self.home / "bundles" / digest
        try:
            manifest = (folder / MANIFEST_NAME).read_bytes()
            signature = (folder / SIGNATURE_NAME).read_text()
        except OSError as error:
            raise UsageFault(
                f"bundle {digest[:12]} is not installed here", "push it with `greenup push`"
            ) from error
        bundle = parse(manifest, self.blobs)
        if bundle.digest != digest:
            raise IntegrityFault(f"the manifest of bundle {digest[:12]} was altered", "push the bundle again")
        return bundle, signature or None

    def commit(self, selection: dict[str, Any], signature: str | None, *, allow_unsigned: bool = False) -> None:
        """Let the selected variant serve from now on, by one atomic rename.

        Raises IntegrityFault for a selection without a valid signature, for another device, or not newer than
        the last one.
        """
        state = self.state()
        if signature or not allow_unsigned:
            verify(selection_bytes(selection), signature, self.allowed_signers)
        self._check_selection(selection, state["highest_sequence"])
        bundle, _ = self.bundle(selection["bundle"])
        bundle.variant(selection["variant"])
        current = {"selection": selection, "signature": signature}
        self._switch(current, state["current"], selection["sequence"], cause=None)

    def rollback(self, cause: str) -> dict[str, Any]:
        """Let the one that served before serve again, and keep the cause. Raises DeviceFault if there is none."""
        state = self.state()
        if state["previous"] is None:
            raise DeviceFault(
                "there is nothing to roll back to",
                "only one step back is kept",
            )
        self._switch(state["previous"], None, state["highest_sequence"], cause)
        selection: dict[str, Any] = state["previous"]["selection"]
        return selection

    def state(self) -> dict[str, Any]:
        """What serves (`current`), what served before (`previous`), why it was rolled back (`cause`)."""
        try:
            state: dict[str, Any] = json.loads((self.home / "state.json").read_text())
            return state
        except FileNotFoundError:
            return {"current": None, "previous": None, "highest_sequence": 0, "cause": None}

    def serving(self) -> tuple[Bundle, str]:
        """The bundle and the variant that serve. Raises DeviceFault where none was committed yet."""
        current = self.state()["current"]
        if current is None:
            raise DeviceFault("no bundle serves on this device yet", "push one with `greenup push`")
        bundle, _ = self.bundle(current["selection"]["bundle"])
        return bundle, str(current["selection"]["variant"])

    def forget_jobs(self, keep: int = 5) -> None:
        """Remove all but the newest finished jobs."""
        jobs = sorted((self.home / "jobs").glob("*/"), key=lambda job: job.stat().st_mtime, reverse=True)
        for job in jobs[keep:]:
            shutil.rmtree(job, ignore_errors=True)

    def _switch(self, current: Any, previous: Any, highest_sequence: int, cause: str | None) -> None:
        state = {"current": current, "previous": previous, "highest_sequence": highest_sequence, "cause": cause}
        write_json(self.home / "state.json", state)

    def _check_selection(self, selection: dict[str, Any], highest: int) -> None:
        if selection.get("schema") != SELECTION_SCHEMA:
            raise IntegrityFault(f"not a selection: schema {selection.get('schema')!r}", "update greenup-runtime")
        if selection["device"] != self.device_id:
            raise IntegrityFault("the selection was made for another device", "push to this device again")
        if int(selection["sequence"]) <= highest:
            raise IntegrityFault(
                f"the selection is old: its number is {selection['sequence']}, {highest} was seen here",
                "push again, which makes a new one",
            )

    def _check_layout(self) -> None:
        path = self.home / "layout.json"
        if not path.exists():
            write_json(path, {"version": LAYOUT_VERSION})
        version = int(json.loads(path.read_text())["version"])
        if version > LAYOUT_VERSION:
            raise DeviceFault(
                f"{self.home} has layout version {version}, this runner knows {LAYOUT_VERSION}",
                "update the runner",
            )

    def _device_id(self) -> str:
        path = self.home / "device.json"
        if not path.exists():
            write_json(path, {"id": uuid.uuid4().hex})
        return str(json.loads(path.read_text())["id"])
