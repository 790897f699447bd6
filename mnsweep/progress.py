"""Show progress to users of the Python API: a bar in a notebook or a terminal, otherwise one line per round on stderr."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mnsweep.errors import MnsweepError
from mnsweep.listener import SILENT, Listener
from mnsweep.measure.plan import Plan
from mnsweep.measure.status import Status
from mnsweep.wording import count_of


@contextmanager
def reporting(progress: bool | None, listener: Listener | None) -> Iterator[Listener]:
    """The listener to report to: the user's own, or a bar with `progress`. None shows a bar in a notebook only.

    The bar is removed on exit. Raises `MnsweepError` where both are given.
    """
    if listener is not None and progress:
        raise MnsweepError("`progress` and `listener` contradict each other", "give one of them")
    console = Console(stderr=True, highlight=False)
    if listener is not None or not (console.is_jupyter if progress is None else progress):
        yield listener or SILENT
        return
    bar = NotebookBar() if console.is_jupyter else TerminalBar(console)
    try:
        yield bar
    finally:
        bar.close()


class Bar(Listener):
    """Turns reports into notes, and a text with the share of settled cells; subclasses show them."""

    def set_aside(self, folder: Path) -> None:
        """Report where earlier results are."""
        self.note(f"earlier results are in {folder}")

    def planned(self, plan: Plan) -> None:
        """Show how many cells are left, and how long they take."""
        if plan.pending:
            self.show(f"{count_of(len(plan.pending), 'cell')} to measure, about {plan.seconds:.0f} s at least", 0.0)

    def stage(self, text: str) -> None:
        """Show what is measured next."""
        self.show(text, 0.0)

    def skipped(self, reasons: Mapping[str, str], remarks: Mapping[str, str]) -> None:
        """Report the cells that do not run on this machine, one line per reason, and the remarks."""
        for reason in dict.fromkeys(reasons.values()):
            self.note(f"skipped {', '.join(cell for cell, why in reasons.items() if why == reason)}: {reason}")
        for cell, remark in remarks.items():
            self.note(f"{cell}: {remark}")

    def status(self, status: Status) -> None:
        """Show how many cells have settled."""
        settled = f"{status.settled} of {count_of(status.cells, 'cell')} settled"
        within = f", {count_of(status.timed, 'block')} timed" if status.timed else ""
        where = f"process {status.process}, round {status.round}{within}"
        self.show(f"{where}: {settled}, about {status.left_s:.0f} s left", status.settled / max(1, status.cells))

    def note(self, text: str) -> None:
        """Print a line that stays."""

    def show(self, text: str, share: float) -> None:
        """Show a text and a share from 0 to 1, in place of those before."""

    def close(self) -> None:
        """Remove the bar."""


class TerminalBar(Bar):
    """A bar on stderr, where that is a terminal; otherwise one line for each text."""

    def __init__(self, console: Console) -> None:
        self.console = console
        # Drawn between rounds only: nothing is redrawn while a block is timed.
        columns = BarColumn(bar_width=24), TextColumn("{task.description}", markup=False)
        self.bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self.task = self.bar.add_task("", total=1.0)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, markup=False, soft_wrap=True)

    def show(self, text: str, share: float) -> None:
        """Draw the bar once, or print a line."""
        if not self.console.is_terminal:
            self.note(text)
            return
        self.bar.start()
        self.bar.update(self.task, description=text, completed=share)
        self.bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.stop()


class NotebookBar(Bar):
    """A bar below the cell of a notebook, updated in place; it needs no widgets."""

    def __init__(self) -> None:
        self.display: Any = import_module("IPython.display").display
        self.handle: Any = None

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self.display(_content(escape(text), text), raw=True)

    def show(self, text: str, share: float) -> None:
        """Display the bar, or update it in place."""
        self._display(_content(f'<progress value="{share:.3f}" max="1"></progress> {escape(text)}', text))

    def close(self) -> None:
        """Empty the place of the bar."""
        if self.handle is not None:
            self._display(_content("", ""))

    def _display(self, content: dict[str, str]) -> None:
        if self.handle is None:
            self.handle = self.display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def _content(html: str, text: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": text}
