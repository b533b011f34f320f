"""`greenup-runner config`: effective settings with their origin, a check of a file, a file with every default."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenup_runtime import configuration, kinds
from greenup_runtime.commands import Answer
from greenup_runtime.service.defaults import default_toml


def add(verbs: Any, verb: Any) -> None:
    """Add `config show`, `config check` and `config default` to the command line."""
    config = verbs.add_parser("config", help="show or check the settings", description="Settings.")
    actions = config.add_subparsers(required=True, metavar="ACTION")
    showing = verb(actions, "show", show, "print the effective settings as TOML")
    showing.add_argument("--origin", action="store_true", help="say beside each key where its value came from")
    showing.add_argument("--config", type=Path, help="read this file instead of the usual one")
    checking = verb(actions, "check", check, "find every fault of a settings' file")
    checking.add_argument("file", type=Path, help="the file, as runner.toml")
    verb(actions, "default", default, "print a settings' file with every key, commented out")
    for action in actions.choices.values():
        action.set_defaults(homeless=True)


def show(arguments: argparse.Namespace, _store: object) -> Answer:
    """The effective settings; of secrets only the names of their files are settings at all."""
    found = configuration.load(arguments.config)
    if arguments.json or arguments.framed:
        values = {path: _plain(value) for path, value in found.values().items()}
        file = str(found.file) if found.file else None
        return {"file": file, "values": values, "origin": dict(found.origin)}
    notes = {path: f"# {origin}" for path, origin in found.origin.items()} if arguments.origin else {}
    return _toml([Line(path, kinds.as_toml(value), notes.get(path, "")) for path, value in found.values().items()])


def check(arguments: argparse.Namespace, _store: object) -> Answer:
    """Whether a file of settings can be used; the environment is left out of it."""
    found = configuration.load(arguments.file, environment={})
    given = [path for path, origin in found.origin.items() if origin != configuration.DEFAULT]
    return {"file": str(arguments.file), "ok": True, "keys": given}


def default(_arguments: argparse.Namespace, _store: object) -> Answer:
    """A settings' file with every key, its meaning and its default, all commented out."""
    return default_toml()


@dataclass(frozen=True)
class Line:
    """One key of a file of settings: its path, its value as TOML, and a note."""

    path: str
    value: str
    note: str


def _toml(keys: list[Line]) -> str:
    lines: list[str] = []
    table = ""
    for key in keys:
        name, _, leaf = key.path.rpartition(".")
        if name != table:
            table = name
            lines += ["", f"[{name}]"]
        assignment = f"{leaf} = {key.value}"
        lines.append(f"{assignment:<44} {key.note}".rstrip())
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
