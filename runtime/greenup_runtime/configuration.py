"""Settings out of flags, environment, file and defaults, in this order of right; every fault of them at once.

    --port 9000                           a flag of the verb
    GREENUP_RUNNER_SERVER_PORT=9000       the environment: GREENUP_RUNNER_<TABLE>_<KEY>
    [server]                              runner.toml: --config, $GREENUP_RUNNER_CONFIG, the user's, /etc's
    port = 9000
    8080                                  the default in settings.py

Nothing here knows a single key: tables, types and defaults are those of the dataclasses in settings.py.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from greenup_runtime import kinds
from greenup_runtime.errors import UsageFault
from greenup_runtime.settings import RunnerSettings

PREFIX = "GREENUP_RUNNER_"
FILE_VARIABLE = PREFIX + "CONFIG"
SYSTEM_FILE = Path("/etc/greenup-runner/runner.toml")
# Variables of the same prefix that are no settings: where data and devices lie, which file to read.
_OTHER_VARIABLES = (FILE_VARIABLE, PREFIX + "HOME", PREFIX + "ROOT")
DEFAULT = "default"


@dataclass(frozen=True)
class Key:
    """One setting: its path (`server.port`), type, default, and its variable in the environment."""

    path: str
    hint: Any
    default: Any

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.path.replace(".", "_").upper()


@dataclass(frozen=True)
class Configuration:
    """The effective settings, and for each key's path where its value came from."""

    settings: RunnerSettings
    origin: Mapping[str, str]
    file: Path | None

    def values(self) -> dict[str, Any]:
        """Every effective value by its key's path."""
        return {path: _at(self.settings, path) for path in all_keys()}


@lru_cache
def all_keys() -> dict[str, Key]:
    """Every setting by its path, in the order of settings.py; those outside any table first."""
    found = [*_keys_of(RunnerSettings, "")]
    return {key.path: key for key in sorted(found, key=lambda key: "." in key.path)}


def default_file(environment: Mapping[str, str]) -> Path | None:
    """The file that is read unless another is named: the variable's, the user's, the system's, or none."""
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "/") / ".config"
    candidates = (Path(base) / "greenup-runner" / "runner.toml", SYSTEM_FILE)
    return next((path for path in candidates if path.is_file()), None)


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Configuration:
    """The settings by precedence: flags (by key's path; None is not given), environment, file, default.

    Raises UsageFault that lists every fault of file, environment and flags, each with its place.
    """
    environment = os.environ if environment is None else environment
    file = file or default_file(environment)
    reader = _Reader()
    if file is not None:
        reader.take_file(file)
    reader.take_environment(environment)
    reader.take_flags(flags or {})
    reader.raise_faults()
    return Configuration(_built(RunnerSettings, "", reader.values), {**_defaults(), **reader.origin}, file)


class _Reader:
    """Collects values and faults; what is taken later replaces what was taken before."""

    def __init__(self) -> None:
        self.known = all_keys()
        self.values: dict[str, Any] = {}
        self.origin: dict[str, str] = {}
        self.faults: list[str] = []

    def take_file(self, file: Path) -> None:
        raw = _parsed(file)
        tables = {path.partition(".")[0] for path in self.known if "." in path}
        for name, value in raw.items():
            if name in tables and isinstance(value, dict):
                for key, inner in value.items():
                    self._take(f"{name}.{key}", inner, str(file), file.parent)
            elif isinstance(value, dict):
                near = get_close_matches(name, tables, n=1)
                meant = f"; did you mean [{near[0]}]?" if near else ""
                self.faults.append(f"{file}: [{name}] is no table{meant}")
            elif name in tables:
                self.faults.append(f"{file}: {name} is a table, write [{name}]")
            else:
                self._take(name, value, str(file), file.parent)

    def take_environment(self, environment: Mapping[str, str]) -> None:
        by_variable = {key.variable: key for key in self.known.values()}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX) or variable in _OTHER_VARIABLES:
                continue
            if variable in by_variable:
                self._take(by_variable[variable].path, kinds.Text(text), variable)
            else:
                self.faults.append(f"{variable} names no setting{_meant(variable, [*by_variable])}")

    def take_flags(self, flags: Mapping[str, Any]) -> None:
        for path, value in flags.items():
            if value is not None:
                text = kinds.Text(value) if isinstance(value, str) else value
                self._take(path, text, "--" + path.partition(".")[2].replace("_", "-"))

    def raise_faults(self) -> None:
        if self.faults:
            count = "a fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
            raise UsageFault(
                "\n  ".join([f"the settings have {count}:", *self.faults]),
                "`greenup-runner config show --origin` prints every key, its value and where it came from",
            )

    def _take(self, path: str, value: Any, origin: str, base: Path | None = None) -> None:
        key = self.known.get(path)
        where = origin if isinstance(value, kinds.Text) or origin.startswith("--") else f"{origin}: {path}"
        if key is None:
            self.faults.append(f"{where} is no setting{_meant(path, [*self.known])}")
            return
        try:
            self.values[path] = kinds.converted(value, key.hint, path, base)
            self.origin[path] = origin
        except ValueError as error:
            self.faults.append(f"{where}: {error}")


def _parsed(file: Path) -> dict[str, Any]:
    # Python 3.10 has no tomllib; tomli is the same code.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        parsed: dict[str, Any] = toml.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageFault(f"the settings' file {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageFault(f"{file} is no TOML: {error}", "text stands in quotes; see docs/runner.md") from error
    return parsed


def _meant(wrong: str, right: list[str]) -> str:
    leaves = {path.rpartition(".")[2]: path for path in right}
    close = get_close_matches(wrong, right, n=1, cutoff=0.75)
    close = close or [leaves[leaf] for leaf in get_close_matches(wrong.rpartition(".")[2], [*leaves], n=1)]
    return f"; did you mean {close[0]}?" if close else ""


def _keys_of(kind: Any, before: str) -> list[Key]:
    hints = get_type_hints(kind)
    found: list[Key] = []
    for field in fields(kind):
        hint = hints[field.name]
        if is_dataclass(hint):
            found += _keys_of(hint, f"{before}{field.name}.")
        else:
            found.append(Key(before + field.name, hint, field.default))
    return found


def _built(kind: Any, before: str, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in fields(kind):
        path = before + field.name
        if is_dataclass(hints[field.name]):
            given[field.name] = _built(hints[field.name], f"{path}.", values)
        elif path in values:
            given[field.name] = values[path]
    return kind(**given)


def _defaults() -> dict[str, str]:
    return dict.fromkeys(all_keys(), DEFAULT)


def _at(settings: Any, path: str) -> Any:
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings
