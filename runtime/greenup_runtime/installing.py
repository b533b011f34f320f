"""Take a pushed bundle in, whole or not at all; what arrived of a push that was cut waits for the next one.

    incoming/<digest>/   manifest and signature of a bundle whose blobs have not all arrived
    blobs/sha256/<hex>   each blob once, whatever bundles share it
    bundles/<digest>/    the same folder, renamed when the last blob is there

What a bundle cannot be is refused before a byte of its blobs is stored; what turns out not to be one later leaves
nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from greenup_runtime import unpack
from greenup_runtime.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle, parse
from greenup_runtime.errors import IntegrityFault
from greenup_runtime.files import sync_folder, temporaries, write_atomic
from greenup_runtime.signing import verify

if TYPE_CHECKING:
    from greenup_runtime.store import Store

# Files of the home that are written under the store's lock; others there have their own writers.
_OWN_FILES = ("allowed_signers", "device.json", "layout.json", "revoked_keys", "state.json")


def install(store: Store, stream: BinaryIO) -> Bundle:
    """Store a pushed bundle; the caller holds the lock. Raises IntegrityFault, or DeviceFault where room lacks."""
    sweep(store)
    heads, archive = unpack.read_heads(unpack.members(stream))
    bundle = parse(heads[MANIFEST_NAME], store.blobs)
    signature = heads.get(SIGNATURE_NAME, b"")
    if signature and store.allowed_signers.exists():
        verify(bundle.manifest_bytes, signature.decode(errors="replace"), store.allowed_signers)
    folder = store.home / "incoming" / bundle.digest
    waited = folder.exists()
    write_atomic(folder / SIGNATURE_NAME, signature)
    write_atomic(folder / MANIFEST_NAME, bundle.manifest_bytes)
    _receive(store, bundle, archive, keep=waited)
    finish(store, bundle)
    return bundle


def _receive(store: Store, bundle: Bundle, archive: Iterator[unpack.Member], *, keep: bool) -> None:
    stored: list[str] = []
    try:
        unpack.store_blobs(archive, bundle.blob_names(), store.blobs, stored)
        if gone := store.missing(list(bundle.blob_names())):
            raise unpack.CutShort(f"{len(gone)} blobs of the bundle were not pushed", unpack.PUSH_AGAIN)
    except unpack.CutShort:
        raise
    except IntegrityFault:
        for name in stored:
            (store.blobs / name).unlink()
        if not keep:
            drop_folder(store.home / "incoming" / bundle.digest)
        raise


def finish(store: Store, bundle: Bundle) -> None:
    """All blobs of an incoming bundle are there: it is installed by one rename."""
    source, target = (store.home / name / bundle.digest for name in ("incoming", "bundles"))
    if not target.exists():
        source.rename(target)
        sync_folder(target.parent)
        sync_folder(source.parent)
        return
    signature = (source / SIGNATURE_NAME).read_bytes()
    if signature and signature != (target / SIGNATURE_NAME).read_bytes():
        write_atomic(target / SIGNATURE_NAME, signature)
    drop_folder(source)


def resume(store: Store) -> dict[str, Any]:
    """Clean up after what was killed, finish what only lacked its last step, and say what is still missing."""
    with store.lock():
        cleaned = sweep(store)
        finished, waiting = [], []
        for bundle in incoming(store):
            names = list(bundle.blob_names())
            if missing := store.missing(names):
                row = {"bundle": bundle.digest, "name": bundle.name, "there": len(names) - len(missing)}
                waiting.append({**row, "missing": missing})
            else:
                finish(store, bundle)
                finished.append(bundle.digest)
    return {"installed": finished, "waiting": waiting, "cleaned": cleaned}


def incoming(store: Store) -> list[Bundle]:
    """Bundles of which not every blob has arrived."""
    return [bundle for folder in _folders(store, "incoming") if (bundle := _read(folder, store.blobs))]


def names_of(store: Store, where: str, digest: str) -> tuple[str, ...]:
    """The blobs of a bundle in `bundles` or `incoming`. Raises IntegrityFault for a damaged manifest."""
    return parse((store.home / where / digest / MANIFEST_NAME).read_bytes(), store.blobs).blob_names()


def sweep(store: Store) -> list[str]:
    """Remove what killed commands left, and return the paths below the home. The caller holds the lock."""
    left = [path for name in _OWN_FILES for path in store.home.glob(f".{name}.*")]
    left += temporaries(store.blobs)
    for folder in (*_folders(store, "bundles"), *_folders(store, "incoming")):
        # A manifest that a newer runner understands is no left-over: only what is not there counts.
        whole = (folder / MANIFEST_NAME).exists() and (folder / SIGNATURE_NAME).exists()
        left += temporaries(folder) if whole else [folder]
    for path in left:
        drop_folder(path) if path.is_dir() else path.unlink()
    return sorted(str(path.relative_to(store.home)) for path in left)


def drop_folder(folder: Path) -> None:
    """Remove a bundle's folder; without its manifest, which goes first, it is none."""
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    sync_folder(folder)
    shutil.rmtree(folder)
    sync_folder(folder.parent)


def _folders(store: Store, name: str) -> list[Path]:
    return sorted(path for path in (store.home / name).iterdir() if path.is_dir())


def _read(folder: Path, blobs: Path) -> Bundle | None:
    try:
        bundle = parse((folder / MANIFEST_NAME).read_bytes(), blobs)
    except (OSError, IntegrityFault):
        return None
    return bundle if bundle.digest == folder.name else None
