"""Tables that drop columns instead of cutting cells."""

import os
import sys
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

WIDEST = 10_000  # characters: no limit


def has_width() -> bool:
    """Whether stdout is only so wide: a terminal, or as wide as $COLUMNS says; a pipe is not."""
    return sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()


class FittingTable:
    """A table that leaves out columns where the console is too narrow for all of them, and says which below.

    `least_important` are the headers of the columns that may go, in this order. Where even the others do not fit, lines are
    longer than the console is wide, because half a name is worth nothing.
    """

    def __init__(self, table: Table, least_important: Sequence[str]) -> None:
        self.table, self.least_important = table, least_important

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        dropped: list[str] = []
        fitted = self.table
        for header in self.least_important if has_width() else ():
            if _width(fitted, console, options) <= options.max_width:
                break
            if any(column.header == header for column in fitted.columns):
                dropped.append(header)
                fitted = _without(self.table, dropped)
        yield from console.render(fitted, options.update(max_width=max(options.max_width, _width(fitted, console, options))))
        if dropped:
            names = ", ".join(header.replace("\n", " ") for header in dropped)
            yield Text(f"left out in {options.max_width} columns: {names}", overflow="fold", no_wrap=False)


def _width(table: Table, console: Console, options: ConsoleOptions) -> int:
    return table.__rich_measure__(console, options.update(max_width=WIDEST)).maximum


def _without(table: Table, headers: Collection[str]) -> Table:
    fitted = copy(table)
    kept = (column for column in table.columns if column.header not in headers)
    fitted.columns = [replace(column, _index=i) for i, column in enumerate(kept)]
    return fitted
