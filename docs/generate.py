"""Write the parts of docs/ that are made from the code: `cli.md`, `recipe.md`, `settings.md`. `make docs` runs it.

A test compares the files with what this prints, so they cannot grow old.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from click import Command, Context
from pydantic import BaseModel

from greenup.cli import VERBS, greenup
from greenup.recipe import Recipe
from greenup_runtime.configuration import all_keys
from greenup_runtime.kinds import as_toml, words_of
from greenup_runtime.setting_texts import texts_of
from greenup_runtime.settings import RunnerSettings

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- made by `make docs` from the code; edit that instead -->\n"
CLOSING = """\
Exit codes: 0 ok, 1 failed, 2 usage or recipe, 3 device, 4 integrity, 130 interrupted. Results go to stdout,
everything else to stderr; the sentence of `energy-of` too, because stdout is the command's own.

With `--json` an answer is one JSON object whose `schema` says what it is, such as `greenup.doctor/1`; an answer of
`greenup-runner` is `greenup.runner.VERB/1`.

Completion for bash: `eval "$(_GREENUP_COMPLETE=bash_source greenup)"`; zsh and fish likewise.
"""
SETTINGS_OPENING = """\
A flag of the verb wins over `GREENUP_RUNNER_<TABLE>_<KEY>` in the environment, that over `runner.toml`, that over
the default. `greenup-runner config show --origin` prints what holds and why; [runner.md](runner.md) says where the
file lies. Nothing, where a file is meant, is `""`.
"""


def cli_reference() -> str:
    """The help of every verb."""
    parts = [NOTE, "# Command line\n"]
    whole = Context(greenup, info_name="greenup", terminal_width=100, **greenup.context_settings)
    parts.append(_help("greenup", greenup, whole))
    for name in VERBS:
        verb = greenup.get_command(whole, name)
        assert verb is not None
        parts.append(_help(f"greenup {name}", verb, Context(verb, info_name=name, parent=whole)))
    parts.append(CLOSING)
    return "\n".join(parts)


def _help(shown: str, command: Command, context: Context) -> str:
    return f"## `{shown}`\n\n```text\n{command.get_help(context)}\n```\n"


def recipe_reference() -> str:
    """Every key of a recipe with its type's default and meaning."""
    parts = [NOTE, "# Recipe\n", "A recipe is a TOML file. Only `name` and `[data]` must be there.\n"]
    tables = {"(top level)": Recipe}
    tables |= {name: f.annotation for name, f in Recipe.model_fields.items() if _is_table(f.annotation)}  # type: ignore[misc]
    for name, model in tables.items():
        title = "Top level" if model is Recipe else f"`[{name}]`"
        parts.append(f"## {title}\n\n{_summary(model)}\n\n| key | default | meaning |\n| --- | --- | --- |")
        for key, field in model.model_fields.items():
            if not _is_table(field.annotation):
                parts.append(f"| `{key}` | {_default(field)} | {field.description} |")
        parts.append("")
    return "\n".join(parts)


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _summary(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "—"
    shown = list(field.default) if isinstance(field.default, tuple) else field.default
    text = str(shown).lower() if isinstance(shown, bool) else str(shown).replace("'", '"')
    return f'`"{text}"`' if isinstance(shown, str) else f"`{text}`"


def settings_reference() -> str:
    """Every key of runner.toml with what it takes, its default and its meaning."""
    texts = texts_of(RunnerSettings)
    parts = [NOTE, "# Settings of the runner\n", SETTINGS_OPENING.rstrip("\n")]
    table = None
    for path, key in all_keys().items():
        name, _, leaf = path.rpartition(".")
        if name != table:
            table, title = name, f"`[{name}]`" if name else "Outside any table"
            summary = "".join(f"{line}\n" for line in texts.get(name, ()))
            summary += "\n" if summary else ""
            parts.append(f"\n## {title}\n\n{summary}| key | takes | default | meaning |")
            parts.append("| --- | --- | --- | --- |")
        takes, meaning = words_of(key.hint).replace("|", "·"), " ".join(texts.get(path, ()))
        parts.append(f"| `{leaf}` | {takes} | `{as_toml(key.default)}` | {meaning} |")
    return "\n".join(parts) + "\n"


PAGES = {"cli.md": cli_reference, "recipe.md": recipe_reference, "settings.md": settings_reference}


def main() -> None:
    """Write the pages."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
        print(f"wrote docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
