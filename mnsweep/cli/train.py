"""`mnsweep train`: train networks on labelled pictures."""

from typing import TYPE_CHECKING, Any

import typer

from mnsweep.app.requests import TrainRequest
from mnsweep.cli import options as o
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.app.train import TrainOutcome

EXAMPLE = "Example: mnsweep train --alpha 0.25 --res 64 --data pictures --name first"
PARTIAL = 3


@o.takes(TrainRequest)
def train(request: TrainRequest, dry_run: o.DryRun = False, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Train networks on your pictures; their accuracies become a quality source.

    --data is a folder with train/ and val/, each with a folder for every class,
    or one folder of class folders, of which a fifth is held out. Accuracies are
    those of the deployed files on the validation pictures. A training that was
    stopped goes on from its last epoch: run the same command again. 'mnsweep
    grid --quality-source trained:NAME' then measures the networks of the run.
    """
    from mnsweep.app.train import train as train_run
    from mnsweep.cli.show import advise, print_json, warn
    from mnsweep.cli.training_progress import Narrated

    if dry_run:
        _print_plan(request, json)
        return
    if request.elsewhere.fleet is None:
        with Narrated(quiet) as reports:
            done = train_run(request, reports)
    else:
        done = _trained_elsewhere(request, quiet)
    rows = done.rows()
    if json:
        print_json(rows[0] if len(rows) == 1 and not done.failures else {"runs": rows})
    else:
        for row in rows:
            typer.echo(_sentence(row))
    for path, reason in list(done.broken.items())[:5]:
        warn(f"left out {path.name}: {reason}")
    for cell, reason in done.failures.items():
        warn(f"{cell} failed: {reason}")
    sizes = {(record.cell.split("_")[0][1:], record.cell.split("_")[1][1:]) for record in done.records}
    alphas, resolutions = (",".join(sorted({size[i] for size in sizes}, key=float)) for i in (0, 1))
    advise(f"weights, curves and scores: {done.folder}", quiet)
    source = f"--quality-source trained:{done.name}"
    advise(f"next: mnsweep grid --alpha {alphas} --res {resolutions} {source}", quiet)
    if done.failures:
        raise typer.Exit(PARTIAL)


def _trained_elsewhere(request: TrainRequest, quiet: bool) -> "TrainOutcome":
    from mnsweep.app.train_elsewhere import train_elsewhere
    from mnsweep.cli.elsewhere import FleetNarrator

    with FleetNarrator(quiet) as watcher:
        return train_elsewhere(request, watcher)


def _print_plan(request: TrainRequest, json: bool) -> None:
    from mnsweep.app.train import estimate_train
    from mnsweep.cli.show import print_json
    from mnsweep.tasks.kinds import kind_of

    plan, estimates = estimate_train(request)
    rows = [
        {
            "cell": e.training.cell,
            "epochs": e.training.recipe.epochs,
            "seconds": e.seconds,
            "memory_bytes": e.memory_bytes,
            "started_from": plan.start_file or None,
        }
        for e in estimates
    ]
    total = sum(e.seconds for e in estimates)
    if json:
        print_json({"plan": rows, "seconds": total, "memory_bytes": max(e.memory_bytes for e in estimates)})
        return
    split = plan.split
    held = "" if split.is_own else ", held out"
    typer.echo(
        f"{count_of(len(split.train.paths), 'picture')} of {len(split.names):,} {kind_of(plan.task).what} to train on, "
        f"{len(split.validation.paths):,} to validate on{held}"
    )
    for e in estimates:
        epochs = count_of(e.training.recipe.epochs, "epoch")
        typer.echo(f"  {e.training.cell:<20} {epochs:>10}  {e.seconds:7.0f} s  {e.memory_bytes / 1e9:5.1f} GB")
    typer.echo(f"about {total / 60:.0f} min in all, as this machine is now; nothing was trained")


def _sentence(row: dict[str, Any]) -> str:
    from mnsweep.accuracy.metrics import METRICS

    interval = f"95 % interval {row['quality_ci_low_pct']:.1f} to {row['quality_ci_high_pct']:.1f} %"
    how = (
        f", quantized {row['quantization'].replace('quantization-aware', 'by quantization-aware')}"
        if row["quantization"]
        else ""
    )
    epochs = count_of(row["epochs"], "epoch")
    metric = METRICS[row["metric"]].short
    return f"{row['cell']}: {metric} {row['quality_pct']:.1f} % ({interval}), {epochs} in {row['seconds']:.0f} s{how}"
