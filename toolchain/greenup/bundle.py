"""Pack variants into a bundle: a manifest and blobs named by their sha256, the same bytes from the same inputs.

Nothing that depends on when or where it was packed goes in: no date, no path, no host. The signature lies
beside the manifest, since it depends on the key.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup.signing import SigningKey
from greenup_runtime import bundle as runtime_bundle
from greenup_runtime.bundle import BLOBS, MANIFEST_NAME, SIGNATURE_NAME, Bundle, sha256
from greenup_runtime.files import write_atomic
from greenup_runtime.manifest import SCHEMA, VERSION


@dataclass(frozen=True)
class PackedVariant:
    """One variant on its way into a bundle: its file, and what the manifest says of it."""

    name: str
    model: bytes
    facts: dict[str, Any]


def pack(folder: Path, head: Mapping[str, Any], variants: Sequence[PackedVariant], golden: bytes) -> str:
    """Write blobs and manifest into a folder and return the bundle's digest.

    `head` holds the manifest's entries other than schema, variants and golden samples.
    """
    entries = [{"name": item.name, "blob": _blob(folder, item.model), **item.facts} for item in variants]
    manifest = {
        "schema": SCHEMA,
        "version": VERSION,
        **head,
        "variants": entries,
        "golden": {"blob": _blob(folder, golden)},
    }
    text = (json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
    write_atomic(folder / MANIFEST_NAME, text)
    return runtime_bundle.open_folder(folder).digest


def golden_bytes(windows: npt.NDArray[np.float32], expected: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Golden samples as the bytes of an .npz: windows [cases, channels, length], probabilities per variant."""
    buffer = io.BytesIO()
    named = {f"expected.{name}": expected[name].astype(np.float32) for name in sorted(expected)}
    np.savez(buffer, windows=windows.astype(np.float32), **named)  # type: ignore[arg-type]
    return buffer.getvalue()


def sign(folder: Path, key: SigningKey | None) -> None:
    """Put the signature of the manifest beside it; with no key an older signature is removed."""
    if key is None:
        (folder / SIGNATURE_NAME).unlink(missing_ok=True)
        return
    signature = key.sign((folder / MANIFEST_NAME).read_bytes())
    write_atomic(folder / SIGNATURE_NAME, signature.encode())


def signature_of(folder: Path) -> str | None:
    """The signature that lies beside a manifest, or None."""
    path = folder / SIGNATURE_NAME
    return path.read_text() if path.exists() else None


def to_tar(bundle: Bundle, signature: str | None, blobs: Sequence[str]) -> bytes:
    """The stream that a runner installs from: what it is and who signed it first, then these blobs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        if signature:
            _add(archive, SIGNATURE_NAME, signature.encode())
        _add(archive, MANIFEST_NAME, bundle.manifest_bytes)
        for name in blobs:
            _add(archive, str(BLOBS / name), bundle.path(name).read_bytes())
    return buffer.getvalue()


def _blob(folder: Path, data: bytes) -> str:
    name = sha256(data)
    write_atomic(folder / BLOBS / name, data)
    return name


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
