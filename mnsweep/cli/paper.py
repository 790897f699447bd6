"""`mnsweep paper`: compare the paper's tables with computed and measured values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal

import typer

from mnsweep.app.requests import PaperRequest
from mnsweep.cli import options as o
from mnsweep.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from mnsweep.app.paper_times import PaperMeasured
    from mnsweep.cell import Design
    from mnsweep.reproduction.judge import Row
    from mnsweep.result import Result

    Tables = Mapping[int, Sequence[Row]]
    Times = Mapping[Design, Result]

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


@o.takes(PaperRequest)
def paper(
    request: PaperRequest,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Check every number of the MobileNet paper that can be computed.

    Verdicts are match: equal within one unit of the last printed digit;
    erratum: the paper is wrong; assumption: the paper does not say; quoted: not
    computed. Notes give the arithmetic behind errata and assumptions. Exit
    status 1: an unexplained mismatch.
    """
    from mnsweep.app.paper import check_paper
    from mnsweep.cli.show import advise

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    tables = check_paper(request)
    measured = _measured(request, tables, quiet) if request.measure else None
    if json:
        _print_document(tables, measured)
    else:
        _print(tables, measured, form)
        advise(f"next: {_next(request)}", quiet)
    _exit(tables, measured)


def _measured(request: PaperRequest, tables: "Tables", quiet: bool) -> "PaperMeasured":
    from mnsweep.app.paper_times import RULES, measure_paper
    from mnsweep.cli.progress import PaperNarrator
    from mnsweep.cli.show import advise, warn

    with PaperNarrator(quiet, RULES.time_budget_s) as listener:
        measured = measure_paper(request, tables, listener)
    for cell, reason in measured.missing.items():
        warn(f"{cell} was not measured: {reason}")
    advise(f"files are in {measured.derived.folder.path}", quiet)
    return measured


def _print_document(tables: "Tables", measured: "PaperMeasured | None") -> None:
    from mnsweep.cli.show import print_json

    contents = [_table_content(number, rows, measured) for number, rows in tables.items()]
    print_json({"tables": contents, "verdicts": verdict_counts(tables)})


def _table_content(number: int, rows: "Sequence[Row]", measured: "PaperMeasured | None") -> dict[str, Any]:
    keys = ("model", "metric", "paper", "computed", "unit", "verdict", "reason")
    contents: list[dict[str, Any]] = [{key: getattr(row, key) for key in keys} for row in rows]
    if (times := _by_design(rows, measured)) is None:
        return {"table": number, "rows": contents}
    from mnsweep.reproduction.ratios import ratios

    for content, row in zip(contents, rows, strict=True):
        result = times.get(row.design) if row.design else None
        for key in ("latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms"):
            content[key.replace("_p50", "")] = getattr(result, key) if result else None
    return {"table": number, "rows": contents, "ratios": [asdict(ratio) for ratio in ratios(rows, times)]}


def _print(tables: "Tables", measured: "PaperMeasured | None", form: output.Form) -> None:
    from mnsweep.cli.fitting import FittingTable

    for number, rows in tables.items():
        notes = list(dict.fromkeys(row.reason for row in rows if row.reason and row.verdict != "quoted"))
        times = _by_design(rows, measured)
        output.print_table(FittingTable(_rich_table(number, rows, notes, times), ("differs", "note")), form)
        for line in _below(rows, notes, times):
            output.say(line, form, quiet=True)
    output.say("\n" + "\n".join(_summary(tables)), form, quiet=True)
    if any(row.verdict == "quoted" for rows in tables.values() for row in rows):
        output.say(UNCLAIMED, form, quiet=True)


def _summary(tables: "Tables") -> Iterator[str]:
    """The verdicts on numbers, and apart from them those on texts: the shapes of Table 1."""
    for kind, verdicts in verdict_counts(tables).items():
        if verdicts:
            yield f"{sum(verdicts.values())} {kind}: " + ", ".join(f"{name} {count}" for name, count in verdicts.items())


