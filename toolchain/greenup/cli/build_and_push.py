"""`greenup build-and-push`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options


@click.command("build-and-push")
@options.build_options
@options.device_option
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
    meter: str,
    remeasure: bool,
    allow_unsigned: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build RECIPE, push it, measure every variant there, let the best one serve, and report.

    \b
    Example:
      $ greenup build-and-push examples/acsf1.toml --device local
      … the GPS-UP table …
      report: file:///home/me/greenup-out/acsf1/report.html
    """
    from greenup import loop
    from greenup import recipe as recipes
    from greenup.cli import context, present, progress
    from greenup.devices.metering import check_meter

    loaded = recipes.load(recipe, seed)
    with progress.shown(quiet) as report:
        target = out or context.default_out(loaded.name)
        session = context.session(device, target, report, allow_unsigned=allow_unsigned)
        check_meter(session.device, meter)
        loop.build(session, loaded, data_dir)
        trial = loop.measure(session, loaded.trial, meter, loaded.seed, again=remeasure)
        result = loop.conclude(session, trial)
    present.result(result, as_json)
