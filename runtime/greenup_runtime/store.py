"""What is installed on a device, and which variant of it serves.

    layout.json                     version of this layout
    device.json                     the device's own id, drawn once
    allowed_signers, revoked_keys   whose bundles run here, and whose no more
    store.lock                      held while any of this changes
    blobs/sha256/<hex>              each blob once, whatever bundles share it
    incoming/<digest>/              a push that has not arrived whole
    bundles/<digest>/manifest.json  with manifest.json.sig, and proof.json once it was proven here
    state.json                      what serves now, what served before, the highest selection seen
    spool.sqlite                    records that no host has acknowledged; spool.2.sqlite after damage
    jobs/<id>/                      long work and its results

A switch is one atomic rename of state.json: a crash leaves the old bundle serving or the new one, never
neither. Whatever changes the store holds its lock; reading needs none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from greenup_runtime import installing, layout, proven, selection, signers
from greenup_runtime.bundle import BLOBS, MANIFEST_NAME, SIGNATURE_NAME, Bundle, check_blobs, parse
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault
from greenup_runtime.files import locked, write_atomic, write_json
from greenup_runtime.manifest import hex_digest
from greenup_runtime.proven import PROOF_NAME, Proof
from greenup_runtime.selection import SELECTION_SCHEMA, selection_bytes
from greenup_runtime.signing import verify
from greenup_runtime.spool import Bounds, Spool

__all__ = ["SELECTION_SCHEMA", "Store", "default_home", "selection_bytes"]
HOME_VARIABLE = "GREENUP_RUNNER_HOME"
LOCK_WAIT_S = 30.0
# So many former selections are remembered; garbage collection decides whose bundles are kept.
MAX_HISTORY = 8


def default_home() -> Path:
    """Where a runner keeps its data: $GREENUP_RUNNER_HOME, else the user's data folder."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(base) / "greenup-runner"


