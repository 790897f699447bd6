"""`mnsweep grid`: measure a grid here."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mnsweep.cli import options as o
from mnsweep.space import MAX_DESIGNS

if TYPE_CHECKING:
    from mnsweep.prepare.deploy import Prepared
    from mnsweep.session import Plan, Request
    from mnsweep.sweep.derive import Outcome
    from mnsweep.sweep.file import Sweep

EXAMPLE = "Example: mnsweep grid --alpha 0.25,0.5,0.75,1.0 --res 128,160,192,224"
PARTIAL, NOTHING = 3, 4
SHOWN = 5  # of long lists, unless -v asks for all


def grid(
    alpha: o.Alpha = None,
    res: o.Res = None,
    precision: o.Precision = None,
    runtime: o.Runtime = None,
    threads: o.Threads = None,
    batch: o.Batch = None,
    pad: o.Pad = None,
    sweep: Annotated[Optional[str], typer.Option(help="Sweep file, or the name of one, instead of axes.")] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the sweep; cells add up under one name. Default: grid.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set earlier results of this sweep aside and start over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and the time it takes; measure nothing.")] = False,
    quick: o.Quick = False,
    ci_pct: o.CiPct = 1.0,
    time_budget_s: o.TimeBudget = None,
    max_latency_ms: o.NearBudget = None,
    cell_timeout_s: o.CellTimeout = 60.0,
    sustain_s: o.Sustain = 0.0,
    wait: o.Wait = False,
    variant: o.Variant = None,
    task: o.Task = None,
    classes: o.Classes = None,
    width_rule: o.WidthRule = None,
    conv_padding: o.ConvPadding = None,
    activation: o.Activation = None,
    quality_source: o.QualitySource = None,
    max_designs: o.MaxDesigns = MAX_DESIGNS,
    results_dir: o.ResultsDir = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Measure a grid of MobileNets on this CPU: table, Pareto plot and files.

    Cells are timed in interleaved rounds until each one's interval is narrow enough, in several processes.
    Every block of runs is on disk before the next starts: interrupt it, and the same command continues.
    """
    from mnsweep.cli.progress import progress
    from mnsweep.cli.show import advise
    from mnsweep.machine.facts import read_facts
    from mnsweep.machine.fingerprint import read_machine
    from mnsweep.machine.lock import measuring
    from mnsweep.measure.rounds import Rules
    from mnsweep.measure.rounds import quick as quickly
    from mnsweep.session import Request, begin, get_ready, merge, plan, run
    from mnsweep.sweep.file import ask_for_sweep
    from mnsweep.sweep.store import SweepFolder, results_dir_or_default

    directory = results_dir_or_default(results_dir)
    axes = o.given(
        alpha=alpha,
        res=res,
        precision=precision,
        runtime=runtime,
        threads=threads,
        batch=batch,
        pad=pad,
        variant=variant,
        task=task,
        classes=classes,
        width_rule=width_rule,
        conv_padding=conv_padding,
        activation=activation,
    )
    asked = ask_for_sweep(sweep, name, axes, quality_source, directory, max_designs, read_facts().usable_threads)
    budget_s = float("inf") if time_budget_s is None else time_budget_s
    rules = Rules(ci_pct=ci_pct, time_budget_s=budget_s, cell_timeout_s=cell_timeout_s, sustain_s=sustain_s)
    machine = read_machine()
    folder = SweepFolder(directory / asked.name / machine.key)
    request = Request(asked, quickly(rules) if quick else rules, max_latency_ms)
    if dry_run:
        request = replace(request, sweep=merge(asked, folder))
        _print_plan(request, plan(request, folder), folder.path, json)
        return
    with measuring(wait):
        if fresh and (aside := folder.set_aside()):
            advise(f"earlier results are in {aside}", quiet)
        request = replace(request, sweep=merge(asked, folder))
        the_plan = begin(request, folder, machine)
        _announce(request, the_plan, asked, quiet)
        request, the_plan, prepared = get_ready(request, the_plan, folder)
        _say_skipped(prepared)
        with progress(quiet) as on_status:
            outcome = run(request, the_plan, prepared, folder, on_status)
    _print(outcome, prepared, json)
    _comment(outcome, request, quiet, verbose)
    _exit(outcome)


def _say_skipped(prepared: "Prepared") -> None:
    """Name every cell that does not run here: its reason once, then the cells."""
    by_reason: dict[str, list[str]] = {}
    for cell, reason in prepared.skipped.items():
        by_reason.setdefault(reason, []).append(cell)
    for reason, cells in by_reason.items():
        typer.echo(f"mnsweep: skipped {', '.join(cells)}: {reason}", err=True)
    for cell, remark in prepared.remarks.items():
        typer.echo(f"mnsweep: {cell}: {remark}", err=True)


def _announce(request: "Request", the_plan: "Plan", asked: "Sweep", quiet: bool) -> None:
    from mnsweep.cli.show import advise

    name, pending = request.sweep.name, len(the_plan.pending)
    if not pending:
        there = f"all {len(asked.cells)} cells are in sweep {name} already, measured since {the_plan.began_at}"
        advise(f"{there}; to measure afresh: --fresh", quiet)
        return
    kept = len(request.sweep.cells) - pending
    earlier = f", {kept} measured earlier (since {the_plan.began_at})" if the_plan.began_at else ""
    advise(f"sweep {name}: {pending} cells to measure{earlier}, about {the_plan.seconds:.0f} s at least", quiet)


def _print_plan(request: "Request", the_plan: "Plan", path: Path, json: bool) -> None:
    from json import dumps

    from mnsweep.result import SCHEMA_VERSION

    cells = [cell.id for cell in the_plan.pending]
    content = {
        "schema_version": SCHEMA_VERSION,
        "sweep": request.sweep.name,
        "results_dir": str(path),
        "cells": cells,
        "groups": len(the_plan.groups),
        "seconds": round(the_plan.seconds, 1),
    }
    head = f"{len(cells)} cells to measure in {len(the_plan.groups)} groups, about {the_plan.seconds:.0f} s, into {path}"
    typer.echo(dumps(content, indent=2) if json else "\n".join([head, *cells]))


def _print(outcome: "Outcome", prepared: "Prepared", json: bool) -> None:
    from mnsweep.cli.show import console, results_table
    from mnsweep.result import to_document

    folder = outcome.folder
    if json:
        where = {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)}
        moved = {"slower_pct": outcome.movement.slower_pct, "faster_pct": outcome.movement.faster_pct}
        typer.echo(to_document(outcome.results, **where, machine_speed=moved, skipped=prepared.skipped))
    else:
        console().print(results_table(outcome.results, measured=True))


def _comment(outcome: "Outcome", request: "Request", quiet: bool, verbose: bool) -> None:
    from mnsweep.cli.main import with_flags
    from mnsweep.cli.show import advise

    folder = outcome.folder
    for cell, reason in outcome.failures.items():
        typer.echo(f"mnsweep: {cell} failed: {with_flags(reason)}", err=True)
    _say_unsettled(request, outcome, quiet, verbose)
    _say_warnings(outcome, quiet, verbose)
    if unknown := sum(r.quality_pct is None for r in outcome.results):
        advise(f"{unknown} of {len(outcome.results)} cells have no published accuracy", quiet)
    moved = outcome.movement
    advise(
        f"the machine's own speed moved from {moved.faster_pct:.1f} % faster to {moved.slower_pct:.1f} % slower than typical "
        "in 95 % of the rounds",
        quiet,
    )
    pictures = ", ".join(sorted(path.name for path in folder.path.glob("*.png")))
    advise(f"files are in {folder.path}: cells.csv, {pictures}", quiet)
    advise(f"next: mnsweep pick --sweep {folder.sweep} --max-latency-ms 10", quiet)


def _say_warnings(outcome: "Outcome", quiet: bool, verbose: bool) -> None:
    from mnsweep.cli.show import advise

    found = [f"▲ {r.cell}: {r.warning}" for r in outcome.results if r.warning]
    for line in found[: None if verbose else SHOWN]:
        advise(line, quiet)
    if len(found) > SHOWN and not verbose:
        advise(f"and {len(found) - SHOWN} more cells gain nothing from how they are deployed; -v names them", quiet)


def _say_unsettled(request: "Request", outcome: "Outcome", quiet: bool, verbose: bool) -> None:
    from mnsweep.cli.show import advise
    from mnsweep.session import unsettled

    open_cells = unsettled(request, outcome)
    shown = list(open_cells.items())[: None if verbose else SHOWN]
    for cell, reason in shown:
        advise(f"{cell} did not settle: {reason}", quiet)
    if len(open_cells) > len(shown):
        advise(f"and {len(open_cells) - len(shown)} more cells did not settle; -v names them", quiet)
    if open_cells:
        advise("measure on with the same command and a larger --ci-pct, or more time (--time-budget-s)", quiet)


def _exit(outcome: "Outcome") -> None:
    if not any(r.latency_p50_ms is not None for r in outcome.results):
        raise typer.Exit(NOTHING)
    if outcome.failures:
        raise typer.Exit(PARTIAL)
