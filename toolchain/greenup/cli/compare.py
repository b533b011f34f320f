"""`greenup compare`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options


@click.command("compare")
@click.argument("trial", type=click.Path(path_type=Path, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write report and result there too.")
@options.json_option
def command(trial: Path, out: Path | None, as_json: bool) -> None:
    """Compute every figure of TRIAL (a folder below OUT/trials) again from its raw data.

    \b
    Example:
      $ greenup compare results/trials/5b1e0c77a90d4f22
      … the GPS-UP table …
    """
    from greenup import loop, outcome
    from greenup.cli import present

    bundle, measured = loop.open_trial(trial)
    result = outcome.assemble(bundle, "the trial's device", measured, signed_by=None)
    present.result(loop.write_report(result, measured, out) if out else result, as_json)
