"""`greenup doctor`."""

from __future__ import annotations

import click

from greenup.cli import options


@click.command("doctor")
@options.device_option
@options.json_option
def command(device: str, as_json: bool) -> None:
    """Check this machine and a device, and say for each failure what to do.

    \b
    Example:
      $ greenup doctor
      ok    torch        2.13.0
      ok    ssh-keygen   /usr/bin/ssh-keygen
      FAIL  meter        no energy meter: rapl: no RAPL: this kernel has no powercap package zone
            hint: joules will be estimated; measure on a board with a sensor for Greenup
    """
    from greenup import doctor

    checks = doctor.examine(device)
    if as_json:
        options.print_json(doctor.to_json(checks, device))
    else:
        for check in checks:
            click.echo(f"{'ok   ' if check.ok else 'FAIL '} {check.name:<12} {check.message}")
            if check.hint and not check.ok:
                click.echo(f"      hint: {check.hint}")
    if not all(check.ok or not check.needed for check in checks):
        raise SystemExit(1)
