"""`greenup compare`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("compare")
@click.argument("trials", nargs=-1, required=True, type=_FOLDER, metavar="TRIAL...")
@click.option("--baseline", "baselines", multiple=True, help="Compare with this variant; may be given again.")
@click.option("--mix-meters", is_flag=True, help="Compare trials even if their meters or scopes differ.")
@click.option(
    "--external",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV of a meter beside the board; a copy of TRIAL gets its energy.",
)
@click.option("--out", type=_FOLDER, help="Write report and result there too.")
@options.json_option
def command(
    trials: tuple[Path, ...],
    baselines: tuple[str, ...],
    mix_meters: bool,
    external: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compute every figure of TRIAL (a folder below OUT/trials) again from its raw data.

    Several trials are compared with the first one's baseline.

    \b
    Examples:
      $ greenup compare results/trials/5b1e0c77a90d4f22
      $ greenup compare results/trials/5b1e0c77a90d4f22 --external usb-meter.csv
      $ greenup compare pi4/trials/0c77a90d4f225b1e pi5/trials/5b1e0c77a90d4f22 --baseline fp32
    """
    from greenup import across, loop, outcome
    from greenup.cli import present
    from greenup_runtime.errors import UsageFault

    if external is not None:
        if len(trials) > 1:
            raise UsageFault("--external belongs to one trial", "name the trial that ran while the meter recorded")
        trials = (loop.with_external(trials[0], external),)
    opened = [loop.open_trial(folder) for folder in trials]
    if len(opened) == 1 and not baselines:
        bundle, measured = opened[0]
        result = outcome.assemble(bundle, "the trial's device", measured, signed_by=None)
        present.result(loop.write_report(result, measured, out) if out else result, as_json)
        return
    if out is not None:
        raise UsageFault("--out writes the report of one trial", "leave --out, --baseline or the other trials out")
    measured_trials = [trial for _, trial in opened]
    tables = {
        name: across.compare_trials(measured_trials, name, mix_meters=mix_meters)
        for name in baselines or (opened[0][0].manifest["baseline"],)
    }
    present.comparisons(tables, as_json)
