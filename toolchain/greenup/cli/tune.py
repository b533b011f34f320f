"""`greenup tune`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options
from greenup_runtime.bundle import BASELINE


@click.command("tune")
@options.build_options
@options.device_option
@click.option(
    "--minutes",
    type=options.FiniteRange(min=0, min_open=True),
    default=30,
    show_default=True,
    help="Begin no further training and no further graph after this long; the model itself comes first.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=0, max=20),
    default=0,
    show_default=True,
    help="Judge accuracy on out-of-fold predictions of this many folds; 0: on validation data only.",
)
@options.measure_options
@options.unsigned_option
@options.quiet_option
@options.json_option
def command(
    recipe: Path,
    out: Path | None,
    seed: int | None,
    data_dir: Path | None,
    device: str,
    minutes: float,
    folds: int,
    meter: str,
    remeasure: bool,
    allow_unsigned: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Search for the smallest form of RECIPE's model that holds its accuracy budget and wins on a device.

    Smaller architectures are measured there untrained, the promising ones learn from the trained model, several
    graphs and kinds of int8 are made of those that hold, and the winner is confirmed by a trial of its own. Exit
    code 1 says that nothing better than fp32 was found.

    \b
    Example:
      $ greenup tune examples/acsf1.toml --device local --minutes 10
      … the GPS-UP table, and what was tried …
    """
    from greenup import recipe as recipes
    from greenup.cli import context, present, progress
    from greenup.devices.metering import check_meter
    from greenup.tune import Settings, tune

    loaded = recipes.load(recipe, seed)
    settings = Settings(minutes, folds, meter, again=remeasure)
    with progress.shown(quiet) as report:
        target = out or context.default_out(loaded.name)
        session = context.session(device, target, report, allow_unsigned=allow_unsigned)
        check_meter(session.device, meter)
        result = tune(session, loaded, settings, data_dir)
    present.result(result, as_json)
    if result.chosen == BASELINE:
        raise click.exceptions.Exit(1)
