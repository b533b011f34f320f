"""Write cpio archives of the kind that Linux unpacks as its first root file system (format `newc`).

Several archives behind one another are unpacked in turn, so a large one can be kept and a small one made anew.
Everything belongs to root. Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO


def write_tree(folder: Path, out: BinaryIO) -> None:
    """Write all that lies below a folder: folders, files with their mode, links."""
    for number, path in enumerate(sorted(folder.rglob("*")), start=1):
        name = str(path.relative_to(folder))
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content = str(path.readlink()).encode()
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        elif stat.S_ISDIR(mode):
            content = b""
        else:
            continue
        _entry(out, number, name, mode, content)
    _entry(out, 0, "TRAILER!!!", 0, b"")


def _entry(out: BinaryIO, number: int, name: str, mode: int, content: bytes) -> None:
    encoded = name.encode() + b"\0"
    links, stamp = (2 if stat.S_ISDIR(mode) else 1), 0
    fields = (number, mode, 0, 0, links, stamp, len(content), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields)
    out.write(_padded(head + encoded))
    out.write(_padded(content))


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
