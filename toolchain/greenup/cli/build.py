"""`greenup build`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options


@click.command("build")
@options.build_options
@options.device_option
@options.unsigned_option
@options.quiet_option
@options.json_option
def command(
    recipe: Path,
    out: Path | None,
    seed: int | None,
    data_dir: Path | None,
    device: str,
    allow_unsigned: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train, compress and pack RECIPE's model into a signed bundle, OUT/bundle.

    \b
    Example:
      $ greenup build examples/acsf1.toml --out results
      bundle 3f0c9a41e2b7 with fp32, int8, pruned, pruned-int8 lies in results/bundle
    """
    from greenup import loop
    from greenup import recipe as recipes
    from greenup.cli import context, progress

    loaded = recipes.load(recipe, seed)
    target = out or context.default_out(loaded.name)
    with progress.shown(quiet) as report:
        session = context.session(device, target, report, allow_unsigned=allow_unsigned)
        bundle = loop.build(session, loaded, data_dir)
    if as_json:
        options.print_json(loop.build_facts(bundle, session.bundle_folder))
        return
    names = ", ".join(variant.name for variant in bundle.variants)
    click.echo(f"bundle {bundle.digest[:12]} with {names} lies in {session.bundle_folder}")
