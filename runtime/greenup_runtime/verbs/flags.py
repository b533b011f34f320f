"""Flags for a table of settings: one per key, named as the key, explained by settings.py."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from greenup_runtime import configuration, kinds
from greenup_runtime.configuration import Configuration
from greenup_runtime.setting_texts import texts_of
from greenup_runtime.settings import RunnerSettings


def add(parser: argparse.ArgumentParser, table: str, *, without: Collection[str] = ()) -> None:
    """Add `--config`, and a flag for every key of a table but those named."""
    parser.add_argument("--config", type=Path, help="read this file of settings instead of the usual one")
    texts = texts_of(RunnerSettings)
    for name, key in _keys(table).items():
        if name not in without:
            _add(parser, name, key, " ".join(texts.get(key.path, ())))


def settings_of(arguments: argparse.Namespace, table: str) -> Configuration:
    """The settings with what the command line says of a table; its arguments have the names of its keys.

    Raises UsageFault for every fault of file, environment and flags at once.
    """
    given = vars(arguments)
    flags = {key.path: given.get(name) for name, key in _keys(table).items()}
    return configuration.load(arguments.config, flags=flags)


def _keys(table: str) -> dict[str, configuration.Key]:
    known = configuration.all_keys()
    return {path.partition(".")[2]: key for path, key in known.items() if path.startswith(f"{table}.")}


def _add(parser: argparse.ArgumentParser, name: str, key: configuration.Key, text: str) -> None:
    flag = "--" + name.replace("_", "-")
    text = text.replace("%", "%%") or kinds.words_of(key.hint)
    if key.hint is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
    else:
        parser.add_argument(flag, metavar=_metavar(name, key), help=text)


def _metavar(name: str, key: configuration.Key) -> str:
    words = kinds.words_of(key.hint)
    return words.replace(" ", "") if "|" in words else name.rpartition("_")[2].upper()
