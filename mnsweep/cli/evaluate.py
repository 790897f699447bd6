"""`mnsweep evaluate`: score a file on labelled pictures, or compare two."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from mnsweep.app.requests import EvaluateRequest
from mnsweep.cli import options as o
from mnsweep.errors import MnsweepError
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.app.evaluate import Evaluation

EXAMPLE = "Example: mnsweep evaluate model.onnx --data validation"
SHOWN_BROKEN = 5


@o.takes(EvaluateRequest)
def evaluate(request: EvaluateRequest, json: o.Json = False, quiet: o.Quiet = False) -> None:
    """What a file scores on your labelled pictures, with a 95 % interval.

    Top-1 and top-5, or the metric of the file's task: mean AP, mAP, true accepts,
    the share within 25 km. The deployed file is run, picture by picture, as a program of yours would
    run it. --data is a folder with a folder for each class, a flat folder
    with --labels, or a CSV file. --against compares with another file on the
    same pictures; it needs no labels. --sweep scores the cells of a sweep that
    were measured with trained weights, and makes that its accuracy axis.
    """
    from mnsweep.app.evaluate import evaluate as evaluate_file
    from mnsweep.app.score_plot import check_plot, write_plot
    from mnsweep.cli.progress import counting
    from mnsweep.cli.show import advise, print_json, warn

    if request.sweep is not None and request.elsewhere.fleet is not None:
        raise MnsweepError("`sweep` and `fleet` contradict each other", "name a file, or leave `fleet` out")
    if request.sweep is not None:
        _evaluate_sweep(request, json, quiet)
        return
    check_plot(request)
    if request.elsewhere.fleet is None:
        with counting(quiet) as progress:
            done = evaluate_file(request, progress)
    else:
        done = _evaluated_elsewhere(request, quiet)
    if request.plot is not None:
        write_plot(done, request.plot)
        advise(f"plot: {request.plot}", quiet)
    if json:
        print_json(_document(done))
    else:
        _print(done, request)
    for remark in (*done.examples.remarks, *(done.score.remarks if done.score else ())):
        warn(remark)
    broken = list(done.broken.values())
    for reason in broken[:SHOWN_BROKEN]:
        warn(reason)
    if len(broken) > SHOWN_BROKEN:
        warn(f"{len(broken)} pictures can't be read and do not count; --json lists them")
    busy = f"; the network was running for {100 * done.busy_share:.0f} % of the time, the rest is decoding"
    speed = f"{count_of(done.images, 'picture')} in {done.seconds:.1f} s, {done.images_per_s:.0f} a second"
    advise(speed + busy * (request.elsewhere.fleet is None), quiet)


def _evaluated_elsewhere(request: EvaluateRequest, quiet: bool) -> "Evaluation":
    from mnsweep.app.shards import evaluate_elsewhere
    from mnsweep.cli.elsewhere import FleetNarrator

    with FleetNarrator(quiet) as watcher:
        return evaluate_elsewhere(request, watcher)


def _document(done: "Evaluation") -> dict[str, object]:
    from mnsweep.app.evaluate import quality_columns

    score, comparison = done.score, done.comparison
    document: dict[str, object] = {
        **quality_columns(done),
        **(score.details if score else {}),
        "images": done.images,
        "broken": [str(path) for path in done.broken],
        "seconds": done.seconds,
        "images_per_s": done.images_per_s,
        "busy_share": done.busy_share,
        "by_class": {label: {"images": images, "right": right} for label, (images, right) in done.of_class.items()},
        "confusions": [{"label": label, "answer": answer, "images": n} for label, answer, n in done.confused],
    }
    if comparison:
        document |= {
            "agreement_pct": comparison.agreement_pct,
            "max_probability_difference": comparison.max_probability_difference,
            "mcnemar_p": comparison.mcnemar_p,
        }
    return document


def _details(details: Mapping[str, Any]) -> Iterator[str]:
    """The other figures of a kind of label, a line each."""
    for name, value in details.items():
        match name:
            case "ap_pct":
                yield from (f"  {'  –  ' if pct is None else f'{pct:5.1f}'} % AP of {label}" for label, pct in value.items())
            case "roc":
                yield from (
                    f"  {100 * p['true_accepts']:5.1f} % accepted at {100 * p['false_accepts']:g} % false accepts"
                    for p in value
                )
            case _:
                words = name.removesuffix("_pct").replace("_", " ").replace("km", " km").replace("  ", " ")
                yield f"  {value:5.1f} % {words}" if name.endswith("_pct") else f"  {value:,.6g} {words}"


def _print(done: "Evaluation", request: EvaluateRequest) -> None:
    from mnsweep.accuracy.metrics import METRICS

    if score := done.score:
        interval = f"95 % interval {score.ci_low_pct:.1f} to {score.ci_high_pct:.1f} %"
        name = METRICS[score.metric].short
        typer.echo(f"{name:<10} {score.quality_pct:.2f} % of {count_of(score.images, 'picture')} ({interval})")
        if score.top5_pct is not None:
            typer.echo(f"top-5      {score.top5_pct:.2f} %")
        for line in _details(score.details):
            typer.echo(line)
    else:
        typer.echo(f"top-1      unknown: the {count_of(done.images, 'picture')} have no labels")
    if done.broken:
        typer.echo(
            f"left out   {len(done.broken):,} of {count_of(done.images + len(done.broken), 'picture')}: they can't be read"
        )
    if comparison := done.comparison:
        typer.echo(f"against    {request.against}: the same answer for {comparison.agreement_pct:.1f} % of the pictures,")
        typer.echo(f"           probabilities at most {comparison.max_probability_difference:.3f} apart")
        if comparison.mcnemar_p is not None:
            typer.echo(f"           McNemar's test that both are right equally often: p = {comparison.mcnemar_p:.3g}")
    if request.by_class:
        for label, (images, right) in done.of_class.items():
            typer.echo(f"  {100 * right / images:5.1f} % of {images:<6} {label}")
        for label, answer, number in done.confused:
            typer.echo(f"  {number:5} × {label} taken for {answer}")


def _evaluate_sweep(request: EvaluateRequest, json: bool, quiet: bool) -> None:
    from mnsweep.app.evaluate_sweep import evaluate_sweep
    from mnsweep.cli.progress import counting
    from mnsweep.cli.show import about_sweep, advise_files, cells_of, console, print_json, results_table

    with counting(quiet) as progress:
        done = evaluate_sweep(request, progress)
    if json:
        print_json({**about_sweep(done.derived), "cells": cells_of(done.scored)})
    else:
        console().print(results_table(done.scored, measured=True))
    advise_files(done.derived, quiet)
