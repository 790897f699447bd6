"""`mnsweep grid`: measure a grid on this machine."""

from collections.abc import Collection, Iterator
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import typer

from mnsweep.app.requests import GridRequest
from mnsweep.cli import STARTED, elsewhere, output
from mnsweep.cli import options as o
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.app.grid import GridOutcome, GridPlan

EXAMPLE = "Example: mnsweep grid --alpha 0.25,0.5,0.75,1.0 --res 128,160,192,224"
PARTIAL, NOTHING = 3, 4
CLOSE = 3  # pairs that are named
SHOWN = 5  # lines of long lists; -v shows all


@o.takes(GridRequest)
def grid(
    request: GridRequest,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Measure a grid of MobileNets on this CPU, and write a table, a Pareto plot and result files.

    Cells are timed in interleaved rounds in several processes, until every
    interval is narrow enough. Each block of runs is saved before the next one
    starts. After an interruption, the same command continues.
    """
    from mnsweep.app.grid import grid as measure_grid
    from mnsweep.app.grid import plan_grid
    from mnsweep.cli.progress import GridNarrator

    o.check_exclusive(quiet=quiet, verbose=verbose)
    form = output.form_of(json=json, csv=csv, markdown=markdown)
    if elsewhere.is_asked(request.elsewhere, form, dry_run=dry_run):
        _grid_on(request, form, quiet, verbose)
        return
    if dry_run:
        _print_plan(plan_grid(request), json)
        return
    with GridNarrator(quiet) as listener:
        outcome = measure_grid(request, listener, began=STARTED, draw=False)
    _print(outcome, form)
    outcome.derived.draw()
    _comment(outcome, quiet, verbose)
    if all(r.latency_p50_ms is None for r in outcome.results):
        raise typer.Exit(NOTHING)
    if outcome.failures:
        raise typer.Exit(PARTIAL)


def _grid_on(request: GridRequest, form: output.Form, quiet: bool, verbose: bool) -> None:
    from mnsweep.app.elsewhere import grid_on

    def show(outcome: "GridOutcome") -> None:
        _print(outcome, form)
        elsewhere.warn_of_skipped(outcome.skipped)
        _comment(outcome, quiet, verbose)

    with elsewhere.FleetNarrator(quiet) as watcher:
        measured = grid_on(request, watcher)
    elsewhere.draw_all({host: outcome.derived for host, outcome in measured.outcomes.items()}, quiet)
    elsewhere.show(measured, form, _document, show)
    if any(outcome.failures for outcome in measured.outcomes.values()):
        raise typer.Exit(PARTIAL)


def _print_plan(planned: "GridPlan", json: bool) -> None:
    from mnsweep.cli.show import print_json

    plan, cells = planned.plan, [cell.id for cell in planned.plan.pending]
    if json:
        about = {"sweep": plan.sweep, "results_dir": str(planned.folder)}
        print_json({**about, "cells": cells, "groups": len(plan.groups), "seconds": round(plan.seconds, 1)})
        return
    work = f"{count_of(len(cells), 'cell')} to measure in {count_of(len(plan.groups), 'group')}"
    typer.echo(f"{work}, about {plan.seconds:.0f} s, into {planned.folder}")
    for cell in cells:
        typer.echo(cell)


def _print(outcome: "GridOutcome", form: output.Form) -> None:
    from mnsweep.cli.first_look import print_frontier
    from mnsweep.cli.show import print_json

    if form is output.Form.JSON:
        print_json(_document(outcome))
    else:
        output.print_results(outcome.results, form, measured=True)
        print_frontier(outcome.results, form)


def _document(outcome: "GridOutcome") -> dict[str, Any]:
    from mnsweep.cli.show import about_sweep, cells_of

    shown = {r.cell for r in outcome.results}
    places = {"certain": sorted(outcome.places.certain & shown), "open": _open_places(outcome, shown)}
    about = {**about_sweep(outcome.derived), "skipped": outcome.skipped, "places": places}
    return {**about, "cells": cells_of(outcome.results)}


def _open_places(outcome: "GridOutcome", shown: Collection[str]) -> list[dict[str, object]]:
    """Each shown cell whose place on the frontier is open, against its closest rival; widths are null where unknown."""
    closest = [pairs[0] for cell, pairs in outcome.places.open.items() if cell in shown]
    return [
        {
            "cell": pair.first,
            "against": pair.second,
            "slower_pct": pair.slower_pct if isfinite(pair.slower_pct) else None,
            "half_width_pct": pair.half_pct if isfinite(pair.half_pct) else None,
        }
        for pair in closest
    ]


def _comment(outcome: "GridOutcome", quiet: bool, verbose: bool) -> None:
    from mnsweep.cli.show import advise, advise_files, advise_list, advise_speed, warn, with_flags

    for cell, reason in outcome.failures.items():
        warn(f"{cell} failed: {reason}")
    shown = None if verbose else SHOWN
    for line in (*_certainty(outcome), *_unsettled(outcome, verbose)):
        advise(line, quiet)
    warnings = [with_flags(f"▲ {r.cell}: {r.warning}") for r in outcome.results if r.warning]
    advise_list(warnings, shown, "more cells gain nothing from how they are deployed; -v names them", quiet)
    if unknown := sum(r.quality_pct is None for r in outcome.results):
        advise(f"{unknown} of {count_of(len(outcome.results), 'cell')} without a published accuracy", quiet)
    if once := _timed_once(outcome):
        advise(once, quiet)
    if outcome.others:
        advise(f"{count_of(len(outcome.others), 'more cell')} of this sweep: --all shows them", quiet)
    if lacking := _lacking(outcome):
        advise(lacking, quiet)
    advise_speed(outcome.derived, quiet)
    advise_files(outcome.derived, quiet)


def _timed_once(outcome: "GridOutcome") -> str:
    """The cells that are two names of one file."""
    shown = {r.cell for r in outcome.results}
    pairs = [f"{cell} as {timed}" for cell, timed in outcome.derived.known.records.same.items() if cell in shown]
    more = f" and {len(pairs) - CLOSE} more" if len(pairs) > CLOSE else ""
    return f"timed once, because the files are the same: {', '.join(pairs[:CLOSE])}{more}" if pairs else ""


def _certainty(outcome: "GridOutcome") -> Iterator[str]:
    """What is certain about places on the frontier, and which cells are too close to tell."""
    timed = {r.cell for r in outcome.results if r.latency_p50_ms is not None}
    certain, open_ = outcome.places.certain & timed, [cell for cell in outcome.places.open if cell in timed]
    if not timed & {*certain, *open_}:
        return
    of_all = count_of(len(certain) + len(open_), "place")
    text = f"{len(certain)} of {of_all} on the frontier {'is' if len(certain) == 1 else 'are'} certain"
    pairs = [outcome.places.open[cell][0] for cell in open_]
    known = [pair for pair in pairs if isfinite(pair.half_pct)]
    said = [f"{p.first} against {p.second} ({abs(p.slower_pct):.1f} ± {p.half_pct:.1f} %)" for p in known[:CLOSE]]
    if len(known) > CLOSE:
        said.append(f"{len(known) - CLOSE} more")
    yield f"{text}; too close to tell: {', '.join(said)}" if said else text


def _unsettled(outcome: "GridOutcome", verbose: bool) -> Iterator[str]:
    """How many cells did not settle, the widest of them, and how to go on."""
    timed = {r.cell: r.relative_ci_pct for r in outcome.results if r.latency_p50_ms is not None}
    cells = {cell: reason for cell, reason in outcome.unsettled.items() if cell in timed}
    if verbose:
        yield from (f"{cell} did not settle: {reason}" for cell, reason in cells.items())
    if cells:
        widest = max(cells, key=lambda cell: timed[cell] or inf)
        width = f", the widest to ± {timed[widest]:.1f} % ({widest})" if timed[widest] else ""
        yield f"{len(cells)} of {count_of(len(timed), 'cell')} did not settle{width}{'' if verbose else '; -v says why'}"
    if outcome.out_of_patience_s is not None:
        limit = f"stopped after {outcome.out_of_patience_s:.0f} s, the default for {count_of(len(outcome.results), 'cell')}"
        yield f"{limit}; to go on: the same command again, for longer: --time-budget-s, or inf"
    elif cells:
        yield "to go on: the same command with a larger --ci-pct, or with more time (--time-budget-s)"


def _lacking(outcome: "GridOutcome") -> str:
    """What is missing where cells have no interval, and what would be enough."""
    tried = [r for r in outcome.results if r.cell not in outcome.failures]
    lacking = sum(r.interval_ms is None for r in tried)
    if not lacking:
        return ""
    without = "" if outcome.out_of_patience_s is not None else " without --time-budget-s"
    enough = f"about {max(1.0, outcome.needed_s):.0f} s more are needed: rerun the same command{without}"
    if all(r.latency_p50_ms is None for r in tried):
        return f"nothing was measured; {enough}"
    untimed = sum(r.latency_p50_ms is None for r in tried)
    missing = {"not measured": untimed, "with too few rounds for an interval": lacking - untimed}
    said = ", ".join(f"{count_of(number, 'cell')} {what}" for what, number in missing.items() if number)
    return f"{said}; {enough}"
