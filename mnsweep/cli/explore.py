"""`mnsweep explore`: predict a thousand designs from a dozen measurements."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mnsweep.app.requests import ExploreRequest
from mnsweep.cli import STARTED, elsewhere, output
from mnsweep.cli import options as o
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.app.explore import ExploreOutcome
    from mnsweep.prediction.latency_model import Errors
    from mnsweep.sweep.derive import Outcome

EXAMPLE = "Example: mnsweep explore --measure 16 --validate 30"
PARTIAL = 3
SHOWN = 20  # cells of the predicted frontier; -v shows all


@o.takes(ExploreRequest)
def explore(
    request: ExploreRequest,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    csv: output.Csv = False,
    markdown: output.Markdown = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Explore a fine grid: measure a dozen designs, predict all others, verify the most promising.

    Latencies are predicted by a model of the work in each design, with 95 %
    intervals. Accuracies are predicted by a surface through the published ones.
    'mnsweep pick' chooses among all designs and measures its choice.
    """
    from mnsweep.app.explore import explore as explore_space
    from mnsweep.cli.progress import Narrator
    from mnsweep.cli.show import advise_files, print_json, warn

    o.check_exclusive(quiet=quiet, verbose=verbose)
    form = output.form_of(json=json, csv=csv, markdown=markdown)
    if elsewhere.is_asked(request.elsewhere, form, dry_run=dry_run):
        _explore_on(request, form, quiet, verbose)
        return
    if dry_run:
        _print_plan(request, json)
        return
    with Narrator(quiet) as listener:
        outcome = explore_space(request, listener, began=STARTED, draw=False)
    if json:
        print_json(_document(outcome))
    else:
        _print(outcome.derived, form, verbose)
    for cell, reason in outcome.derived.failures.items():
        warn(f"{cell} failed: {reason}")
    outcome.derived.draw()
    advise_files(outcome.derived, quiet)
    if outcome.derived.failures:
        raise typer.Exit(PARTIAL)


def _explore_on(request: ExploreRequest, form: output.Form, quiet: bool, verbose: bool) -> None:
    from mnsweep.app.elsewhere import explore_on

    with elsewhere.FleetNarrator(quiet) as watcher:
        measured = explore_on(request, watcher)
    elsewhere.draw_all({host: outcome.derived for host, outcome in measured.outcomes.items()}, quiet)
    elsewhere.show(measured, form, _document, lambda outcome: _print(outcome.derived, form, verbose))
    if any(outcome.derived.failures for outcome in measured.outcomes.values()):
        raise typer.Exit(PARTIAL)


def _print_plan(request: ExploreRequest, json: bool) -> None:
    from mnsweep.app.explore import plan_exploration
    from mnsweep.cli.show import print_json

    plan = plan_exploration(request)
    aims, measure, cells = plan.aims, plan.measure, plan.sweep.cells
    designs, deployments = ({getattr(cell, name) for cell in cells} for name in ("design", "deployment"))
    if json:
        sizes = {"designs": len(designs), "deployments": len(deployments), "measure": measure}
        more = {"verify": aims.verify, "validate": aims.validate, "seconds": round(plan.seconds, 1)}
        print_json({"sweep": plan.sweep.name, **sizes, **more})
        return
    head = f"{count_of(len(designs), 'design')} in {count_of(len(deployments), 'deployment')}"
    to_do = f"{count_of(measure, 'cell')} to learn from, {aims.verify} to verify, {aims.validate} to validate"
    typer.echo(f"{head}: {to_do}, about {plan.seconds:.0f} s; the others are predicted")


def _document(outcome: "ExploreOutcome") -> dict[str, Any]:
    from mnsweep.cli.show import about_sweep, cells_of

    derived = outcome.derived
    return {
        **about_sweep(derived),
        "skipped": outcome.skipped,
        "model": _model(derived),
        "verification": derived.verification and _flat(asdict(derived.verification)),
        "validation": derived.validation and _flat(asdict(derived.validation)),
        "cells": cells_of(derived.results),
    }


