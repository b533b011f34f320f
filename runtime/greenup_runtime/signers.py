"""Whose bundles run on this device: the allowed signers, and the keys that were revoked.

    allowed_signers     one line a key: a name, then the key; ssh-keygen's own form
    revoked_keys        public keys that count no more, whatever the other file says

Somebody at the device's own command line may change both. Over the host's link a change must be signed by a signer
that the device trusts already, for this device, with a number higher than any before: a recorded change does not
work twice, nor elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from greenup_runtime import manifest as fields
from greenup_runtime.errors import IntegrityFault, UsageFault
from greenup_runtime.files import write_atomic
from greenup_runtime.signing import NAMESPACE, REVOKED_NAME, ssh_keygen, verify

CHANGE_SCHEMA = "greenup.signers.change/1"
ACTIONS = ("add", "remove", "revoke")
MAX_SIGNERS = 100
_KEY = re.compile(r"(?P<kind>(?:ssh|ecdsa|sk)-[a-z0-9@.-]+) (?P<key>[A-Za-z0-9+/=]+)")
_LINE = re.compile(
    r'(?P<name>[A-Za-z0-9@._+-]{1,100}) (?:namespaces="[a-z,]{1,100}" )?'
    r"(?P<kind>(?:ssh|ecdsa|sk)-[a-z0-9@.-]{1,60}) (?P<key>[A-Za-z0-9+/=]{16,4000})(?: [ -~]{0,200})?"
)


def lines(allowed_signers: Path) -> list[str]:
    """The lines that name a signer."""
    text = allowed_signers.read_text() if allowed_signers.exists() else ""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def listed(allowed_signers: Path) -> list[dict[str, Any]]:
    """Each signer with its name, the kind of its key, the fingerprint, and whether it is revoked."""
    revoked = _revoked(allowed_signers)
    rows = []
    for line in lines(allowed_signers):
        name, kind, key = _found(line)
        rows.append({"name": name, "kind": kind, "fingerprint": fingerprint(key), "revoked": key in revoked})
    return rows


def checked(line: str) -> str:
    """One line that names one signer, for greenup's namespace only. Raises UsageFault for anything else."""
    name, kind, key = _parts(line.strip())
    command = [ssh_keygen(), "-l", "-f", "-"]
    done = subprocess.run(command, input=f"{kind} {key}\n".encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise UsageFault(
            f"this is no signer: ssh-keygen knows no such key as {key[:40]}", "copy the .pub file's line"
        )
    return f'{name} namespaces="{NAMESPACE}" {kind} {key}'


def add(allowed_signers: Path, line: str) -> bool:
    """Trust one more signer; returns whether that is new. Raises IntegrityFault for a revoked key."""
    line, known = checked(line), lines(allowed_signers)
    key = key_of(line)
    if key in _revoked(allowed_signers):
        raise IntegrityFault(f"the key {fingerprint(key)} is revoked on this device", "use another key")
    if key in map(key_of, known):
        return False
    if len(known) >= MAX_SIGNERS:
        raise UsageFault(f"this device trusts {MAX_SIGNERS} signers already", "remove some first")
    _write(allowed_signers, [*known, line])
    return True


def remove(allowed_signers: Path, which: str) -> list[str]:
    """Trust a signer no more, by name or fingerprint; returns the fingerprints that went.

    Raises UsageFault for an unknown one, and for the last: with none, the next comer would be trusted.
    """
    known = lines(allowed_signers)
    gone = [line for line in known if _is(line, which)]
    if not gone:
        names = ", ".join(_found(line)[0] for line in known) or "none"
        raise UsageFault(f"this device trusts no signer {ascii(which)[:100]}", f"it trusts: {names}")
    left = [line for line in known if line not in gone]
    if not left:
        raise UsageFault("the last signer cannot be removed", "add the next one first")
    _write(allowed_signers, left)
    return [fingerprint(key_of(line)) for line in gone]


def revoke(allowed_signers: Path, which: str) -> list[str]:
    """Revoke a signer's keys, by name or fingerprint: they count no more, even if they are added again."""
    gone = [_found(line) for line in lines(allowed_signers) if _is(line, which)]
    if gone and len(gone) == len(lines(allowed_signers)):
        raise UsageFault("the last signer cannot be revoked", "add the next one first")
    revoked = allowed_signers.with_name(REVOKED_NAME)
    kept = revoked.read_text() if revoked.exists() else ""
    fresh = [f"{kind} {key}\n" for _, kind, key in gone if key not in kept]
    if fresh:
        write_atomic(revoked, (kept + "".join(fresh)).encode())
    return remove(allowed_signers, which)


def change_bytes(change: dict[str, Any]) -> bytes:
    """The bytes of a change that are signed: canonical JSON."""
    return json.dumps(change, sort_keys=True, separators=(",", ":")).encode()


def check_change(change: Any, signature: Any, device: str, highest: int, allowed_signers: Path) -> None:
    """Raise IntegrityFault for a change that no trusted signer asked of this device, or that was seen before."""
    if not isinstance(change, dict) or change.get("schema") != CHANGE_SCHEMA:
        raise IntegrityFault("this is no signed change of the signers", "update the older of host and runner")
    verify(change_bytes(change), signature if isinstance(signature, str) else None, allowed_signers)
    try:
        sequence = fields.integer(change["sequence"], 1, 1 << 53)
        fits = change["action"] in ACTIONS and isinstance(change["signer"], str)
    except (KeyError, ValueError) as error:
        raise IntegrityFault(f"the change of the signers is damaged: {error}") from error
    if not fits or change.get("device") != device:
        raise IntegrityFault("the change of the signers was made for another device", "make one for this device")
    if sequence <= highest:
        raise IntegrityFault(
            f"the change of the signers is old: its number is {sequence}, {highest} was seen here"
        )


def fingerprint(key: str) -> str:
    """A key's fingerprint as ssh-keygen shows it; `unknown` for a text that is no key."""
    try:
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except binascii.Error:
        return "unknown"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=") if key else "unknown"


def _is(line: str, which: str) -> bool:
    name, _, key = _found(line)
    return which in (name, fingerprint(key))


def key_of(line: str) -> str:
    """The key of a line, whatever stands before it."""
    return _found(line)[2]


def _found(line: str) -> tuple[str, str, str]:
    """Name, kind and key of a line that somebody may have written by hand, with options of ssh-keygen's."""
    found = _KEY.search(line)
    return (line.split()[0], found["kind"], found["key"]) if found else (line.split()[0], "unknown", "")


def _parts(line: str) -> tuple[str, str, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise UsageFault(
            f"this is no signer: {ascii(line)[:80]}",
            "write NAME KIND KEY, as in an allowed-signers file, one line",
        )
    return found["name"], found["kind"], found["key"]


def _revoked(allowed_signers: Path) -> set[str]:
    path = allowed_signers.with_name(REVOKED_NAME)
    text = path.read_text() if path.exists() else ""
    return {line.split()[1] for line in text.splitlines() if len(line.split()) > 1}


def _write(allowed_signers: Path, signers: list[str]) -> None:
    write_atomic(allowed_signers, ("\n".join(signers) + "\n").encode())