class Store:
    """The runner's data folder. Opening it creates the folder; a newer layout raises DeviceFault."""

    def __init__(self, home: Path, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.home = home
        self.blobs = home / BLOBS
        self._lock_wait_s = lock_wait_s
        try:
            self.device_id = layout.prepare(home, lock_wait_s)
        except OSError as error:
            raise DeviceFault(f"the runner cannot use {home}: {error}", f"set {HOME_VARIABLE}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store against every other change. Raises DeviceFault where another holds it for too long."""
        with locked(self.home / layout.LOCK_NAME, self._lock_wait_s, layout.BUSY):
            yield

    @property
    def allowed_signers(self) -> Path:
        """The file that names whose signatures count here."""
        return self.home / "allowed_signers"

    def spool(self, bounds: Bounds | None = None) -> Spool:
        """The device's spool of records, with the bounds that were last given."""
        return Spool(self.home / "spool.sqlite", bounds, self.device_id)

    def trust(self, line: str) -> bool:
        """Trust a signer, given as a line of an allowed-signers file; only the first is taken on its word.

        Returns whether anything changed. Raises IntegrityFault where the device already trusts others, UsageFault
        for a line that is none.
        """
        line = signers.checked(line)
        with self.lock():
            known = signers.lines(self.allowed_signers)
            if signers.key_of(line) in map(signers.key_of, known):
                return False
            if known:
                raise IntegrityFault(
                    "this device already trusts another signer",
                    "add the new key on the device: `greenup-runner signers add`",
                )
            write_atomic(self.allowed_signers, (line + "\n").encode())
        return True

    def missing(self, blobs: list[str]) -> list[str]:
        """Which of these blobs the device lacks. Raises UsageFault for a name that no blob has."""
        try:
            return [name for name in blobs if not (self.blobs / hex_digest(name)).exists()]
        except ValueError as error:
            raise UsageFault(f"blobs are asked for by their sha256: {error}") from error

    def install(self, stream: BinaryIO) -> Bundle:
        """Store a pushed bundle (a tar stream); it does not serve before it is committed."""
        with self.lock():
            return installing.install(self, stream)

    def installed(self) -> list[str]:
        """Digests of the bundles that arrived whole, the newest first."""
        paths = (self.home / "bundles").glob(f"*/{MANIFEST_NAME}")
        newest = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
        return [path.parent.name for path in newest]

    def bundle(self, digest: str) -> tuple[Bundle, str | None]:
        """An installed bundle and its signature. Raises UsageFault where it is not installed."""
        folder = self._folder(digest)
        try:
            manifest = (folder / MANIFEST_NAME).read_bytes()
            signature = (folder / SIGNATURE_NAME).read_text(errors="replace")
        except FileNotFoundError as error:
            raise UsageFault(
                f"bundle {digest[:12]} is not installed here", "push it with `greenup push`"
            ) from error
        bundle = parse(manifest, self.blobs)
        if bundle.digest != digest:
            raise IntegrityFault(f"the manifest of bundle {digest[:12]} was altered", "push the bundle again")
        return bundle, signature or None

    def keep_proof(self, proof: Proof, root: Path = Path("/")) -> None:
        """Keep a proof beside its bundle. The caller holds the lock."""
        kept = proven.kept_form(proof, self.device_id, root)
        write_json(self._folder(proof.bundle) / PROOF_NAME, kept)

    def proof(self, digest: str) -> dict[str, Any] | None:
        """The proof kept beside a bundle, whether or not it still holds; None where there is none."""
        path = self._folder(digest) / PROOF_NAME
        if not path.exists():
            return None
        try:
            kept = layout.read_json(path)
            Proof.from_json(kept)
        except (IntegrityFault, KeyError, TypeError):
            # A damaged proof is none; the next one takes its place.
            return None
        return kept

    def proof_lacks(self, digest: str, root: Path = Path("/")) -> str | None:
        """Why a bundle needs a proof before it may serve here with this runtime; None where its proof holds."""
        kept = self.proof(digest)
        return "it was not proven on this device" if kept is None else proven.outdated(kept, self.device_id, root)

    def commit(
        self,
        chosen: dict[str, Any],
        signature: str | None,
        *,
        allow_unsigned: bool = False,
        root: Path = Path("/"),
    ) -> None:
        """Let the selected variant serve from now on, by one atomic rename.

        Raises IntegrityFault for a selection without a valid signature, for another device, or not newer than
        the last one, and for a bundle that was not proven on this device with this runtime. The selection that
        serves already may be committed again: that changes nothing.
        """
        with self.lock():
            state = self.state()
            current = state["current"]
            if current and (current["selection"], current["signature"]) == (chosen, signature):
                return
            if signature or not allow_unsigned:
                verify(selection_bytes(chosen), signature, self.allowed_signers)
            selection.check(chosen, self.device_id, state["highest_sequence"])
            unsigned = self._check_bundle(chosen, allow_unsigned, root) or not signature
            current = {"selection": chosen, "signature": signature, "unsigned": unsigned}
            former = [state["current"], *state["history"]] if state["current"] else []
            self._switch(state, current, former, chosen["sequence"], cause=None)

    def rollback(self, cause: str, steps: int = 1) -> dict[str, Any]:
        """Let the one that served before serve again, and keep the cause. Raises DeviceFault if there is none.

        A signed one is verified again: what a revoked key signed does not come back.
        """
        with self.lock():
            state = self.state()
            if not 1 <= steps <= len(state["history"]):
                kept = len(state["history"])
                raise DeviceFault(
                    f"there is nothing to roll back to{f' that far: {kept} steps are kept' if kept else ''}",
                    "push a bundle, or commit another variant",
                )
            target = state["history"][steps - 1]
            self._check_former(target)
            self._switch(state, target, state["history"][steps:], state["highest_sequence"], cause)
        former: dict[str, Any] = target["selection"]
        return former

    def state(self) -> dict[str, Any]:
        """What serves (`current`), what served before (`history`, the newest first; `previous`), and `cause`.

        `cause` says why the last switch was a rollback. Raises IntegrityFault where the file is damaged.
        """
        path = self.home / "state.json"
        state: dict[str, Any] = {"current": None, "history": [], "highest_sequence": 0, "cause": None}
        if path.exists():
            state.update(layout.read_json(path))
        entries = [state["current"]] if state["current"] is not None else []
        if not isinstance(state["history"], list) or not all(map(selection.is_entry, entries + state["history"])):
            raise layout.damaged(path, "it names no selection that was committed")
        return {**state, "previous": state["history"][0] if state["history"] else None}

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace the state by one rename. The caller holds the lock."""
        write_json(self.home / "state.json", {name: value for name, value in state.items() if name != "previous"})

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

    def _switch(
        self, state: dict[str, Any], current: Any, history: list[Any], highest_sequence: int, cause: str | None
    ) -> None:
        changed = {"current": current, "history": history[:MAX_HISTORY], "cause": cause}
        self.write_state({**state, **changed, "highest_sequence": highest_sequence})

    def _check_bundle(self, chosen: dict[str, Any], allow_unsigned: bool, root: Path) -> bool:
        """The chosen bundle may serve here; returns whether it is unsigned."""
        digest = chosen["bundle"]
        bundle, signature = self.bundle(digest)
        bundle.variant(chosen["variant"])
        proven.check(self.proof(digest), digest, chosen["variant"], allow_unsigned=allow_unsigned)
        if why := self.proof_lacks(digest, root):
            raise IntegrityFault(
                f"bundle {digest[:12]} needs a new proof: {why}", f"run `greenup-runner prove {digest}`"
            )
        if signature or not allow_unsigned:
            verify(bundle.manifest_bytes, signature, self.allowed_signers)
        return not signature

    def _check_former(self, former: dict[str, Any]) -> None:
        bundle, signature = self.bundle(former["selection"]["bundle"])
        check_blobs(bundle)
        if signature and not former.get("unsigned"):
            verify(bundle.manifest_bytes, signature, self.allowed_signers)

    def _folder(self, digest: str) -> Path:
        try:
            return self.home / "bundles" / hex_digest(digest)
        except ValueError as error:
            raise UsageFault(f"a bundle is named by its digest: {error}") from error
