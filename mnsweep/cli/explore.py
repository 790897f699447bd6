"""`mnsweep explore`: predict a thousand designs from a score of measurements."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from mnsweep.cli import options as o
from mnsweep.space import FINE_ALPHAS, FINE_RESOLUTIONS, MAX_DESIGNS

if TYPE_CHECKING:
    from mnsweep.app.exploration import Aims
    from mnsweep.lab import Lab
    from mnsweep.prediction.latency_model import Errors
    from mnsweep.sweep.derive import Outcome
    from mnsweep.sweep.file import Sweep

EXAMPLE = "Example: mnsweep explore --measure 20 --validate 30"
NAME = "explore"
PARTIAL = 3
SHOWN = 20  # of the predicted frontier, unless -v asks for all
Alpha = Annotated[str, typer.Option(help="Width multipliers: 0.25,0.5 or a range.", rich_help_panel=o.AXES)]
Res = Annotated[str, typer.Option(help="Input resolutions in pixels: 128,160 or a range.", rich_help_panel=o.AXES)]


def explore(
    alpha: Alpha = FINE_ALPHAS,
    res: Res = FINE_RESOLUTIONS,
    precision: o.Precision = None,
    runtime: o.Runtime = None,
    threads: o.Threads = None,
    batch: o.Batch = None,
    pad: o.Pad = None,
    measure: Annotated[
        int, typer.Option(help="Designs to measure and learn from, in each deployment.", rich_help_panel=o.MEASURING)
    ] = 20,
    verify: Annotated[
        int, typer.Option(help="Cells of the predicted frontier to measure afterwards.", rich_help_panel=o.MEASURING)
    ] = 10,
    validate: Annotated[
        int, typer.Option(help="Random fresh designs to measure, to tell how good the model is.", rich_help_panel=o.MEASURING)
    ] = 0,
    name: Annotated[str, typer.Option(help="Name of the sweep; cells add up under one name.")] = NAME,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set earlier results of this sweep aside and start over.")] = False,
    extrapolate: Annotated[
        bool,
        typer.Option(
            "--extrapolate",
            help="Predict accuracies beyond their source's range, less surely.",
            rich_help_panel=o.SETTINGS,
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how many cells would be measured; measure nothing.")
    ] = False,
    ci_pct: o.CiPct = 1.0,
    time_budget_s: o.TimeBudget = None,
    max_latency_ms: Annotated[
        Optional[float],
        typer.Option(min=0.0, help="Your latency budget: what it buys is measured first.", rich_help_panel=o.MEASURING),
    ] = None,
    cell_timeout_s: o.CellTimeout = 60.0,
    wait: o.Wait = False,
    width_rule: o.WidthRule = None,
    quality_source: o.QualitySource = None,
    max_designs: o.MaxDesigns = MAX_DESIGNS,
    results_dir: o.ResultsDir = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Explore a fine grid: measure a score of designs, predict all others, verify what looks best.

    Latencies are predicted by a model of the work in each design, with 95 % intervals; accuracies by a
    surface through the published ones. `pick` chooses among all of them, and measures its choice.
    """
    from dataclasses import replace

    from mnsweep.app.exploration import Aims
    from mnsweep.app.exploration import explore as run
    from mnsweep.cli.progress import progress
    from mnsweep.cli.show import advise
    from mnsweep.lab import RULES, ask_for_space, open_lab
    from mnsweep.machine.fingerprint import read_machine
    from mnsweep.machine.lock import measuring
    from mnsweep.sweep.store import SweepFolder, results_dir_or_default

    aims = Aims(measure, verify, validate, max_latency_ms)
    directory = results_dir_or_default(results_dir)
    axes = o.given(precision=precision, runtime=runtime, threads=threads, batch=batch, pad=pad, width_rule=width_rule)
    axes |= {"alpha": alpha, "res": res}
    asked = ask_for_space(name, axes, quality_source, extrapolate, directory, max_designs)
    if dry_run:
        _print_plan(asked, aims, json)
        return
    machine = read_machine()
    folder = SweepFolder(directory / asked.name / machine.key)
    budget_s = float("inf") if time_budget_s is None else time_budget_s
    rules = replace(RULES, ci_pct=ci_pct, time_budget_s=budget_s, cell_timeout_s=cell_timeout_s)
    with measuring(wait):
        if fresh and (aside := folder.set_aside()):
            advise(f"earlier results are in {aside}", quiet)
        with progress(quiet) as on_status:
            lab = open_lab(asked, folder, machine, rules, on_status, lambda words: advise(words, quiet))
            outcome = run(lab, aims)
    _say_skipped(lab)
    if json:
        typer.echo(_document(outcome, lab))
    else:
        _print(outcome, verbose)
    _comment(outcome, quiet)
    if outcome.failures:
        raise typer.Exit(PARTIAL)