def verdict_counts(tables: "Tables") -> dict[str, dict[str, int]]:
    """How many `numbers` and `texts` have each verdict; verdicts that none has are left out."""
    from mnsweep.reproduction.judge import VERDICTS

    rows = [row for rows in tables.values() for row in rows]
    counts = {}
    for kind, is_number in (("numbers", True), ("texts", False)):
        verdicts = [row.verdict for row in rows if bool(row.unit) is is_number]
        counts[kind] = {name: verdicts.count(name) for name in VERDICTS if name in verdicts}
    return counts


def _by_design(rows: "Sequence[Row]", measured: "PaperMeasured | None") -> "Times | None":
    if measured is None:
        return None
    from mnsweep.reproduction.ratios import by_design

    return by_design(rows, measured.derived.results)


def _rich_table(number: int, rows: "Sequence[Row]", notes: Sequence[str], times: "Times | None") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from mnsweep.reproduction.printed import TITLES

    title = f"\nTable {number}. {TITLES[number]}"
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for head in ("model", "what", "paper", "ours", "differs", "verdict", "note"):
        justify: Literal["left", "right"] = "right" if head in ("paper", "ours", "differs") else "left"
        table.add_column(head, justify=justify, no_wrap=head != "model")
    if times:
        table.add_column("here\n(ms)", justify="right", no_wrap=True)
    before = None
    for row in rows:
        note = str(notes.index(row.reason) + 1) if row.reason in notes else ""
        cells = [_what(row), row.text, _ours(row), _differs(row), row.verdict, note]
        model, before = ("" if row.model == before else row.model), row.model
        table.add_row(model, *cells, *_latency(row, model, times), style=STYLES[row.verdict])
    return table


def _what(row: "Row") -> str:
    from mnsweep.accuracy.metrics import METRICS

    name = WORDS.get(row.metric) or METRICS[row.metric].short
    return f"{name} ({row.unit.split()[0]})" if row.unit else name


def _ours(row: "Row") -> str:
    """The computed value with one digit more than the paper prints."""
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


def _latency(row: "Row", model: str, times: "Times | None") -> list[str]:
    """The cell of the latency column, filled once per model; no column if nothing was measured."""
    from mnsweep.result import ms_text

    if not times:
        return []
    result = times.get(row.design) if row.design and model else None
    return [ms_text(result.latency_p50_ms) if result else ""]


def _below(rows: "Sequence[Row]", notes: Sequence[str], times: "Times | None") -> Iterator[str]:
    """The numbered notes, and for each ratio of mult-adds the ratio of measured latencies."""
    for number, note in enumerate(notes, 1):
        yield from wrap(f"{number}: {note}", WIDTH, subsequent_indent="   ")
    if not times:
        return
    from mnsweep.reproduction.ratios import ratios

    for ratio in ratios(rows, times):
        printed = "" if ratio.mult_adds_ratio_paper is None else f" (printed: {ratio.mult_adds_ratio_paper:.3g} ×)"
        faster = "not measured" if ratio.latency_ratio is None else f"{ratio.latency_ratio:.3g} × faster here"
        work = f"{ratio.mult_adds_ratio_computed:.3g} × fewer mult-adds{printed}"
        yield from wrap(f"{ratio.model} against {ratio.against}: {work}, {faster}", WIDTH, subsequent_indent="   ")


def _next(request: PaperRequest) -> str:
    if request.measure:
        return "mnsweep grid --sweep attributes"
    return f"mnsweep paper{'' if request.table is None else f' --table {request.table}'} --measure"


def _exit(tables: "Tables", measured: "PaperMeasured | None") -> None:
    from mnsweep.cli.show import warn

    wrong = [row for rows in tables.values() for row in rows if row.verdict == "mismatch"]
    for row in wrong:
        warn(f"Table {row.table}, {row.model}, {row.metric}: {row.reason}")
    if wrong:
        raise typer.Exit(CHECK_FAILED)
    if measured and measured.derived.failures:
        raise typer.Exit(PARTIAL)
