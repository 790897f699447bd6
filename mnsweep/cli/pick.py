"""`mnsweep pick`: choose from what was measured."""

import shlex
import sys
from dataclasses import asdict
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from mnsweep.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnsweep.choice.constraints import Constraints
    from mnsweep.choice.ranking import Choice
    from mnsweep.result import Result
    from mnsweep.sweep.store import SweepFolder

EXAMPLE = "Example: mnsweep pick --max-latency-ms 20 --max-size-mb 10"
NOTHING_FEASIBLE = 1
BUDGETS = "Constraints (any combination)"


def pick(
    max_latency_ms: Annotated[
        Optional[float], typer.Option(help="Budget for the upper end of the latency interval.", rich_help_panel=BUDGETS)
    ] = None,
    margin_pct: Annotated[float, typer.Option(help="Keep this much below the latency budget.", rich_help_panel=BUDGETS)] = 0.0,
    min_top1: Annotated[
        Optional[float], typer.Option(help="Least top-1 accuracy in %, or the task's own quality.", rich_help_panel=BUDGETS)
    ] = None,
    max_params_m: Annotated[
        Optional[float], typer.Option(help="Most parameters, in millions.", rich_help_panel=BUDGETS)
    ] = None,
    max_mult_adds_m: Annotated[
        Optional[float], typer.Option(help="Most mult-adds, in millions.", rich_help_panel=BUDGETS)
    ] = None,
    max_size_mb: Annotated[
        Optional[float], typer.Option(help="Largest ONNX file, in 10⁶ bytes.", rich_help_panel=BUDGETS)
    ] = None,
    max_memory_mb: Annotated[
        Optional[float], typer.Option(help="Most peak activation memory, in 10⁶ bytes.", rich_help_panel=BUDGETS)
    ] = None,
    max_memory_kb: Annotated[
        Optional[float], typer.Option(help="The same in 10³ bytes, for microcontrollers.", rich_help_panel=BUDGETS)
    ] = None,
    precision: Annotated[
        Optional[str], typer.Option(help="Only these precisions: fp32,int8. Default: any.", rich_help_panel=BUDGETS)
    ] = None,
    runtime: Annotated[
        Optional[str], typer.Option(help="Only these runtimes: onnxruntime. Default: any.", rich_help_panel=BUDGETS)
    ] = None,
    task: Annotated[
        Optional[str], typer.Option(help="Only networks for this task, as ssd. Default: any.", rich_help_panel=BUDGETS)
    ] = None,
    percentile: Annotated[
        Optional[int],
        typer.Option(help="Hold the budget against this percentile of measured runs: 90 or 99.", rich_help_panel=BUDGETS),
    ] = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Answer from predictions; by default the choice is measured first.")
    ] = False,
    wait: o.Wait = False,
    sweep: Annotated[Optional[str], typer.Option(help="Name or folder of the sweep. Default: newest of this machine.")] = None,
    export: Annotated[Optional[Path], typer.Option(help="Also write the choice as an ONNX file.")] = None,
    calibration: o.Calibration = None,
    results_dir: o.ResultsDir = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Pick the most accurate MobileNet that meets every constraint.

    A cell meets a latency budget only when the upper end of its 95 % interval does. What `mnsweep explore`
    predicted is measured before it is picked. With no upper bound on anything, as with --min-top1 alone, the
    fastest cell is picked. Exit status 1: none meets them.
    """
    from mnsweep.choice.constraints import Constraints
    from mnsweep.cli.show import advise
    from mnsweep.machine.fingerprint import read_machine
    from mnsweep.sweep.store import CELLS, find_results, results_dir_or_default

    constraints = Constraints(
        max_latency_ms=max_latency_ms,
        margin_pct=margin_pct,
        min_top1=min_top1,
        max_params_m=max_params_m,
        max_mult_adds_m=max_mult_adds_m,
        max_size_mb=max_size_mb,
        max_memory_mb=max_memory_mb,
        max_memory_kb=max_memory_kb,
        precision=precision,
        runtime=runtime,
        percentile=percentile,
        task=task,
    )
    folder = find_results(results_dir_or_default(results_dir), read_machine().key, sweep)
    choice = _choose(folder, constraints, verify=not no_verify, wait=wait, quiet=quiet)
    onnx_path = _export(choice, export, calibration)
    _print(choice, onnx_path, json)
    advise(f"read {folder.path / CELLS}", quiet=not verbose)
    if choice.choice is None:
        raise typer.Exit(NOTHING_FEASIBLE)
    advise(f"reproduce: mnsweep {shlex.join(sys.argv[1:])} --sweep {folder.sweep}", quiet or sweep is not None)
    if onnx_path is None:
        again = _as_flags(constraints, sweep=sweep or folder.sweep, **o.given(results_dir=results_dir))
        advise(f"next: mnsweep pick {again} --export model.onnx", quiet)


def _as_flags(constraints: "Constraints", **where: object) -> str:
    return o.as_flags({**where, **{name: bound for name, bound in asdict(constraints).items() if bound}})


def _choose(folder: "SweepFolder", constraints: "Constraints", *, verify: bool, wait: bool, quiet: bool) -> "Choice":
    from mnsweep.choice.ranking import pick as choose
    from mnsweep.result import PREDICTED
    from mnsweep.sweep.cells_file import from_csv
    from mnsweep.sweep.store import CELLS

    results = from_csv(folder.read_text(CELLS), folder.path / CELLS)
    if verify and any(r.latency_source == PREDICTED for r in results):
        return _verified(results, constraints, folder, wait=wait, quiet=quiet)
    return choose(results, constraints)


def _verified(
    results: "Sequence[Result]", constraints: "Constraints", folder: "SweepFolder", *, wait: bool, quiet: bool
) -> "Choice":
    """The choice with what it needs measured: this path alone loads a runtime."""
    from mnsweep.app.exploration import verified
    from mnsweep.cli.progress import progress
    from mnsweep.cli.show import advise
    from mnsweep.machine.lock import measuring

    with measuring(wait), progress(quiet) as on_status:
        on_stage = partial(advise, quiet=quiet)
        return verified(results, constraints, folder, on_status=on_status, on_stage=on_stage)


def _export(choice: "Choice", path: Path | None, calibration: Path | None) -> Path | None:
    """The chosen network as it was measured: at its precision, on its channels."""
    if path is None or choice.choice is None:
        return None
    from mnsweep.cell import Cell
    from mnsweep.cli.export import write_random_network

    cell, channels = Cell(choice.choice.design, choice.choice.deployment), choice.choice.channels
    return write_random_network(cell, path, "--export", channels=channels, calibration=calibration)


def _print(choice: "Choice", onnx_path: Path | None, json: bool) -> None:
    from mnsweep.cli.show import sentence, with_flags

    reason = with_flags(choice.reason)
    if json:
        document = {
            "schema_version": 1,
            "choice": choice.choice and asdict(choice.choice),
            "runner_up": choice.runner_up and asdict(choice.runner_up),
            "onnx_path": onnx_path and str(onnx_path),
            "reason": reason,
        }
        typer.echo(dumps(document, indent=2, allow_nan=False))
    elif choice.choice is None:
        typer.echo(f"mnsweep: {reason}", err=True)
    else:
        typer.echo(f"choice     {sentence(choice.choice)}")
        typer.echo(
            f"runner-up  {sentence(choice.runner_up) if choice.runner_up else 'none: no other cell meets the constraints'}"
        )
        typer.echo("why        " + reason.replace("; ", ";\n           "))
        if onnx_path:
            typer.echo(f"file       {onnx_path}")
