"""How a table is printed: for people, as CSV, or as Markdown. Beside the latter two, all prose goes to stderr."""

import csv as csv_module
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from mnsweep.cli import options as o
from mnsweep.options import OUTPUT

if TYPE_CHECKING:
    from rich.table import Table

    from mnsweep.cli.fitting import FittingTable
    from mnsweep.result import Result

Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.", rich_help_panel=OUTPUT)]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.", rich_help_panel=OUTPUT)]
Value = str | float | int | None


class Form(Enum):
    """What stdout gets."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"

    @property
    def is_prose(self) -> bool:
        """Whether sentences may stand beside the table."""
        return self is Form.TABLE


def form_of(*, json: bool, csv: bool, markdown: bool) -> Form:
    """The form that was asked for. Raises `MnsweepError` where several were."""
    o.check_exclusive(json=json, csv=csv, markdown=markdown)
    return Form.JSON if json else Form.CSV if csv else Form.MARKDOWN if markdown else Form.TABLE


def say(text: str, form: Form, quiet: bool = False) -> None:
    """A sentence about the table: on stdout below it, or on stderr where stdout is for programs."""
    if form.is_prose:
        typer.echo(text)
    elif not quiet:
        typer.echo(text, err=True)


def plain(value: Value) -> str:
    """A text as it is."""
    return "–" if value is None else str(value)


def ms(value: Value) -> str:
    """Milliseconds with three digits."""
    from mnsweep.result import ms_text

    return ms_text(value if isinstance(value, float) else None)


def ratio(value: Value) -> str:
    """A ratio with three decimals."""
    return f"{value:.3f}" if isinstance(value, float) else "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name for programs, its header for people, and how a value is shown."""

    name: str
    header: str
    shown: Callable[[Value], str] = plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table of values that are numbers to programs: columns and rows, with a title."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    droppable: Sequence[str] = ()


def print_rows(table: Rows, form: Form) -> None:
    """Print a table of values; CSV has every digit."""
    if form is Form.CSV:
        _write_csv([[column.name for column in table.columns], *table.rows])
        return
    if table.title:
        say(table.title, form)
    print_table(_rich(table), form)


def print_results(results: "Sequence[Result]", form: Form, *, measured: bool) -> None:
    """Print a row for each result; CSV has all columns of `cells.csv`."""
    from mnsweep.cli.show import results_table

    if form is Form.CSV:
        from mnsweep.sweep.cells_file import to_csv  # loads what a table does not need

        typer.echo(to_csv(results), nl=False)
    else:
        print_table(results_table(results, measured=measured), form)


def print_table(table: "Table | FittingTable", form: Form) -> None:
    """Print a table of texts."""
    from mnsweep.cli.fitting import FittingTable
    from mnsweep.cli.show import console

    if form is Form.TABLE:
        console().print(table)
        return
    inner = table.table if isinstance(table, FittingTable) else table
    rows = _texts(inner)
    if form is Form.CSV:
        _write_csv(rows)
        return
    aligned = ["---:" if column.justify == "right" else "---" for column in inner.columns]
    lines = [f"| {' | '.join(_markdown(cell) for cell in row)} |" for row in (rows[0], aligned, *rows[1:])]
    typer.echo("\n".join(lines))


def _write_csv(rows: Sequence[Sequence[Value]]) -> None:
    csv_module.writer(sys.stdout, lineterminator="\n").writerows(rows)


def _texts(table: "Table") -> list[list[str]]:
    """The header and the cells of a table as plain texts."""
    from rich.text import Text

    columns = [[" ".join(str(column.header).split()), *column.cells] for column in table.columns]
    return [[Text.from_markup(str(cell)).plain for cell in row] for row in zip(*columns, strict=True)]


def _markdown(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def _rich(table: Rows) -> "FittingTable":
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from mnsweep.cli.fitting import FittingTable

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        made.add_column(column.header, justify="left" if column.shown is plain else "right", no_wrap=True)
    for row in table.rows:
        made.add_row(*(escape(column.shown(value)) for column, value in zip(table.columns, row, strict=True)))
    return FittingTable(made, table.droppable)
