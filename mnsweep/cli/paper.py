"""`mnsweep paper`: the paper's tables beside ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from mnsweep.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from mnsweep.cell import Design
    from mnsweep.reproduction.judge import Row
    from mnsweep.result import Result
    from mnsweep.session import Plan
    from mnsweep.sweep.derive import Outcome

    Tables = Mapping[int, Sequence[Row]]
    Measured = Mapping[Design, Result]

EXAMPLE = "Example: mnsweep paper --table 13"
CHECK_FAILED, PARTIAL = 1, 3
WIDTH = 100
STYLES = {"match": "green", "erratum": "yellow", "assumption": "yellow", "quoted": "dim", "mismatch": "bold red"}
WORDS = {
    "mult_adds": "mult-adds",
    "mult_adds_as_printed": "mult-adds",
    "mult_adds_share": "of mult-adds",
    "params": "params",
    "params_share": "of params",
    "type_stride": "type / stride",
    "filter_shape": "filter",
    "input_size": "input",
}
UNCLAIMED = "quoted: others' qualities, and networks that are not built here; nothing of them is claimed"


def paper(
    table: Annotated[Optional[int], typer.Option(help="One table by its number. Default: all.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Also time every network here: at most 5 minutes.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="With --measure: set earlier results aside and start over.")] = False,
    wait: o.Wait = False,
    results_dir: o.ResultsDir = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Check every number of the MobileNet paper that can be computed: printed, ours, verdict.

    match: equal within one unit of the last printed digit. erratum, assumption: the paper is wrong or silent, and a note
    says by what arithmetic. quoted: not computed. Exit status 1: a mismatch that nothing explains.
    """
    from mnsweep.cli.show import advise
    from mnsweep.errors import MnsweepError
    from mnsweep.reproduction.judge import paper_tables

    if not measure and (fresh or wait):
        raise MnsweepError(f"{'--fresh' if fresh else '--wait'} says nothing without --measure: add it, or leave both out")
    tables = paper_tables(table)
    outcome = _measured(tables, table is None, results_dir, fresh, wait, quiet) if measure else None
    if json:
        typer.echo(_document(tables, outcome))
    else:
        _print(tables, outcome)
        advise(f"next: {_next(table, measure)}", quiet)
    _exit(tables, outcome)


def _measured(tables: "Tables", figures: bool, results_dir: Path | None, fresh: bool, wait: bool, quiet: bool) -> "Outcome":
    from mnsweep.app.paper import RULES, start
    from mnsweep.app.paper import measure as measure_networks
    from mnsweep.cli.main import with_flags
    from mnsweep.cli.progress import progress
    from mnsweep.cli.show import advise
    from mnsweep.machine.fingerprint import read_machine
    from mnsweep.machine.lock import measuring
    from mnsweep.sweep.store import results_dir_or_default

    rows = [row for rows in tables.values() for row in rows]
    with measuring(wait):
        request, the_plan, folder = start(rows, results_dir_or_default(results_dir), read_machine(), fresh, figures)
        advise(_announcement(the_plan, RULES.time_budget_s), quiet)
        with progress(quiet) as on_status:
            outcome, prepared = measure_networks(request, folder, on_status)
    for cell, reason in {**prepared.skipped, **outcome.failures}.items():
        typer.echo(f"mnsweep: {cell} was not measured: {with_flags(reason)}", err=True)
    advise(f"files are in {folder.path}", quiet)
    return outcome


def _announcement(the_plan: "Plan", most_s: float) -> str:
    left = len(the_plan.pending)
    if not left:
        return f"every network was measured already, since {the_plan.began_at}; to measure afresh: --fresh"
    begun = f", begun {the_plan.began_at}" if the_plan.began_at else ""
    return f"{left} networks to measure{begun}: about {the_plan.seconds:.0f} s, and at most {most_s:.0f} s of timing"


def _document(tables: "Tables", outcome: "Outcome | None") -> str:
    from json import dumps

    content = [_table_content(number, rows, outcome) for number, rows in tables.items()]
    return dumps({"schema_version": 1, "tables": content}, indent=2, allow_nan=False)


def _table_content(number: int, rows: "Sequence[Row]", outcome: "Outcome | None") -> dict[str, Any]:
    keys = ("model", "metric", "paper", "computed", "unit", "verdict", "reason")
    found: list[dict[str, Any]] = [{key: getattr(row, key) for key in keys} for row in rows]
    if outcome is None:
        return {"table": number, "rows": found}
    from mnsweep.app.paper import by_design, ratios

    measured = by_design(rows, outcome.results)
    for content, row in zip(found, rows, strict=True):
        result = measured.get(row.design) if row.design else None
        for key in ("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms"):
            content[key.replace("_p50", "")] = getattr(result, key) if result else None
    return {"table": number, "rows": found, "ratios": [asdict(ratio) for ratio in ratios(rows, measured)]}


