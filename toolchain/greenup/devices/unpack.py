"""Take the files of a device's answer apart: plain files into one folder, nothing else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from greenup_runtime.errors import IntegrityFault
from greenup_runtime.files import write_atomic


def unpack_files(archive: bytes, folder: Path) -> None:
    """Write the plain files of a tar. Raises IntegrityFault for anything that would lie outside the folder."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            for member in opened:
                if not member.isreg() or "/" in member.name or member.name in {"", ".", ".."}:
                    raise IntegrityFault(f"the device sent {member.name!r}, which is not a plain file")
                content = opened.extractfile(member)
                write_atomic(folder / member.name, content.read() if content else b"")
    except tarfile.TarError as error:
        raise IntegrityFault(f"the device's files arrived damaged: {error}", "measure again") from error
