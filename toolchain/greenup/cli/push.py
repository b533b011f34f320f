"""`greenup push`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options


@click.command("push")
@options.out_argument
@options.device_option
@click.option("--variant", help="Let this variant serve, measured or not.")
@options.unsigned_option
@options.quiet_option
@options.json_option
def command(out: Path, device: str, variant: str | None, allow_unsigned: bool, quiet: bool, as_json: bool) -> None:
    """Install and prove the bundle in OUT/bundle on a device. Only what the device lacks travels.

    \b
    Example:
      $ greenup push results --device local
      bundle 3f0c9a41e2b7 is proven on local: fp32, int8, pruned, pruned-int8 (5 files, 3.1 MB sent)
    """
    from greenup import loop
    from greenup.cli import context, progress

    with progress.shown(quiet) as report:
        session = context.session(device, out, report, allow_unsigned=allow_unsigned)
        done = loop.push(session)
        if variant:
            loop.serve(session, done, variant)
    if as_json:
        options.print_json(loop.push_facts(done, device))
        return
    sent = f"{done.sent_blobs} files, {done.sent_bytes / 1e6:.1f} MB sent"
    click.echo(f"bundle {done.bundle[:12]} is proven on {device}: {', '.join(done.usable)} ({sent})")
    for name, reason in done.left_out.items():
        click.echo(f"{name} is left out there: {reason}")
