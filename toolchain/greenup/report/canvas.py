"""From a matplotlib figure to inline SVG that stands in any page: no fonts, no addresses, the page's colours."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from greenup.report.styles import GRID, INK, MUTED, colours

WIDTH_IN = 7.6
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "greenup",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    # A variant's name may hold a dollar sign, which would start a formula.
    "text.parse_math": False,
    "text.color": INK.light,
    "axes.labelcolor": INK.light,
    "axes.edgecolor": MUTED.light,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": GRID.light,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelcolor": INK.light,
    "ytick.labelcolor": INK.light,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A finished plot: an id for the page, a title, a caption, and SVG that carries its text alternative."""

    id: str
    title: str
    caption: str
    svg: str


@contextmanager
def drawing(height_in: float, heights: tuple[float, ...] = (1.0,)) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure under the report's settings: panels of these relative heights, sharing the x axis."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
        yield figure, list(grid[:, 0])


def to_svg(figure: Figure, name: str, alt: str) -> str:
    """Inline SVG with a text alternative; equal figures give equal text.

    Call it inside `drawing`. `name` makes the ids of this SVG differ from those of others on the page.
    """
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(?::\w+)?="[^"]*"| (?:width|height)="[\d.]+pt"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for tone in colours():
        text = text.replace(tone.light, f"var({tone.variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
