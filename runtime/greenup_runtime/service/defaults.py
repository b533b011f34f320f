"""A file of settings in which every key stands with its meaning and its default, commented out."""

from __future__ import annotations

from greenup_runtime import configuration, kinds
from greenup_runtime.setting_texts import texts_of
from greenup_runtime.settings import RunnerSettings

_HEAD = "# Settings of greenup-runner. What is commented out is the default; remove the # to change it."


def default_toml() -> str:
    """The file's text, without the last line's end."""
    texts = texts_of(RunnerSettings)
    lines = [_HEAD]
    table = ""
    for path, key in configuration.all_keys().items():
        name, _, leaf = path.rpartition(".")
        if name != table:
            table = name
            lines += ["", *(f"# {line}" for line in texts.get(name, ())), f"[{name}]"]
        lines += [f"# {line}" for line in texts.get(path, ())]
        lines.append(f"#{leaf} = {kinds.as_toml(key.default)}")
    return "\n".join(lines)
