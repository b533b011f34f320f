"""`greenup-runner service`: print, install or remove what makes the runner a service of systemd."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from greenup_runtime.commands import Answer
from greenup_runtime.errors import UsageFault

_AFTER_INSTALL = (
    "systemd-sysusers",
    "systemd-tmpfiles --create",
    "udevadm control --reload && udevadm trigger",
    "systemctl daemon-reload",
    "systemctl enable --now greenup-runner",
)
_AFTER_REMOVE = (
    "systemctl disable --now greenup-runner greenup-runner-stream    # before the files go, if they still ran",
    "systemctl daemon-reload",
    "rm -r /var/lib/greenup-runner    # bundles, and records that no host has taken",
    "userdel greenup-runner",
)


def add(verbs: Any, verb: Any) -> None:
    """Add `service print`, `service install` and `service remove` to the command line."""
    service = verbs.add_parser("service", help="make this runner a service of systemd", description="The service.")
    actions = service.add_subparsers(required=True, metavar="ACTION")
    verb(actions, "print", show, "print every file that install would write")
    verb(actions, "install", install, "write units, account, folders, rights and default settings")
    verb(actions, "remove", remove, "take away what install wrote; data stays")
    for action in actions.choices.values():
        action.set_defaults(homeless=True)
        action.add_argument("--runner", type=PurePosixPath, help="path of greenup-runner; default: this one")
        action.add_argument(
            "--root", dest="into", type=Path, default=Path("/"), help="write below this folder, as for an image"
        )


def show(arguments: argparse.Namespace, _store: object) -> Answer:
    """Every file with its path, as text to read, or as JSON by path."""
    from greenup_runtime.service import files

    found = files.service_files(_runner(arguments))
    if arguments.json or arguments.framed:
        return {"files": {str(path): text for path, text in found.items()}}
    return "\n".join(f"### {path}\n{text}" for path, text in found.items())


def install(arguments: argparse.Namespace, _store: object) -> Answer:
    """Write the files, and say what makes them count."""
    from greenup_runtime.service import files

    written = files.install(arguments.into, _runner(arguments))
    return {"wrote": [str(path) for path in written], "run": list(_AFTER_INSTALL)}


def remove(arguments: argparse.Namespace, _store: object) -> Answer:
    """Take the files away, and say what else there is."""
    from greenup_runtime.service import files

    gone, kept = files.remove(arguments.into, _runner(arguments, needed=False))
    return {"removed": [str(path) for path in gone], "kept": [str(path) for path in kept], "run": [*_AFTER_REMOVE]}


def _runner(arguments: argparse.Namespace, *, needed: bool = True) -> PurePosixPath:
    """The runner's path for the unit, links in it not resolved: an upgrade switches the link."""
    if arguments.runner is not None:
        return PurePosixPath(arguments.runner)
    own = Path(sys.argv[0])
    found = str(own) if own.name == "greenup-runner" and own.exists() else shutil.which("greenup-runner")
    if not needed:
        return PurePosixPath("/opt/greenup-runner/bin/greenup-runner")
    if found is None:
        raise UsageFault("where greenup-runner lies is not known", "name it with --runner")
    return PurePosixPath(os.path.abspath(found))  # noqa: PTH100
