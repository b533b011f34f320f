"""Sign with an SSH key, as git does: `ssh-keygen -Y sign`.

The user's own key where it can be used without asking for a passphrase, else a project key made on first use.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from greenup.folders import config_folder
from greenup_runtime.errors import GreenupError, UsageFault
from greenup_runtime.signing import NAMESPACE, ssh_keygen

KEY_VARIABLE = "GREENUP_SIGNING_KEY"
_USUAL_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class SigningKey:
    """A private key's path and its public half; `signer` is the name that devices know it by."""

    path: Path
    public: str

    @property
    def signer(self) -> str:
        """The key's name in an allowed-signers file: the comment of the public key, or `greenup`."""
        parts = self.public.split(maxsplit=2)
        name = parts[2].strip() if len(parts) > 2 else ""
        return "".join(ch if ch.isalnum() or ch in "@._-" else "-" for ch in name) or "greenup"

    def allowed_signers_line(self) -> str:
        """The line by which a device trusts this key for bundles, and for nothing else."""
        kind, key = self.public.split()[:2]
        return f'{self.signer} namespaces="{NAMESPACE}" {kind} {key}'

    def sign(self, payload: bytes) -> str:
        """Signature of bytes, armored. Raises GreenupError where ssh-keygen refuses."""
        with tempfile.TemporaryDirectory() as folder:
            message = Path(folder) / "message"
            message.write_bytes(payload)
            command = [ssh_keygen(), "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(self.path), str(message)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise GreenupError(
                    f"{self.path} cannot sign: {done.stderr.strip()}", f"name another key in {KEY_VARIABLE}"
                )
            return message.with_suffix(".sig").read_text()


def find_key() -> SigningKey:
    """The key to sign with: $GREENUP_SIGNING_KEY, the user's SSH key, or the project key (made if need be)."""
    named = os.environ.get(KEY_VARIABLE)
    if named:
        key = _usable(Path(named).expanduser())
        if key is None:
            raise UsageFault(
                f"the key {named} cannot be used without a passphrase, or does not exist",
                f"name a private key without one in {KEY_VARIABLE}, or unset it",
            )
        return key
    for name in _USUAL_NAMES:
        if key := _usable(Path.home() / ".ssh" / name):
            return key
    return _project_key()


def _usable(path: Path) -> SigningKey | None:
    """The key, if its public half can be read from it with an empty passphrase: signing then asks nothing."""
    if not path.is_file():
        return None
    command = [ssh_keygen(), "-y", "-P", "", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return SigningKey(path, done.stdout.strip()) if done.returncode == 0 else None


def _project_key() -> SigningKey:
    path = config_folder() / "signing_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = [ssh_keygen(), "-q", "-t", "ed25519", "-N", "", "-C", "greenup-project", "-f", str(path)]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    key = _usable(path)
    if key is None:
        raise GreenupError(
            f"the project key {path} cannot be used", "remove it; a new one is made on the next build"
        )
    return key
