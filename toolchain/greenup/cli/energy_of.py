"""`greenup energy-of`."""

from __future__ import annotations

import sys

import click

from greenup.cli import options


@click.command("energy-of", context_settings={"ignore_unknown_options": True})
@click.option("--meter", default="auto", show_default=True, help="auto, none, or one by name.")
@options.json_option
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def command(meter: str, as_json: bool, cmd: tuple[str, ...]) -> None:
    """Run CMD on this machine and say what energy a meter saw meanwhile; CMD's exit code is passed on.

    stdout is CMD's own: the sentence goes to stderr. With --json the answer alone is on stdout, and CMD's output
    goes to stderr.

    \b
    Example:
      $ greenup energy-of -- python3 -c 'sum(range(10**8))'
      24.1 J in 2.51 s, 9.6 W on average; RAPL, package-0 (powercap); scope package; …
    """
    from greenup import targets
    from greenup_runtime import energy_of
    from greenup_runtime.meters import MeterOptions

    target = targets.detect_local()
    told = target.meter_settings()
    meters = MeterOptions(estimate=told["estimate"], settings=told["meter_settings"])
    answer = energy_of.energy_of(cmd, meter, target.meters.order, meters, sys.stderr if as_json else None)
    if as_json:
        options.print_json({"schema": "greenup.energy-of/1", **answer})
    else:
        click.echo(energy_of.sentence(answer), err=True)
    raise SystemExit(answer["exit_code"])
