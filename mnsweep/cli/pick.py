"""`mnsweep pick`: choose from the measured and predicted cells."""

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from mnsweep.app.requests import PickRequest
from mnsweep.cli import elsewhere, output
from mnsweep.cli import options as o
from mnsweep.cli.export import warn_of
from mnsweep.errors import MnsweepError
from mnsweep.options import changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnsweep.app.export import Exported
    from mnsweep.app.pick import PickOutcome
    from mnsweep.choice.constraints import Constraints
    from mnsweep.choice.ranking import Choice
    from mnsweep.result import Result
    from mnsweep.sweep.store import SweepFolder

EXAMPLE = "Example: mnsweep pick --max-latency-ms 20 --max-size-mb 10"
NOTHING_FEASIBLE = 1


@o.takes(PickRequest)
def pick(request: PickRequest, json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None:
    """Pick the most accurate MobileNet that meets every constraint.

    A cell meets a latency budget only if the upper end of its 95 % interval
    does. A cell predicted by 'mnsweep explore' is measured before it is picked.
    Without an upper bound, e.g. with --min-top1 alone, the fastest cell that
    meets the constraints is picked. Exit status 1: no cell meets them.
    """
    from mnsweep.app.pick import pick as pick_cell
    from mnsweep.cli.show import advise, print_json
    from mnsweep.sweep.store import CELLS

    def verify(results: "Sequence[Result]", constraints: "Constraints", folder: "SweepFolder") -> "Choice":
        from mnsweep.app.verify import verified  # only needed here; loads the measuring code
        from mnsweep.cli.progress import Narrator

        with Narrator(quiet) as listener:
            return verified(results, constraints, folder, wait=request.turn.wait, listener=listener)

    def write(choice: "Result", folder: "SweepFolder") -> "Exported":
        from mnsweep.app.export import export_choice

        return export_choice(choice, request, folder)

    o.check_exclusive(quiet=quiet, verbose=verbose)
    form = output.form_of(json=json, csv=False, markdown=False)
    if elsewhere.is_asked(request.elsewhere, form):
        _pick_on(request, form, quiet)
        return
    outcome = pick_cell(request, verify, write)
    print_json(_document(outcome)) if json else _print(outcome)
    if outcome.exported:
        warn_of(outcome.exported)
    if verbose:
        advise(f"read {outcome.folder.path / CELLS}")
    if outcome.choice.choice is None:
        raise typer.Exit(NOTHING_FEASIBLE)
    _advise_next(request, outcome, quiet)


def _advise_next(request: PickRequest, outcome: "PickOutcome", quiet: bool) -> None:
    from mnsweep.cli.show import advise

    name = outcome.folder.sweep
    if request.sweep is None:
        advise(f"reproduce: mnsweep {shlex.join(sys.argv[1:])} --sweep {name}", quiet)
    if outcome.exported is None and not outcome.machines:
        asked = {"sweep": name, **changed(request)}
        advise(f"next: mnsweep pick {o.as_flags(asked)} --export model.onnx", quiet)


def _pick_on(request: PickRequest, form: output.Form, quiet: bool) -> None:
    from mnsweep.app.elsewhere import pick_on

    if request.export and "," in (request.elsewhere.on or ""):
        raise MnsweepError("`export` writes one file, and `on` names several machines", "name one machine, or leave it out")
    with elsewhere.FleetNarrator(quiet) as watcher:
        measured = pick_on(request, watcher)
    elsewhere.show(measured, form, _document, _print)
    if any(outcome.choice.choice is None for outcome in measured.outcomes.values()):
        raise typer.Exit(NOTHING_FEASIBLE)


def _document(outcome: "PickOutcome") -> dict[str, Any]:
    from mnsweep.cli.show import with_flags

    both = {"choice": outcome.choice.choice, "runner_up": outcome.choice.runner_up}
    cells = {name: result and asdict(result) for name, result in both.items()}
    path = outcome.exported and str(outcome.exported.path)
    machines = {key: result and asdict(result) for key, result in outcome.machines.items()}
    about = {"machines": machines} if machines else {}
    return {**cells, "onnx_path": path, "reason": with_flags(outcome.choice.reason), **about}


def _print(outcome: "PickOutcome") -> None:
    from mnsweep.cli.show import sentence, warn, with_flags
    from mnsweep.result import ms_text

    choice, reason = outcome.choice, with_flags(outcome.choice.reason)
    if choice.choice is None:
        warn(reason)
        return
    runner_up = sentence(choice.runner_up) if choice.runner_up else "none: no other cell meets the constraints"
    typer.echo(f"choice     {sentence(choice.choice)}\nrunner-up  {runner_up}")
    typer.echo("why        " + reason.replace("; ", ";\n           "))
    for key, result in outcome.machines.items():
        typer.echo(f"on         {key}: {ms_text(result.latency_p50_ms if result else None)} ms")
    if outcome.exported:
        typer.echo(f"file       {outcome.exported.path}")
