"""Options that several verbs share, and how their results are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number within bounds that is neither `nan` nor `inf`, both of which pass click's own range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises click's usage error for what is none, out of bounds or not finite."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def json_option(function: F) -> F:
    """`--json`: one JSON object on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(function)


def quiet_option(function: F) -> F:
    """`--quiet`: no progress."""
    return click.option("--quiet", "-q", is_flag=True, help="Print results only, no progress.")(function)


def device_option(function: F) -> F:
    """`--device`: where to push and measure."""
    return click.option("--device", default="local", show_default=True, help="Name of the device.")(function)


def unsigned_option(function: F) -> F:
    """`--allow-unsigned`: do without signatures, which status and report then show."""
    text = "Neither sign nor ask for signatures."
    return click.option("--allow-unsigned", is_flag=True, help=text)(function)


def build_options(function: F) -> F:
    """The recipe and what goes with building it.

    GREENUP_DATA is read, and its folder looked for, only where a set of the archive is: data of one's own does
    without either.
    """
    function = click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Folder with data sets: folders, .ts files or zips.  [env: GREENUP_DATA]",
    )(function)
    function = click.option("--seed", type=int, help="Use this seed instead of the recipe's.")(function)
    out = click.Path(path_type=Path, file_okay=False)
    function = click.option("--out", type=out, help="Folder for results.  [default: greenup-out/RECIPE]")(function)
    return click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False))(function)


def measure_options(function: F) -> F:
    """Which meter, and whether an equal earlier trial may serve."""
    function = click.option(
        "--meter",
        default="auto",
        show_default=True,
        help="auto, none, or one by name: rapl, ina:shunt_ohm=0.1, fake:idle_w=2,active_w=3, replay:FILE.",
    )(function)
    return click.option("--remeasure", is_flag=True, help="Measure again even if an equal trial is there.")(
        function
    )


def out_argument(function: F) -> F:
    """The results folder of an earlier build."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.argument("out", type=kind)(function)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
