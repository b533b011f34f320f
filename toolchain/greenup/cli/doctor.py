"""`greenup doctor`."""

from __future__ import annotations

import click

from greenup.cli import options


@click.command("doctor")
@options.device_option
@click.option("--fix", is_flag=True, help="Write, or show, what lets a group read the energy counters.")
@options.json_option
def command(device: str, fix: bool, as_json: bool) -> None:
    """Check this machine and a device, and say for each failure what to do.

    Each meter is read for a second: its rails, rate, noise and the power while idle.

    \b
    Example:
      $ greenup doctor
      ok    torch        2.13.0
      ok    ssh-keygen   /usr/bin/ssh-keygen
      ok    meter        rapl (package)
      ok    meter rapl   RAPL, package-0 (powercap): 9.41 W idle ± 0.8 W noise, 97 readings/s; …
      no    meter ina    no INA: no chip has a hwmon or IIO driver here, and no I2C address was named
            hint: wire one and set it up as docs/meters.md says
    """
    from greenup import doctor

    if fix:
        for line in doctor.repair(device):
            click.echo(line)
        return
    checks = doctor.examine(device)
    if as_json:
        options.print_json(doctor.to_json(checks, device))
    else:
        for check in checks:
            word = "ok" if check.ok else "FAIL" if check.needed else "no"
            click.echo(f"{word:<5} {check.name:<16} {check.message}")
            if check.hint:
                click.echo(f"      hint: {check.hint}")
    if not all(check.ok or not check.needed for check in checks):
        raise SystemExit(1)
