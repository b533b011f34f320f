"""`greenup inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from greenup.cli import options


@click.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@options.json_option
def command(path: Path, as_json: bool) -> None:
    """Show what is in PATH, a bundle's folder or an ONNX file: sizes, shapes, int8 share, digest.

    \b
    Example:
      $ greenup inspect results/bundle
      bundle 3f0c9a41e2b7, acsf1, signed
      fp32         1.2 MB    301,450 parameters   12.1 M MACs  int8   0 %
      pruned-int8  0.2 MB    160,010 parameters    6.3 M MACs  int8  88 %
    """
    from greenup import inspection

    described = inspection.describe(path)
    if as_json:
        options.print_json(described)
    else:
        click.echo("\n".join(inspection.lines(described)))