def _print_plan(asked: "Sweep", aims: "Aims", json: bool) -> None:
    from json import dumps

    from mnsweep.result import SCHEMA_VERSION

    deployments = {cell.deployment for cell in asked.cells}
    content = {
        "schema_version": SCHEMA_VERSION,
        "sweep": asked.name,
        "designs": len({cell.design for cell in asked.cells}),
        "deployments": len(deployments),
        "measure": aims.measure * len(deployments),
        "verify": aims.verify,
        "validate": aims.validate,
    }
    head = f"{content['designs']} designs in {len(deployments)} deployment{'s' * (len(deployments) != 1)}"
    to_do = f"{content['measure']} cells to learn from, {aims.verify} to verify, {aims.validate} to validate"
    typer.echo(dumps(content, indent=2) if json else f"{head}: {to_do}; the others are predicted")


def _say_skipped(lab: "Lab") -> None:
    for reason in dict.fromkeys(lab.skipped.values()):
        cells = [cell for cell, why in lab.skipped.items() if why == reason]
        typer.echo(f"mnsweep: skipped {', '.join(cells)} and all others deployed so: {reason}", err=True)


def _document(outcome: "Outcome", lab: "Lab") -> str:
    from mnsweep.result import to_document

    folder, moved = outcome.folder, outcome.movement
    about = {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)}
    return to_document(
        outcome.results,
        **about,
        machine_speed={"slower_pct": moved.slower_pct, "faster_pct": moved.faster_pct},
        skipped=lab.skipped,
        model=_model(outcome),
        verification=outcome.verification and _flat(asdict(outcome.verification)),
        validation=outcome.validation and _flat(asdict(outcome.validation)),
    )


def _model(outcome: "Outcome") -> dict[str, Any]:
    """Leave-one-out errors over all deployments, then each deployment's own, with what its terms cost."""
    models = [
        {**asdict(how), "measured": len(m.cells), **_loo(m.errors), "coefficients": m.coefficients}
        for how, m in outcome.models.items()
    ]
    return {**_loo(outcome.errors), "deployments": models}


def _loo(errors: "Errors") -> dict[str, float]:
    return {f"loo_{name}": value for name, value in asdict(errors).items()}


def _flat(content: "dict[str, Any]") -> dict[str, Any]:
    """The same with the entries of `errors` in its place."""
    errors = content.pop("errors")
    return {"designs": content.pop("designs"), **errors, **content}


def _print(outcome: "Outcome", verbose: bool) -> None:
    from mnsweep.choice.search import representatives
    from mnsweep.cli.show import console, results_table

    frontier = {r.cell: r.latency_p50_ms or 0.0 for r in outcome.results if r.predicted_on_frontier}
    shown = representatives(list(frontier), frontier, len(frontier) if verbose else SHOWN)
    results = sorted((r for r in outcome.results if r.cell in shown), key=lambda r: r.latency_p50_ms or 0.0)
    console().print(results_table(results, measured=True))
    if len(frontier) > len(shown):
        typer.echo(f"{len(shown)} of {len(frontier)} cells of the predicted frontier, evenly spread; -v shows all")
    typer.echo(f"model        {_words(outcome.errors)}, each measured cell predicted from the others")
    if found := outcome.verification:
        typer.echo(
            f"verification {_words(found.errors)}, on {found.designs} cells of the predicted frontier; quality lost against "
            f"what was believed: mean {found.mean_regret:.2f}, worst {found.worst_regret:.2f} points"
        )
    if valid := outcome.validation:
        tau = "–" if valid.kendall_tau is None else f"{valid.kendall_tau:.3f}"
        floor = "–" if valid.repeatability_pct is None else f"{valid.repeatability_pct:.1f} %"
        typer.echo(
            f"validation   {_words(valid.errors)}, on {valid.designs} fresh random cells\n"
            f"             {valid.within_5_pct:.0f} % of them within ± 5 %, {valid.within_10_pct:.0f} % within ± 10 %, "
            f"{valid.interval_coverage:.0f} % in their 95 % interval; Kendall's tau {tau}"
        )
        for name, errors in valid.baselines.items():
            typer.echo(f"             {name}: {_words(errors)}")
        typer.echo(f"             repeated measurements differ by {floor} on average")


def _words(errors: "Errors") -> str:
    return f"mean error {errors.mean_pct:.1f} %, 95th percentile {errors.p95_pct:.1f} %, worst {errors.worst_pct:.1f} %"


def _comment(outcome: "Outcome", quiet: bool) -> None:
    from mnsweep.cli.main import with_flags
    from mnsweep.cli.show import advise

    for cell, reason in outcome.failures.items():
        typer.echo(f"mnsweep: {cell} failed: {with_flags(reason)}", err=True)
    folder = outcome.folder
    pictures = ", ".join(sorted(path.name for path in folder.path.glob("*.png")))
    advise(f"files are in {folder.path}: cells.csv, model.json, {pictures}", quiet)
    advise(f"next: mnsweep pick --sweep {folder.sweep} --max-latency-ms 10", quiet)
