"""`greenup measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from greenup.cli import options

if TYPE_CHECKING:
    from greenup import live


@click.command("measure")
@options.out_argument
@options.device_option
@options.measure_options
@click.option("--burst-s", type=options.FiniteRange(min=0, min_open=True), help="Length of a burst in seconds.")
@click.option("--max-rounds", type=click.IntRange(min=3), help="No more rounds than this.")
@click.option(
    "--precision",
    type=options.FiniteRange(0, 1, min_open=True, max_open=True),
    help="Half-width of a ratio's interval.",
)
@click.option("--rate-hz", type=options.FiniteRange(min=0, min_open=True), help="Also run windows at this rate.")
@click.option(
    "--external-hz",
    type=options.FiniteRange(min=0, min_open=True),
    help="A meter beside the board, with so many readings a second, records: play a load pattern for it.",
)
@click.option(
    "--external",
    metavar="SOURCE",
    help="Readings of a meter beside the board as they come in: - (stdin), tcp://HOST:PORT, /dev/ttyUSB0@115200.",
)
@click.option("--external-command", metavar="CMD", help="The same from the output of a command on this machine.")
@click.option("--external-columns", metavar="HEADER", help="The columns, if the meter prints no header: power_mW.")
@click.option("--seed", type=int, help="Seed of the order within rounds, instead of the recipe's.")
@options.unsigned_option
@options.quiet_option
@options.json_option
def command(
    out: Path,
    device: str,
    meter: str,
    remeasure: bool,
    burst_s: float | None,
    max_rounds: int | None,
    precision: float | None,
    rate_hz: float | None,
    external_hz: float | None,
    external: str | None,
    external_command: str | None,
    external_columns: str | None,
    seed: int | None,
    allow_unsigned: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Push OUT/bundle if need be, measure its variants on a device, and let the best one serve.

    What is not said here is as the bundle's recipe says.

    \b
    Example:
      $ greenup measure results --device local --precision 0.01 --remeasure
      … the GPS-UP table …
      $ greenup measure results --external-command 'stdbuf -oL usb-meter' --external-columns voltage_V,current_A
      … the same, with the joules of a USB meter in the board's supply …
    """
    from greenup import beside, loop
    from greenup.cli import context, present, progress
    from greenup.devices.metering import check_meter

    given: dict[str, Any] = {
        "burst_s": burst_s,
        "max_rounds": max_rounds,
        "precision": precision,
        "pace_hz": rate_hz,
    }
    planned, recipe_seed = loop.planned(out)
    spec = planned.model_copy(update={name: value for name, value in given.items() if value is not None})
    with progress.shown(quiet) as report:
        session = context.session(device, out, report, allow_unsigned=allow_unsigned)
        check_meter(session.device, meter)
        order = recipe_seed if seed is None else seed
        if source := _source(external, external_command):
            trial = beside.measure_beside(
                source,
                external_columns,
                external_hz,
                lambda rate: loop.measure(session, spec, meter, order, again=True, external_hz=rate),
            )
        else:
            trial = loop.measure(session, spec, meter, order, again=remeasure, external_hz=external_hz)
        result = loop.conclude(session, trial)
    present.result(result, as_json)


def _source(place: str | None, command: str | None) -> live.Source | None:
    """The stream of a meter's readings, or None. Raises UsageFault where both were named."""
    from greenup import live
    from greenup_runtime.errors import UsageFault

    if place is not None and command is not None:
        raise UsageFault("--external and --external-command name two meters", "name one of them")
    if place is not None:
        return live.opened(place)
    return live.started(command) if command is not None else None
