"""`mnsweep time`: time model files of anyone's."""

from typing import TYPE_CHECKING, Any

import typer

from mnsweep.app.requests import TimeRequest
from mnsweep.cli import elsewhere, output
from mnsweep.cli import options as o

if TYPE_CHECKING:
    from mnsweep.app.time import TimeOutcome

EXAMPLE = "Example: mnsweep time before.onnx after.onnx --threads 1"
PARTIAL, NOTHING = 3, 4


@o.takes(TimeRequest)
def time(
    request: TimeRequest,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
) -> None:
    """Time any model files, interleaved, and compare each with the first.

    The files are timed in random order in many short rounds, in several
    processes, as the cells of a sweep are. Open sizes need --shape. The results
    are a sweep: the same command continues, --fresh starts over, and 'mnsweep
    compare' holds it against a sweep of another day or machine.
    """
    from mnsweep.app.time import time_files
    from mnsweep.cli.progress import GridNarrator
    from mnsweep.cli.show import advise, advise_speed, print_json, warn

    form = output.form_of(json=json, csv=csv, markdown=markdown)
    if elsewhere.is_asked(request.elsewhere, form):
        _time_on(request, form, quiet)
        return
    with GridNarrator(quiet) as listener:
        outcome = time_files(request, listener)
    derived = outcome.derived
    if json:
        print_json(_document(outcome))
    else:
        output.print_rows(_table(outcome), form)
    for item, reason in outcome.failures.items():
        warn(f"{item} failed: {reason}")
    advise_speed(derived, quiet)
    advise(f"files are in {derived.folder.path}: cells.csv", quiet)
    if len(outcome.failures) == len(outcome.files):
        raise typer.Exit(NOTHING)
    if outcome.failures:
        raise typer.Exit(PARTIAL)


def _time_on(request: TimeRequest, form: output.Form, quiet: bool) -> None:
    from mnsweep.app.elsewhere import time_on

    with elsewhere.FleetNarrator(quiet) as watcher:
        measured = time_on(request, watcher)
    elsewhere.show(measured, form, _document, lambda outcome: output.print_rows(_table(outcome), form))
    if any(outcome.failures for outcome in measured.outcomes.values()):
        raise typer.Exit(PARTIAL)


def _document(outcome: "TimeOutcome") -> dict[str, Any]:
    from mnsweep.app.compare import cell_rows
    from mnsweep.cli.show import about_sweep
    from mnsweep.sweep.table import item_rows

    verdicts = outcome.against_first
    against = {"against_first": cell_rows(verdicts) if verdicts else []}
    return {**about_sweep(outcome.derived), "cells": item_rows(outcome.files, outcome.derived.known.estimates), **against}


def _table(outcome: "TimeOutcome") -> output.Rows:
    columns = (
        output.Column("cell", "file"),
        output.Column("latency_p50_ms", "latency\n(ms)", output.ms),
        output.Column("latency_ci_low_ms", "95 % interval\nfrom", output.ms),
        output.Column("latency_ci_high_ms", "\nto", output.ms),
        output.Column("ratio", "times\nthe first", output.ratio),
        output.Column("ci_low", "95 % interval\nfrom", output.ratio),
        output.Column("ci_high", "\nto", output.ratio),
        output.Column("verdict", "it is"),
    )
    rows = [[row[column.name] for column in columns] for row in outcome.rows()]
    return output.Rows(title="", columns=columns, rows=rows, droppable=("95 % interval\nfrom", "\nto"))
