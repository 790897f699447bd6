"""Commands on other machines: a line of progress for each, then what each measured."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import typer

from mnsweep.cli import output
from mnsweep.cli.stopping import check
from mnsweep.errors import MnsweepError
from mnsweep.fleet.watching import Watcher

if TYPE_CHECKING:
    from rich.live import Live

    from mnsweep.app.elsewhere import Everywhere
    from mnsweep.app.requests import Elsewhere
    from mnsweep.sweep.derive import Outcome

T = TypeVar("T")
PARTIAL = 3
ROWS = 40  # machines that a terminal shows at once


class FleetNarrator(Watcher):
    """Shows what each host said last: one line a host on a terminal, otherwise a line whenever it changes."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console

        self.quiet, self.console = quiet, Console(stderr=True, highlight=False)
        self.lines: dict[str, str] = {}
        self.live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def said(self, host: str, text: str) -> None:
        """Show it."""
        check()
        text = _readable(text)
        if self.quiet or self.lines.get(host) == text:
            return
        self.lines[host] = text
        if self.console.is_terminal:
            self._draw()
        else:
            typer.echo(f"{host}: {text}", err=True)

    def aside(self, folder: Path) -> None:
        """Say where earlier results are."""
        if not self.quiet:
            typer.echo(f"earlier results are in {folder}", err=True)

    def _draw(self) -> None:
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, text in list(self.lines.items())[-ROWS:]:
            table.add_row(Text(name, style="bold", no_wrap=True), Text(text, no_wrap=True, overflow="ellipsis"))
        if self.live is None:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()
        self.live.update(table, refresh=True)


def _readable(text: str) -> str:
    from mnsweep.cli.main import readable

    return readable(text)


def is_asked(elsewhere: "Elsewhere", form: output.Form, *, dry_run: bool = False) -> bool:
    """Whether other machines are asked for. Raises `MnsweepError` for what is of one machine only."""
    name = "on" if elsewhere.on is not None else "fleet" if elsewhere.fleet is not None else None
    if name and dry_run:
        raise MnsweepError(f"`dry_run` and `{name}` contradict each other", "plan it for this machine")
    if name and form in (output.Form.CSV, output.Form.MARKDOWN):
        raise MnsweepError(f"`{form.value}` and `{name}` contradict each other", "use `json`, or the cells.csv of each folder")
    return name is not None


def show(
    measured: "Everywhere[T]",
    form: output.Form,
    document: Callable[[T], Mapping[str, Any]],
    print_one: Callable[[T], None],
) -> None:
    """Print the outcome of each host, or with JSON one document, and name each host in trouble.

    Exits with 3 where a host is in trouble. Raises its `MnsweepError` where no other has an outcome.
    """
    from mnsweep.cli.show import print_json, warn

    if len(measured.troubles) > 1 or measured.outcomes:
        for host, trouble in measured.troubles.items():
            warn(_readable(f"{host}: {trouble}"))
    measured.checked()
    if form is output.Form.JSON:
        machines = [{"host": host, **document(outcome)} for host, outcome in measured.outcomes.items()]
        troubles = [{"host": host, "what": error.what, "fix": error.fix} for host, error in measured.troubles.items()]
        print_json({"machines": machines, "troubles": troubles})
    else:
        for host, outcome in measured.outcomes.items():
            typer.echo(f"\n{host}")
            print_one(outcome)
    if measured.troubles:
        raise typer.Exit(PARTIAL)


def warn_of_skipped(skipped: Mapping[str, str]) -> None:
    """Warn of cells that do not run there, one line for each reason."""
    from mnsweep.cli.show import warn

    for reason in dict.fromkeys(skipped.values()):
        cells = [cell for cell, why in skipped.items() if why == reason]
        warn(_readable(f"skipped {', '.join(cells)}: {reason}"))


def draw_all(outcomes: Mapping[str, "Outcome"], quiet: bool) -> None:
    """Draw the plots of each machine, unless there are many."""
    from mnsweep.app.elsewhere import draw
    from mnsweep.cli.show import advise

    if not draw(outcomes.values()):
        folder = next(iter(outcomes.values())).folder.path.parent
        advise(f"no plots of {len(outcomes)} machines at once; to draw them: mnsweep rebuild {folder}", quiet)
