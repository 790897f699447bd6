"""`mnsweep grid`: measure a grid here."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mnsweep.cli import options as o
from mnsweep.space import MAX_DESIGNS

if TYPE_CHECKING:
    from mnsweep.sweep import Outcome, Plan, Status
    from mnsweep.sweep_file import Sweep

EXAMPLE = "Example: mnsweep grid --alpha 0.25,0.5,0.75,1.0 --res 128,160,192,224"
PARTIAL, NOTHING = 3, 4


def grid(
    alpha: o.Alpha = None,
    res: o.Res = None,
    threads: o.Threads = None,
    batch: o.Batch = None,
    sweep: Annotated[Optional[str], typer.Option(help="Sweep file, or the name of one, instead of axes.")] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the sweep; cells add up under one name.  [grid]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A fixed small number of rounds: about 100 runs a cell.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set earlier results of this sweep aside and start over.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and the time it takes; measure nothing.")] = False,
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

    Cells are timed in interleaved rounds, so that the machine's moods hit all of them alike. Every block
    of runs is on disk before the next starts: interrupt it, and the same command continues.
    """
    from mnsweep.cli.show import advise
    from mnsweep.measure.machine import read_machine
    from mnsweep.measure.rounds import QUICK, Rules
    from mnsweep.store import SweepFolder, results_dir_or_default
    from mnsweep.sweep import merge, plan, run

    directory = results_dir_or_default(results_dir)
    axes = o.given(
        alpha=alpha,
        res=res,
        threads=threads,
        batch=batch,
        classes=classes,
        width_rule=width_rule,
        conv_padding=conv_padding,
        activation=activation,
    )
    asked = _asked(sweep, name, axes, quality_source, max_designs, directory)
    machine, rules = read_machine(), QUICK if quick else Rules()
    folder = SweepFolder(directory / asked.name / machine.key)
    if fresh and not dry_run and (aside := folder.set_aside()):
        advise(f"earlier results are in {aside}", quiet)
    the_plan = plan(merge(asked, folder), folder, rules)
    _announce(the_plan, asked, quiet)
    if dry_run:
        _print_plan(the_plan, folder.path, json)
        return
    with _progress(quiet, verbose) as on_status:
        outcome = run(the_plan, folder, rules, machine, on_status)
    _print(outcome, json, quiet)
    _exit(outcome)


def _asked(
    sweep: str | None, name: str | None, axes: dict[str, Any], source: str | None, max_designs: int, directory: Path
) -> "Sweep":
    from dataclasses import replace

    from mnsweep.accuracy.published import DEFAULT_SOURCE
    from mnsweep.errors import MnsweepError
    from mnsweep.space import Space
    from mnsweep.sweep_file import Sweep, find_sweep_file, read_sweep

    if sweep is None:
        return Sweep(name or "grid", Space(**axes, max_designs=max_designs).cells(), source or DEFAULT_SOURCE)
    if axes:
        flag = "--" + next(iter(axes)).replace("_", "-")
        raise MnsweepError(f"--sweep {sweep} and {flag} contradict each other: put the value into the file, or drop --sweep")
    read = read_sweep(find_sweep_file(sweep, directory), max_designs)
    return replace(read, name=name or read.name, quality_source=source or read.quality_source)


def _announce(the_plan: "Plan", asked: "Sweep", quiet: bool) -> None:
    from mnsweep.cli.show import advise

    total = len(the_plan.sweep.cells)
    if not the_plan.groups and the_plan.began_at:
        advise(
            f"all {len(asked.cells)} cells are in sweep {asked.name} already, measured since {the_plan.began_at}; "
            "to measure afresh: --fresh",
            quiet,
        )
        return
    earlier = f" (some since {the_plan.began_at})" if the_plan.began_at else ""
    advise(
        f"sweep {asked.name}: {total} cells{earlier}, {the_plan.blocks} blocks to time, about {the_plan.seconds:.0f} s", quiet
    )


def _print_plan(the_plan: "Plan", path: Path, json: bool) -> None:
    from json import dumps

    from mnsweep.result import SCHEMA_VERSION

    cells = [cell.id for cell in the_plan.sweep.cells]
    content = {
        "schema_version": SCHEMA_VERSION,
        "sweep": the_plan.sweep.name,
        "results_dir": str(path),
        "cells": cells,
        "groups": len(the_plan.groups),
        "blocks": the_plan.blocks,
        "seconds": round(the_plan.seconds, 1),
    }
    lines = [f"{len(cells)} cells in {len(the_plan.groups)} groups, results in {path}:", *cells]
    typer.echo(dumps(content, indent=2) if json else "\n".join(lines))


@contextlib.contextmanager
def _progress(quiet: bool, verbose: bool) -> Iterator[Callable[["Status"], None]]:
    """A bar on a terminal, a line for each round elsewhere; drawn between blocks, never during one."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda status: None
    elif not console.is_terminal:
        with _round_lines(verbose) as say:
            yield say
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} blocks"),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task("timing", total=None, left="")

            def draw(status: "Status") -> None:
                what = f"process {status.process}, round {status.round}"
                bar.update(
                    task, description=what, completed=status.done, total=status.total, left=f"{status.left_s:.0f} s left"
                )
                bar.refresh()

            yield draw


@contextlib.contextmanager
def _round_lines(verbose: bool) -> Iterator[Callable[["Status"], None]]:
    last: list[Status] = []

    def say(status: "Status") -> None:
        typer.echo(
            f"process {status.process}, round {status.round}: {status.done} of {status.total} blocks, "
            f"{status.left_s:.0f} s left",
            err=True,
        )

    def keep(status: "Status") -> None:
        if last and (verbose or last[0].round != status.round):
            say(last[0])
        last[:] = [status]

    yield keep
    if last:
        say(last[0])


def _print(outcome: "Outcome", json: bool, quiet: bool) -> None:
    from mnsweep.cli.show import advise, console, results_table
    from mnsweep.result import to_document

    folder = outcome.folder
    if json:
        typer.echo(to_document(outcome.results, sweep=folder.sweep, machine=folder.machine, results_dir=str(folder.path)))
    else:
        console().print(results_table(outcome.results, measured=True))
    for cell, reason in outcome.failures.items():
        typer.echo(f"mnsweep: {cell} failed: {reason}", err=True)
    if unknown := sum(r.quality_pct is None for r in outcome.results):
        advise(f"{unknown} of {len(outcome.results)} cells have no published accuracy", quiet)
    advise(f"files are in {folder.path}: cells.csv, pareto.png, latency_mult_adds.png", quiet)
    advise(f"next: mnsweep pick --sweep {folder.sweep} --max-latency-ms 10", quiet)


def _exit(outcome: "Outcome") -> None:
    if not any(r.latency_p50_ms is not None for r in outcome.results):
        raise typer.Exit(NOTHING)
    if outcome.failures:
        raise typer.Exit(PARTIAL)
