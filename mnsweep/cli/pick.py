"""`mnsweep pick`: choose from the measured and predicted cells."""

import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mnsweep.app.requests import PickRequest
from mnsweep.cli import options as o
from mnsweep.cli.export import warn_of
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
    from mnsweep.cli.show import advise
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
    outcome = pick_cell(request, verify, write)
    _print(outcome, json)
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
    if outcome.exported is None:
        asked = {"sweep": name, **changed(request)}
        advise(f"next: mnsweep pick {o.as_flags(asked)} --export model.onnx", quiet)


def _print(outcome: "PickOutcome", json: bool) -> None:
    from mnsweep.cli.show import print_json, sentence, warn, with_flags

    choice, reason = outcome.choice, with_flags(outcome.choice.reason)
    path = outcome.exported and str(outcome.exported.path)
    if json:
        both = {"choice": choice.choice, "runner_up": choice.runner_up}
        cells = {name: result and asdict(result) for name, result in both.items()}
        print_json({**cells, "onnx_path": path, "reason": reason})
    elif choice.choice is None:
        warn(reason)
    else:
        runner_up = sentence(choice.runner_up) if choice.runner_up else "none: no other cell meets the constraints"
        typer.echo(f"choice     {sentence(choice.choice)}\nrunner-up  {runner_up}")
        typer.echo("why        " + reason.replace("; ", ";\n           "))
        if path:
            typer.echo(f"file       {path}")
