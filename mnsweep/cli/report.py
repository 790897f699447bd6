"""`mnsweep report`: one page about sweeps, to open offline or to mail."""

from typing import Annotated

import typer

from mnsweep.app.requests import ReportRequest
from mnsweep.cli import options as o
from mnsweep.options import OUTPUT

EXAMPLE = "Example: mnsweep report --sweep grid --open"


@o.takes(ReportRequest)
def report(
    request: ReportRequest,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.", rich_help_panel=OUTPUT)] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Write one HTML page about sweeps: to open offline, to mail, to choose in.

    Plots, tables, machine and protocol are in the one file, which loads nothing.
    Move the budget, and the page picks as 'mnsweep pick' does. Of several
    sweeps, each is also compared with the first.
    """
    from mnsweep.app.report import report as write_report
    from mnsweep.cli.show import advise, print_json

    outcome = write_report(request)
    if json:
        print_json({"path": str(outcome.path), "size_bytes": outcome.size_bytes, "sweeps": list(outcome.sweeps)})
    else:
        typer.echo(f"{outcome.path}: {outcome.size_bytes / 1e3:,.0f} kB")
    if open_:
        import webbrowser

        if not webbrowser.open(outcome.path.absolute().as_uri()):
            advise("no browser could be started: open the file yourself", quiet)
