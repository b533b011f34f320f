"""Every failure that a user can meet, in one tree.

GreenupError             exit 1   something failed
├── UsageFault           exit 2   the command line or the recipe is wrong
│   └── RecipeFault               a recipe with one or more faults, all listed
├── DataFault            exit 1   the data set cannot be used as it is
├── DeviceFault          exit 3   the device is unknown, unreachable or unable
│   ├── MeterFault                a meter cannot be read
│   └── SpoolFault                records cannot be kept
└── IntegrityFault       exit 4   a bundle, signature or selection is not what it should be

A fault carries its cause in the message and, where one is known, the way out in `hint`. The edges
(both command lines) print `error: …` and `hint: …` and leave with `exit_code`; nobody else does.
"""

from __future__ import annotations

INTERRUPTED_EXIT_CODE = 130


class GreenupError(Exception):
    """Base of all faults: a message with the cause, a hint with the way out, an exit code."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageFault(GreenupError):
    """The command line or a file of settings asks for something that does not exist."""

    exit_code = 2


class RecipeFault(UsageFault):
    """A recipe is wrong; `faults` lists every fault found, each with the key's path."""

    def __init__(self, message: str, faults: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__("\n  ".join((message, *faults)), hint)
        self.faults = faults


class DataFault(GreenupError):
    """A data set is missing, empty, too short, or has a class that cannot be split."""


class DeviceFault(GreenupError):
    """The device is unknown, does not answer, or cannot do what was asked."""

    exit_code = 3


class MeterFault(DeviceFault):
    """A source of energy or power cannot be read; the message says why."""


class SpoolFault(DeviceFault):
    """Records cannot be kept on the device: its disk is full, cannot be written, or is busy for too long."""


class IntegrityFault(GreenupError):
    """Bytes, a signature, a schema version or a golden sample are not what they should be."""

    exit_code = 4
