"""Take a pushed tar apart without trusting it.

Only the names that a bundle has are accepted, only plain files, each within a size limit; a blob reaches the
store only when its bytes hash to its name.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import BinaryIO

from greenup_runtime.bundle import MANIFEST_NAME, SIGNATURE_NAME, sha256
from greenup_runtime.errors import IntegrityFault
from greenup_runtime.files import write_atomic

MAX_MEMBER_BYTES = 1 << 30
MAX_MEMBERS = 256
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_PUSH_AGAIN = "push the bundle again"


def unpack(stream: BinaryIO, blobs: Path) -> dict[str, bytes]:
    """Store the blobs of a tar stream, and return the manifest's and the signature's bytes by name.

    Raises IntegrityFault for a name, type, size or hash that a bundle cannot have, or a stream cut short.
    """
    heads: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for count, member in enumerate(archive):
                _check(member, count)
                opened = archive.extractfile(member)
                data = opened.read() if opened else b""
                if member.name in {MANIFEST_NAME, SIGNATURE_NAME}:
                    heads[member.name] = data
                else:
                    _store_blob(member.name, data, blobs)
    except tarfile.TarError as error:
        raise IntegrityFault(f"the pushed archive is damaged or was cut short: {error}", _PUSH_AGAIN) from error
    if MANIFEST_NAME not in heads:
        raise IntegrityFault(f"the pushed archive has no {MANIFEST_NAME}", _PUSH_AGAIN)
    return heads


def _check(member: tarfile.TarInfo, count: int) -> None:
    known = member.name in {MANIFEST_NAME, SIGNATURE_NAME} or _BLOB.fullmatch(member.name)
    if not known or not member.isreg():
        raise IntegrityFault(f"the pushed archive holds {member.name!r}, which no bundle has", _PUSH_AGAIN)
    if member.size > MAX_MEMBER_BYTES or count >= MAX_MEMBERS:
        raise IntegrityFault("the pushed archive is larger than any bundle may be", _PUSH_AGAIN)


def _store_blob(name: str, data: bytes, blobs: Path) -> None:
    wanted = name.rpartition("/")[2]
    if sha256(data) != wanted:
        raise IntegrityFault(f"blob {wanted[:12]}… was altered on the way", _PUSH_AGAIN)
    write_atomic(blobs / wanted, data)
