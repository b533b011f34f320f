"""The files of a data set: what they are called, where their bytes lie, and their hashes."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from greenup_runtime.errors import DataFault

# Beyond this a manifest names a folder's files by one hash over all of them.
MAX_LISTED = 16


@dataclass(frozen=True)
class DataFile:
    """A file on disk, or a member of a zip; `name` is what reports call it, relative to the data's own folder."""

    name: str
    path: Path
    member: str | None = None

    def read(self) -> bytes:
        """The file's bytes. Raises DataFault where it cannot be read, or its zip is damaged."""
        try:
            if self.member is None:
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.member)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise damaged_zip(self.path, error) from error
        except OSError as error:
            raise DataFault(f"{self.path} cannot be read: {error.strerror or error}") from error

    def sha256(self) -> str:
        """Hex sha256 of the bytes; a member of a zip is hashed as if it lay unpacked."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True)
class Located:
    """The files of a data set and their kind; `test` is empty where the data brings no test part of its own.

    `archive` tells the archive's default split from a test part of one's own; `folder` names the data in reports.
    """

    kind: Literal["ts", "csv", "npz"]
    train: tuple[DataFile, ...]
    test: tuple[DataFile, ...]
    archive: bool
    folder: str

    def hashes(self) -> tuple[tuple[str, str], ...]:
        """Name and sha256 of every file."""
        return tuple((file.name, file.sha256()) for file in (*self.train, *self.test))

    def listing(self) -> tuple[dict[str, str], ...]:
        """Name and sha256 of each file; of more than 16 files one entry, hashed over all names and hashes."""
        hashes = self.hashes()
        if len(hashes) <= MAX_LISTED:
            return tuple({"name": name, "sha256": digest} for name, digest in hashes)
        whole = "".join(f"{digest}  {name}\n" for name, digest in hashes)
        name = f"{self.folder}/ ({len(hashes)} files)"
        return ({"name": name, "sha256": hashlib.sha256(whole.encode()).hexdigest()},)


def damaged_zip(path: Path, error: BaseException) -> DataFault:
    """The fault for a zip that cannot be unpacked."""
    return DataFault(
        f"{path} is damaged or was cut short: {error or type(error).__name__}", "copy or download it again"
    )