def _model(derived: "Outcome") -> dict[str, Any]:
    """Leave-one-out errors over all deployments, then the errors and coefficients of each deployment's model."""
    models = [
        {**asdict(deployment), "measured": len(m.cells), "prior": m.prior, **_loo(m.errors), "coefficients": m.coefficients}
        for deployment, m in derived.known.models.items()
    ]
    return {**_loo(derived.errors), "deployments": models}


def _loo(errors: "Errors") -> dict[str, float]:
    return {f"loo_{name}": value for name, value in asdict(errors).items()}


def _flat(content: "dict[str, Any]") -> dict[str, Any]:
    """The same entries, with `errors` replaced by its entries."""
    errors = content.pop("errors")
    return {"designs": content.pop("designs"), **errors, **content}


def _print(derived: "Outcome", form: output.Form, verbose: bool) -> None:
    from mnsweep.choice.search import representatives
    from mnsweep.cli.first_look import print_frontier

    frontier = {r.cell: r.latency_p50_ms or 0.0 for r in derived.results if r.predicted_on_frontier}
    shown = representatives(list(frontier), frontier, len(frontier) if verbose else SHOWN)
    results = sorted((r for r in derived.results if r.cell in shown), key=lambda r: r.latency_p50_ms or 0.0)
    output.print_results(derived.results if form is output.Form.CSV else results, form, measured=True)
    print_frontier(derived.results, form)
    if len(frontier) > len(shown):
        output.say(f"{len(shown)} of {len(frontier)} cells of the predicted frontier, evenly spread; -v shows all", form)
    output.say(f"model        {_words(derived.errors)}, each measured cell predicted from the others", form)
    for line in (*_prior(derived), *_verification(derived), *_validation(derived)):
        output.say(line, form)


def _prior(derived: "Outcome") -> list[str]:
    """Whether other machines had a say, if any could have."""
    from mnsweep.prediction.latency_model import DROPPED, NO_PRIOR

    models = derived.known.models
    if all(model.prior == NO_PRIOR for model in models.values()):
        return []
    dropped = sum(model.prior == DROPPED for model in models.values())
    if not dropped and (like := derived.known.prediction.like):
        return [f"             fitted from the models of sweep {like.sweep} on {like.machine}"]
    if not dropped:
        return ["             fitted with a weak prior from the reference runs of other machines"]
    which = "" if len(models) == 1 else f"for {dropped} of {len(models)} models, "
    return [f"             {which}the prior from other machines was dropped: the measurements contradict it"]


def _verification(derived: "Outcome") -> list[str]:
    if (verification := derived.verification) is None:
        return []
    cells = f"on {count_of(verification.designs, 'cell')} of the predicted frontier"
    lost = f"mean {verification.mean_regret:.2f}, worst {verification.worst_regret:.2f} points"
    return [f"verification {_words(verification.errors)}, {cells}; quality lost against what was predicted: {lost}"]


def _validation(derived: "Outcome") -> list[str]:
    if (validation := derived.validation) is None:
        return []
    tau = "–" if validation.kendall_tau is None else f"{validation.kendall_tau:.3f}"
    floor = "–" if validation.repeatability_pct is None else f"{validation.repeatability_pct:.1f} %"
    return [
        f"validation   {_words(validation.errors)}, on {validation.designs} fresh random cells",
        f"             {validation.within_5_pct:.0f} % of them within ± 5 %, {validation.within_10_pct:.0f} % within ± 10 %, "
        f"{validation.interval_coverage:.0f} % in their 95 % interval; Kendall's tau {tau}",
        *(f"             {name}: {_words(errors)}" for name, errors in validation.baselines.items()),
        f"             repeated measurements differ by {floor} on average",
    ]


def _words(errors: "Errors") -> str:
    return f"mean error {errors.mean_pct:.1f} %, 95th percentile {errors.p95_pct:.1f} %, worst {errors.worst_pct:.1f} %"
