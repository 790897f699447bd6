"""How far a sweep is: a bar on a terminal, a line for each round elsewhere.

Drawn between rounds, while the worker waits: nothing redraws while a block is being timed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from mnsweep.measure.campaign import Status

OnStatus = Callable[["Status"], None]


def describe(status: "Status") -> str:
    """One status in words."""
    widest = "" if status.widest_pct is None else f", widest ± {status.widest_pct:.1f} %"
    return (
        f"process {status.process}, round {status.round}: {status.settled} of {status.cells} cells settled{widest}, "
        f"about {status.left_s:.0f} s left"
    )


@contextmanager
def progress(quiet: bool) -> Iterator[OnStatus]:
    """A function that shows a status on stderr."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda status: None
    elif not console.is_terminal:
        yield lambda status: typer.echo(describe(status), err=True)
    else:
        with Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}"), console=console, auto_refresh=False, transient=True
        ) as bar:
            task = bar.add_task("warming up", total=1.0)
            bar.refresh()

            def draw(status: "Status") -> None:
                bar.update(task, description=describe(status), completed=status.settled, total=status.cells)
                bar.refresh()

            yield draw
