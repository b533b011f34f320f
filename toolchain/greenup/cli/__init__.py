"""`greenup`: the command line. One short file per verb; a verb's module is imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from greenup import __version__
from greenup_runtime.errors import INTERRUPTED_EXIT_CODE, GreenupError

VERBS = {
    "build": "train, compress and pack a recipe's model into a signed bundle",
    "push": "install and prove a bundle on a device",
    "build-and-push": "the whole loop: build, push, measure there, compare, report",
    "tune": "search for the smallest form of the model that holds its accuracy budget and wins there",
    "measure": "measure the variants of a pushed bundle on a device",
    "compare": "compute a trial's figures again from its raw data",
    "signers": "show or change whose bundles run on a device",
    "inspect": "show what is in a bundle or an ONNX file",
    "energy-of": "run any command and say what energy a meter saw meanwhile",
    "doctor": "check this machine and a device; one line of help per failure",
}


class Verbs(click.Group):
    """The verbs of the command line, each loaded from the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb's command."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"greenup.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them, so that `--help` answers at once."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="greenup")
def greenup() -> None:
    """Turn a time series data set into the least energy-hungry classifier on your own board.

    Start with `greenup build-and-push examples/acsf1.toml --device local`, or ask `greenup doctor`.
    """


def main() -> None:
    """Entry point of `greenup`: run a verb and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run one command line; a user's fault is printed with its hint and without a trace."""
    try:
        # With standalone_mode off, click returns the code of a verb that raised its `Exit`.
        code = greenup.main(args=argv, prog_name="greenup", standalone_mode=False)
    except GreenupError as fault:
        click.echo(f"error: {fault.message}", err=True)
        if fault.hint:
            click.echo(f"hint: {fault.hint}", err=True)
        return fault.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; the same command goes on where this one stopped", err=True)
        return INTERRUPTED_EXIT_CODE
    except click.exceptions.Exit as leave:
        return int(leave.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is left to say.
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


__all__: list[Any] = ["greenup", "main", "run"]
