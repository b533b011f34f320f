"""Read the small files that sensors show in sysfs: a number within its bounds, or a MeterFault with the reason."""

from __future__ import annotations

import re
from pathlib import Path

from greenup_runtime.errors import MeterFault

# No board that greenup knows takes a kilowatt; what says so is not a sensor that works.
MOST_W = 1000.0
MOST_MV = 100_000
MOST_MA = 100_000
NO_RIGHT = "no right to read"
_LONGEST_BYTES = 4096
# Stricter than int() and float(): these would take "1_000", "nan" and digits of other scripts.
_INTEGER = re.compile(r"[-+]?[0-9]{1,20}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{1,20})?")


def read_text(path: Path, hint: str | None = None) -> str:
    """The file's content without blanks at its ends. Raises MeterFault; `hint` is for a missing permission."""
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_BYTES).decode("utf-8", errors="replace").strip(" \t\r\n\0")
    except PermissionError as error:
        raise MeterFault(f"{NO_RIGHT} {path}", hint) from error
    except OSError as error:
        raise MeterFault(f"{path} cannot be read: {error.strerror or error}") from error
    if not text:
        raise MeterFault(f"{path} cannot be read: it is empty")
    return text


def read_int(path: Path, *, least: int = 0, most: int, hint: str | None = None) -> int:
    """An integer between two bounds. Raises MeterFault for anything else."""
    text = read_text(path, hint)
    if not _INTEGER.fullmatch(text):
        raise MeterFault(f"{path} cannot be read: {text[:40]!r} is not an integer")
    return int(_bounded(path, int(text), least, most))


def read_number(path: Path, *, least: float = 0.0, most: float) -> float:
    """A decimal number between two bounds. Raises MeterFault for anything else."""
    text = read_text(path)
    if not _NUMBER.fullmatch(text):
        raise MeterFault(f"{path} cannot be read: {text[:40]!r} is not a number")
    return _bounded(path, float(text), least, most)


def name_in(folder: Path) -> str | None:
    """What the file `name` in a sensor's folder says, or None where there is none to read."""
    try:
        return read_text(folder / "name")
    except MeterFault:
        return None


def i2c_device(folder: Path) -> str:
    """The I2C device (`1-0040`) that a sensor's folder belongs to; the folder's own name where none is shown.

    Class folders link into the device tree, where one of the parents is the device on its bus. Only the name is
    taken from there; nothing is read at the resolved place.
    """
    for part in reversed([*folder.resolve().parts, (folder / "device").resolve().name]):
        if re.fullmatch(r"[0-9]+-[0-9a-f]{4}", part):
            return part
    return folder.name


def _bounded(path: Path, value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise MeterFault(f"{path} cannot be right: {value:g} is outside {least:g} … {most:g}")
    return value
