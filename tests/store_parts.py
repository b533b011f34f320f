"""Two signed bundles, the key that a device trusts, a stranger's, and homes where the first one serves."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import small_bundle

from greenup import bundle as packing
from greenup.signing import SigningKey
from greenup_runtime import cli
from greenup_runtime.bundle import Bundle
from greenup_runtime.proof import prove
from greenup_runtime.selection import make as make_selection
from greenup_runtime.selection import selection_bytes
from greenup_runtime.store import Store

RUNNER = [sys.executable, "-m", "greenup_runtime.cli"]


@dataclass(frozen=True)
class Made:
    """A bundle on the host and its signature."""

    bundle: Bundle
    signature: str

    @property
    def tar(self) -> bytes:
        return packing.to_tar(self.bundle, self.signature, self.bundle.blob_names())


@dataclass(frozen=True)
class Parts:
    key: SigningKey
    stranger: SigningKey
    old: Made
    new: Made

    def envelope(self, store: Store, bundle: Bundle, sequence: int, variant: str = "fp32") -> bytes:
        """What `commit` reads from stdin."""
        chosen = make_selection(store.device_id, bundle.digest, variant, sequence)
        return json.dumps({"selection": chosen, "signature": self.key.sign(selection_bytes(chosen))}).encode()


def make(folder: Path) -> Parts:
    key, stranger = new_key(folder / "key", "owner"), new_key(folder / "stranger", "stranger")
    old = made(folder / "old", key)
    new = made(folder / "new", key, widths={"fp32": 48, "pruned": 8})
    return Parts(key, stranger, old, new)


def made(folder: Path, key: SigningKey, **options: Any) -> Made:
    bundle = small_bundle.make(folder, **options)
    packing.sign(folder, key)
    return Made(bundle, (folder / "manifest.json.sig").read_text())


def new_key(path: Path, name: str) -> SigningKey:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return SigningKey(path, path.with_suffix(".pub").read_text())


def install_proven(store: Store, made: Made) -> None:
    """Install and prove, without a process of its own for the proof."""
    bundle = store.install(io.BytesIO(made.tar))
    store.keep_proof(prove(bundle, made.signature, store.allowed_signers))


def serving_home(parts: Parts, home: Path) -> Store:
    """A home where the old bundle serves."""
    store = Store(home)
    store.trust(parts.key.allowed_signers_line())
    install_proven(store, parts.old)
    commit(parts, store, parts.old.bundle, 1)
    return store


def commit(parts: Parts, store: Store, bundle: Bundle, sequence: int, variant: str = "fp32") -> None:
    envelope = json.loads(parts.envelope(store, bundle, sequence, variant))
    store.commit(envelope["selection"], envelope["signature"])


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def runner(home: Path, *argv: str, stdin: bytes = b"") -> Done:
    """A verb of the runner in this process, as its command line runs it."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with _stdin(stdin), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(["--home", str(home), "--json", *argv])
    out.flush()
    text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    return Done(code, text, err.getvalue())


@contextlib.contextmanager
def _stdin(data: bytes) -> Iterator[None]:
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(data))
    try:
        yield
    finally:
        sys.stdin = before


def tree(home: Path) -> dict[str, bytes]:
    """Every file below a home with its content; what reading alone may make is left out."""
    found = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith("spool.sqlite")}
