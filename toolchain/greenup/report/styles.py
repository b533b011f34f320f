"""How a variant looks in every table and plot: always the same colour, and a marker that differs without it.

Each colour has a light and a dark form. Plots are drawn in the light one; in the HTML it becomes a CSS
variable, so that one SVG serves both schemes and print.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Look(NamedTuple):
    """A variant's CSS variable, its colour on light and on dark, matplotlib marker and the glyph for text."""

    variable: str
    light: str
    dark: str
    marker: str
    glyph: str


class Tone(NamedTuple):
    """A neutral colour: CSS variable, on light and on dark."""

    variable: str
    light: str
    dark: str


INK = Tone("--ink", "#1b1f24", "#e8eaed")
MUTED = Tone("--muted", "#59616b", "#a4acb6")
GRID = Tone("--grid", "#d5dade", "#3a4149")
IDLE = Tone("--idle", "#9aa3ad", "#8a939d")

_KNOWN = {
    "fp32": Look("--v-fp32", "#4a5561", "#c3cbd4", "o", "●"),
    "int8": Look("--v-int8", "#0069a8", "#5cb8ee", "s", "■"),
    "pruned": Look("--v-pruned", "#b84a00", "#f39a4f", "^", "▲"),
    "pruned-int8": Look("--v-pruned-int8", "#00775a", "#3fce9f", "D", "◆"),
}
_OTHERS = (
    Look("--v-a", "#a03a7f", "#e58fc8", "v", "▼"),
    Look("--v-b", "#7a6200", "#d8bd3a", "P", "✚"),
    Look("--v-c", "#5b46c2", "#a99bf5", "X", "✖"),
    Look("--v-d", "#a3262f", "#f28a8f", "*", "★"),
)
TONES: tuple[Tone, ...] = (INK, MUTED, GRID, IDLE)
LOOKS: tuple[Look, ...] = (*_KNOWN.values(), *_OTHERS)


def looks(names: Sequence[str]) -> dict[str, Look]:
    """The look of each variant; names beyond the known four take the others in turn."""
    unknown = [name for name in names if name not in _KNOWN]
    turn = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(unknown)}
    return {name: _KNOWN.get(name) or turn[name] for name in names}


def colours() -> list[Tone]:
    """Every colour that a plot may hold."""
    return [*TONES, *(Tone(look.variable, look.light, look.dark) for look in LOOKS)]


def variables(dark: bool) -> str:
    """The CSS declarations of all colours for one scheme."""
    return "\n".join(f"{each.variable}: {each.dark if dark else each.light};" for each in colours())
