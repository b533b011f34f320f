"""Write the small files of a sysfs tree."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, **files: object) -> Path:
    """One file per keyword, with a newline at its end as the kernel writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def link(path: Path, target: Path) -> Path:
    """A relative link, as the class folders of sysfs have: it never leads out of the tree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    up = Path(*[".."] * (len(path.parent.parts) - len(_common(path.parent, target).parts)))
    path.symlink_to(up / target.relative_to(_common(path.parent, target)))
    return path


def _common(one: Path, other: Path) -> Path:
    return next(parent for parent in [one, *one.parents] if other.is_relative_to(parent))