def _print(tables: "Tables", outcome: "Outcome | None") -> None:
    from mnsweep.cli.show import console
    from mnsweep.reproduction.judge import VERDICTS

    out = console()
    for number, rows in tables.items():
        notes = list(dict.fromkeys(row.reason for row in rows if row.verdict not in ("match", "quoted")))
        measured = _by_design(rows, outcome)
        out.print(_rich_table(number, rows, notes, measured))
        for line in _below(rows, notes, measured):
            typer.echo(line)
    counted = [row.verdict for rows in tables.values() for row in rows]
    typer.echo("\n" + ", ".join(f"{verdict} {counted.count(verdict)}" for verdict in VERDICTS if verdict in counted))
    if "quoted" in counted:
        typer.echo(UNCLAIMED)


def _by_design(rows: "Sequence[Row]", outcome: "Outcome | None") -> "Measured | None":
    if outcome is None:
        return None
    from mnsweep.app.paper import by_design  # draws what measuring needs, which takes a second

    return by_design(rows, outcome.results)


def _rich_table(number: int, rows: "Sequence[Row]", notes: Sequence[str], measured: "Measured | None") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from mnsweep.reproduction.printed import TITLES

    title = f"\nTable {number}. {TITLES[number]}"
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for head in ("model", "what", "paper", "ours", "differs", "verdict", "note"):
        justify: Literal["left", "right"] = "right" if head in ("paper", "ours", "differs") else "left"
        table.add_column(head, justify=justify, no_wrap=head != "model")
    if measured:
        table.add_column("here\n(ms)", justify="right", no_wrap=True)
    before = None
    for row in rows:
        note = str(notes.index(row.reason) + 1) if row.reason in notes else ""
        cells = [_what(row), row.text, _ours(row), _differs(row), row.verdict, note]
        model, before = ("" if row.model == before else row.model), row.model
        table.add_row(model, *cells, *_latency(row, model, measured), style=STYLES[row.verdict])
    return table


def _what(row: "Row") -> str:
    from mnsweep.accuracy.metrics import METRICS

    name = WORDS.get(row.metric) or METRICS[row.metric].short
    return f"{name} ({row.unit.split()[0]})" if row.unit else name


def _ours(row: "Row") -> str:
    """With one digit more than was printed."""
    from mnsweep.reproduction.judge import decimals

    if row.computed is None or isinstance(row.computed, str):
        return row.computed or "–"
    return f"{row.computed:.{decimals(row.text) + 1}f}"


def _differs(row: "Row") -> str:
    if isinstance(row.computed, str) or isinstance(row.paper, str) or row.computed is None:
        return "–"
    if row.computed > 10 * row.paper:
        return f"× {row.computed / row.paper:.0f}"
    percent = round(100 * (row.computed / row.paper - 1), 1)
    return f"{percent:+.1f} %".replace("-", "−") if percent else "0.0 %"


def _latency(row: "Row", model: str, measured: "Measured | None") -> list[str]:
    """One more column where something was measured, once for each model."""
    from mnsweep.result import ms_text

    if not measured:
        return []
    result = measured.get(row.design) if row.design and model else None
    return [ms_text(result.latency_p50_ms) if result else ""]


def _below(rows: "Sequence[Row]", notes: Sequence[str], measured: "Measured | None") -> Iterator[str]:
    """The numbered notes, and what ratios of work come to in time."""
    for number, note in enumerate(notes, 1):
        yield from wrap(f"{number}: {note}", WIDTH, subsequent_indent="   ")
    if not measured:
        return
    from mnsweep.app.paper import ratios

    for ratio in ratios(rows, measured):
        printed = "" if ratio.mult_adds_ratio_paper is None else f" (printed: {ratio.mult_adds_ratio_paper:.3g} ×)"
        faster = "not measured" if ratio.latency_ratio is None else f"{ratio.latency_ratio:.3g} × faster here"
        work = f"{ratio.mult_adds_ratio_computed:.3g} × fewer mult-adds{printed}"
        yield from wrap(f"{ratio.model} against {ratio.against}: {work}, {faster}", WIDTH, subsequent_indent="   ")


def _next(table: int | None, measured: bool) -> str:
    if measured:
        return "mnsweep grid --sweep attributes"
    return f"mnsweep paper{'' if table is None else f' --table {table}'} --measure"


def _exit(tables: "Tables", outcome: "Outcome | None") -> None:
    wrong = [row for rows in tables.values() for row in rows if row.verdict == "mismatch"]
    for row in wrong:
        typer.echo(f"mnsweep: Table {row.table}, {row.model}, {row.metric}: {row.reason}", err=True)
    if wrong:
        raise typer.Exit(CHECK_FAILED)
    if outcome and outcome.failures:
        raise typer.Exit(PARTIAL)
