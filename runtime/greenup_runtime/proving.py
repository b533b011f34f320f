"""Have a bundle proven by a process of its own, so that a model that kills its process kills nothing else.

The child may take no more memory than is free, is the first to go where memory runs out all the same, and has a
time limit. What it last wrote to its log is part of the fault.
"""

from __future__ import annotations

import math
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from greenup_runtime import memory, wire
from greenup_runtime.bundle import sha256
from greenup_runtime.errors import DeviceFault, GreenupError, IntegrityFault
from greenup_runtime.proven import Proof
from greenup_runtime.store import Store

PROOF_LIMIT_S = 300.0
IN_PROCESS = "--in-process"
_LOG_CHARACTERS = 600
_FIRST_TO_GO = "1000"
_HEADROOM_BYTES = 256 << 20


def prove_installed(
    store: Store,
    digest: str,
    *,
    allow_unsigned: bool = False,
    root: Path = Path("/"),
    limit_s: float = PROOF_LIMIT_S,
) -> Proof:
    """Prove an installed bundle and keep the proof beside it, which `commit` asks for.

    Raises what `proof.prove` raises, with the tail of the child's log, and DeviceFault where the child died; an
    earlier proof is then left as it was.
    """
    with store.lock():
        bundle, _ = store.bundle(digest)
        _drop_altered(store, bundle.blob_names())
        proof = _by_child(store, digest, allow_unsigned, root, limit_s)
        store.keep_proof(proof, root)
    return proof


def confine(root: Path, limit_s: float) -> None:
    """Called by the child: no more memory than is free, the first to go where it runs out, an end in any case.

    The parent ends it after `limit_s`; where the parent was killed, the alarm does a little later.
    """
    signal.alarm(math.ceil(limit_s) + 1)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    free_bytes = memory.available_bytes(root)
    if free_bytes is not None:
        most = memory.resident_bytes() + free_bytes + _HEADROOM_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _by_child(store: Store, digest: str, allow_unsigned: bool, root: Path, limit_s: float) -> Proof:
    command = [sys.executable, "-m", "greenup_runtime.cli", "--home", str(store.home), "--root", str(root)]
    command += [
        "--framed",
        "prove",
        digest,
        IN_PROCESS,
        "--limit-s",
        str(limit_s),
        *(["--allow-unsigned"] if allow_unsigned else []),
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise DeviceFault(
            f"the proof did not end within {limit_s:g} s and was stopped", "prune more, or build for this target"
        ) from error
    log = _tail(done.stderr)
    if done.returncode < 0:
        raise DeviceFault(
            f"the proof's process was killed by signal {-done.returncode}{log}",
            "was it out of memory? `dmesg` on the device says so",
        )
    try:
        return Proof.from_json(wire.decode(done.stdout).json())
    except GreenupError as fault:
        fault.message += log
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceFault(
            f"the proof's process gave no answer: {error}{log}", "install the runner again"
        ) from error


def _drop_altered(store: Store, blobs: tuple[str, ...]) -> None:
    """A file that is not what its name says is worth nothing; without it the next push sends it again."""
    for name in blobs:
        path = store.blobs / name
        if path.exists() and sha256(path.read_bytes()) != name:
            path.unlink()
            raise IntegrityFault(
                f"blob {name[:12]}… was altered on this device's disk, and was removed", "push the bundle again"
            )


def _tail(log: bytes) -> str:
    text = log[-_LOG_CHARACTERS:].decode(errors="replace").strip()
    return "\n  the device's log: " + "\n  ".join(text.splitlines()) if text else ""
