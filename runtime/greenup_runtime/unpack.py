"""Take a pushed tar apart without trusting it.

The bundle's manifest (and its signature) come first, then blobs that the manifest names. Only plain files of
those names pass, each within a size; extended headers, links, devices and sparse files are refused by their type
before a byte of theirs is read. Blobs are hashed on their way to the disk, and get their name only when it is
theirs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from greenup_runtime.bundle import BLOBS, MANIFEST_NAME, SIGNATURE_NAME
from greenup_runtime.errors import DeviceFault, IntegrityFault
from greenup_runtime.files import sync_folder
from greenup_runtime.manifest import MAX_MANIFEST_BYTES

MAX_BLOB_BYTES = 1 << 30
MAX_SIGNATURE_BYTES = 64 << 10
# What else a device needs to write while a bundle arrives: state, spool, log.
RESERVE_BYTES = 1 << 20
PUSH_AGAIN = "push the bundle again"
_CHUNK_BYTES = 1 << 18
_HEADS = {MANIFEST_NAME: MAX_MANIFEST_BYTES, SIGNATURE_NAME: MAX_SIGNATURE_BYTES}


class CutShort(IntegrityFault):
    """The stream ended before the archive did; what arrived whole is kept for the next push."""


@dataclass(frozen=True)
class Member:
    """One file of an archive; `chunks` must be read to its end before the next member is asked for."""

    name: str
    size_bytes: int
    chunks: Iterator[bytes]


def members(stream: BinaryIO) -> Iterator[Member]:
    """The files of a tar stream, in order. Raises IntegrityFault for what is no plain file, CutShort for a cut."""
    while True:
        block = _exactly(stream, tarfile.BLOCKSIZE)
        try:
            head = tarfile.TarInfo.frombuf(block, "ascii", "surrogateescape")
        except tarfile.HeaderError as error:
            if not any(block):
                return
            raise IntegrityFault(f"the pushed archive is damaged: {error}", PUSH_AGAIN) from error
        if head.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or head.size < 0:
            raise _stray(head.name)
        yield Member(head.name, head.size, _chunks(stream, head.size))


def read_heads(archive: Iterator[Member]) -> tuple[dict[str, bytes], Iterator[Member]]:
    """The manifest's and the signature's bytes by name, and the members that follow."""
    heads: dict[str, bytes] = {}
    for member in archive:
        if member.name not in _HEADS:
            if MANIFEST_NAME not in heads:
                raise _stray(member.name)
            return heads, _with_first(member, archive)
        if member.name in heads or member.size_bytes > _HEADS[member.name]:
            raise IntegrityFault(f"the pushed archive holds {member.name} twice, or too large", PUSH_AGAIN)
        heads[member.name] = b"".join(member.chunks)
    if MANIFEST_NAME not in heads:
        raise IntegrityFault(f"the pushed archive has no {MANIFEST_NAME}", PUSH_AGAIN)
    return heads, iter(())


def store_blobs(archive: Iterator[Member], wanted: Collection[str], blobs: Path, stored: list[str]) -> None:
    """Put the blobs of an archive into a folder, durably; each new one's name is appended to `stored`.

    Raises IntegrityFault for a blob that is not wanted, comes twice or was altered, DeviceFault for a full disk.
    """
    seen: set[str] = set()
    for member in archive:
        folder, _, name = member.name.rpartition("/")
        if folder != str(BLOBS) or name not in wanted:
            raise _stray(member.name)
        if name in seen:
            raise IntegrityFault(f"the pushed archive holds blob {name[:12]}… twice", PUSH_AGAIN)
        seen.add(name)
        _check_size(member, blobs)
        if _store_blob(member, name, blobs):
            stored.append(name)
    sync_folder(blobs)


def _store_blob(member: Member, name: str, blobs: Path) -> bool:
    existed = (blobs / name).exists()
    digest = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(dir=blobs, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in member.chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != name:
            raise IntegrityFault(f"blob {name[:12]}… was altered on the way", PUSH_AGAIN)
        Path(temporary).replace(blobs / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return not existed


def _check_size(member: Member, blobs: Path) -> None:
    if member.size_bytes > MAX_BLOB_BYTES:
        raise IntegrityFault("the pushed archive is larger than any bundle may be", PUSH_AGAIN)
    free_bytes = shutil.disk_usage(blobs).free
    if member.size_bytes + RESERVE_BYTES > free_bytes:
        raise DeviceFault(
            f"the disk is full: {member.size_bytes / 1e6:.1f} MB come, {free_bytes / 1e6:.1f} MB are free",
            "make room: `greenup-runner gc` removes old bundles",
        )


def _stray(name: str) -> IntegrityFault:
    return IntegrityFault(f"the pushed archive holds {ascii(name)[:80]}, which no bundle has there", PUSH_AGAIN)


def _with_first(first: Member, rest: Iterator[Member]) -> Iterator[Member]:
    yield first
    yield from rest


def _chunks(stream: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        chunk = _exactly(stream, min(left, _CHUNK_BYTES))
        left -= len(chunk)
        yield chunk
    _exactly(stream, -size_bytes % tarfile.BLOCKSIZE)


def _exactly(stream: BinaryIO, size_bytes: int) -> bytes:
    data = stream.read(size_bytes)
    while len(data) < size_bytes:
        more = stream.read(size_bytes - len(data))
        if not more:
            raise CutShort("the pushed archive is damaged or was cut short", f"{PUSH_AGAIN}: what arrived is kept")
        data += more
    return data
