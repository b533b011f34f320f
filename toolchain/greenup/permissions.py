"""Let a group read the energy counters that the kernel keeps for root: the rule, and how it is put in place."""

from __future__ import annotations

import os
from pathlib import Path

from greenup.cache import writing
from greenup_runtime.meters.rapl import READERS, UDEV_RULE, UDEV_RULE_FILE

RULE = f"# Written by `greenup doctor --fix`: members of {READERS} may read RAPL's energy counters.\n{UDEV_RULE}\n"
_AFTER = (
    f"groupadd --force --system {READERS}",
    f"usermod --append --groups {READERS} $USER    # then log in again",
    "udevadm control --reload",
    "udevadm trigger --subsystem-match=powercap --action=change",
)


def commands() -> list[str]:
    """What a user without root's rights runs to put the rule in place."""
    write = f"printf '%s\\n' '{UDEV_RULE}' | sudo tee {UDEV_RULE_FILE}"
    return [write, *(f"sudo {command}" for command in _AFTER)]


def repair(*, as_root: bool | None = None, rule_file: Path = Path(UDEV_RULE_FILE)) -> list[str]:
    """Write the rule where this user may, and return lines that say what was done and what is left to do."""
    if not (os.geteuid() == 0 if as_root is None else as_root):
        return [f"only root may write {rule_file}; run:", *commands()]
    with writing(f"the rule {rule_file}"):
        rule_file.parent.mkdir(parents=True, exist_ok=True)
        rule_file.write_text(RULE)
    return [f"wrote {rule_file}; to make it count now, run:", *_AFTER]
