"""One HTML file that stands alone: no scripts, no addresses, plots inline, for light, dark and print."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from greenup import __version__
from greenup.gpsup import CATEGORIES
from greenup.report import sentences
from greenup.report.plots import result_plots
from greenup.report.rows import confirmed, rows_of, tried_of
from greenup.report.styles import looks, variables
from greenup.report.trial_plots import trial_plots
from greenup.result import Result
from greenup_runtime.bundle import BASELINE
from greenup_runtime.trial import Trial


def write_html(result: Result, trial: Trial | None, path: Path) -> None:
    """Write the report of a result; `trial` gives the plots of raw data. Equal input gives equal bytes.

    Everything that comes from a bundle, a device or a data set is escaped.
    """
    path.write_text(render(result, trial), encoding="utf-8")


def render(result: Result, trial: Trial | None) -> str:
    """The report as a string."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_text("template.html.j2"))
    names = [row.name for row in result.variants]
    plots = [*result_plots(result), *(trial_plots(trial, names) if trial else [])]
    return template.render(
        result=result,
        table=rows_of(result),
        measured=rows_of(confirmed(result)),
        tried=tried_of(result),
        plots=[
            {"id": plot.id, "title": plot.title, "caption": plot.caption, "svg": Markup(plot.svg)}
            for plot in plots
        ],
        style=Markup(_style()),
        looks=looks(names),
        sentences=sentences,
        categories=CATEGORIES,
        baseline=BASELINE,
        conditions=flatten(result.conditions),
        version=__version__,
    )


def flatten(table: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested conditions as rows of key and text; what is unknown or empty is left out."""
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            rows += flatten(value, f"{name}.")
        elif value not in (None, "", [], ()):
            rows.append((name, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _style() -> str:
    schemes = (
        f":root {{\n{variables(dark=False)}\n}}\n@media screen and (prefers-color-scheme: dark) {{ :root {{\n"
    )
    return f"{schemes}{variables(dark=True)}\n}} }}\n{_text('style.css')}"


def _text(name: str) -> str:
    return resources.files("greenup.report").joinpath(name).read_text(encoding="utf-8")
