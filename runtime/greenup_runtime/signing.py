"""Verify SSH signatures, as git does: `ssh-keygen -Y verify` against an allowed-signers file and revoked keys."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from greenup_runtime.errors import DeviceFault, IntegrityFault

NAMESPACE = "greenup"
REVOKED_NAME = "revoked_keys"
"""Public keys, one a line, in a file beside the allowed signers; what they signed counts no more."""
UNSIGNED_HINT = "sign the bundle on the host (`greenup build` does), or allow it with --allow-unsigned"
_LIMIT_S = 30.0


def ssh_keygen() -> str:
    """Path of ssh-keygen. Raises DeviceFault where it is not installed."""
    found = shutil.which("ssh-keygen")
    if found is None:
        raise DeviceFault("ssh-keygen is not installed, signatures cannot be checked", "install openssh-client")
    return found


def verify(payload: bytes, signature: str | None, allowed_signers: Path) -> str:
    """Check a signature and return the signer's name.

    Raises IntegrityFault for no signature, an unknown signer, a revoked key, or bytes that were altered.
    """
    if not signature:
        raise IntegrityFault("there is no signature", UNSIGNED_HINT)
    if not allowed_signers.exists():
        raise IntegrityFault("this device trusts no signer yet", "the host's first push installs its key")
    with tempfile.TemporaryDirectory() as folder:
        signature_file = Path(folder) / "sig"
        signature_file.write_bytes(signature.encode(errors="surrogateescape"))
        signer = _find_signer(signature_file, allowed_signers)
        command = [ssh_keygen(), "-Y", "verify", "-n", NAMESPACE, "-I", signer]
        command += ["-f", str(allowed_signers), "-s", str(signature_file)]
        revoked = allowed_signers.with_name(REVOKED_NAME)
        checked = [*command, "-r", str(revoked)] if revoked.exists() else command
        if not _passes(checked, payload):
            # ssh-keygen does not say why; that it passes without the revoked keys does.
            raise _refused(signer, revoked=checked is not command and _passes(command, payload))
    return signer


def _passes(command: list[str], payload: bytes) -> bool:
    done = subprocess.run(command, input=payload, capture_output=True, check=False, timeout=_LIMIT_S)
    return done.returncode == 0


def _refused(signer: str, *, revoked: bool) -> IntegrityFault:
    if revoked:
        return IntegrityFault(
            f"the key that {signer} signed with is revoked on this device", "sign with a key that it trusts"
        )
    return IntegrityFault("the signature does not match the bytes: they were altered after signing", UNSIGNED_HINT)


def _find_signer(signature_file: Path, allowed_signers: Path) -> str:
    command = [ssh_keygen(), "-Y", "find-principals", "-s", str(signature_file), "-f", str(allowed_signers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    names = done.stdout.split()
    if done.returncode != 0 or not names:
        raise IntegrityFault(
            "the signer is not among those this device trusts",
            "add the signer's public key on the device: `greenup-runner signers add`",
        )
    return names[0]
