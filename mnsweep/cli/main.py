"""The `mnsweep` program: its commands, and errors turned into one line and an exit code."""

import os
import sys
import warnings
from typing import Annotated, NoReturn

import click
import typer

from mnsweep import __version__
from mnsweep.cli import count, export, grid, pick
from mnsweep.errors import MnsweepError

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    epilog="Start with: mnsweep grid --quick",
)
app.command("grid", epilog=grid.EXAMPLE)(grid.grid)
app.command("pick", epilog=pick.EXAMPLE)(pick.pick)
app.command("count", epilog=count.EXAMPLE)(count.count)
app.command("export", epilog=export.EXAMPLE)(export.export)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mnsweep {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find out which MobileNet to ship on this machine.

    Counts, builds and measures a grid of MobileNets (width multiplier α × resolution) on this CPU, puts
    published accuracies beside the latencies, and picks the most accurate one that is fast enough.
    """


def _fail(message: object, exit_code: int) -> NoReturn:
    typer.echo(f"mnsweep: {message}", err=True)
    raise SystemExit(exit_code)


def main() -> NoReturn:
    """Run the program; every error ends in one line on stderr and an exit code of the table in the README."""
    warnings.showwarning = lambda message, *_, **__: typer.echo(f"mnsweep: warning: {message}", err=True)
    try:
        raise SystemExit(app(standalone_mode=False) or 0)
    except MnsweepError as error:
        _fail(error, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        typer.echo(error.format_message())
        raise SystemExit(2) from None
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        _fail(f"{error.format_message()}; see '{context.command_path if context else 'mnsweep'} --help'", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; everything measured so far is kept: the same command continues", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
