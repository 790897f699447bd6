"""The Python API: the commands as typed functions that return data frames.

Columns are those of `cells.csv` (see `mnsweep.result.Result` for their meaning and units).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from mnsweep.accuracy.published import DEFAULT_SOURCE
from mnsweep.app.exploration import Aims, verified
from mnsweep.app.exploration import explore as run_exploration
from mnsweep.arch.deployed import deployed_channels
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import Choice
from mnsweep.choice.ranking import pick as choose
from mnsweep.errors import StoreError
from mnsweep.lab import RULES, ask_for_space, open_lab
from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import measuring
from mnsweep.measure.campaign import Status
from mnsweep.measure.rounds import Rules
from mnsweep.measure.rounds import quick as quickly
from mnsweep.prediction.latency_model import from_json
from mnsweep.prepare.deploy import Prepared, prepare_export
from mnsweep.result import COLUMNS, PREDICTED, Result, from_csv
from mnsweep.session import Request, begin, get_ready, merge, run
from mnsweep.space import FINE_ALPHAS, FINE_RESOLUTIONS, AxisValue, Space
from mnsweep.sweep.derive import Outcome, read
from mnsweep.sweep.file import ask_for_sweep
from mnsweep.sweep.store import CELLS, MODEL, SweepFolder, find_results, results_dir_or_default
from mnsweep.sweep.table import count_table, with_predictions
from mnsweep.worker.proxy import Worker


def count(
    alpha: AxisValue | None = None,
    res: AxisValue | None = None,
    *,
    quality_source: str = DEFAULT_SOURCE,
    **settings: Any,
) -> pd.DataFrame:
    """Params, mult-adds, file size and activation memory of a grid (the paper's by default), and published accuracies.

    Nothing is run. `settings` are the other fields of `mnsweep.space.Space`. Raises `MnsweepError` on a bad value.
    """
    return _frame(count_table(Space(alpha, res, **settings).cells(), quality_source))


def grid(
    alpha: AxisValue | None = None,
    res: AxisValue | None = None,
    *,
    sweep: str | None = None,
    name: str | None = None,
    quick: bool = False,
    rules: Rules | None = None,
    fresh: bool = False,
    quality_source: str | None = None,
    results_dir: str | Path | None = None,
    on_status: Callable[[Status], None] = lambda status: None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a grid (the paper's by default), or the sweep that `sweep` names, on this machine; one row for each cell.

    Continues where an earlier call of the same name stopped; `fresh` sets that one aside. `quick` takes a
    fixed small number of rounds, `rules` say in detail how long and how narrow. The frame's
    `attrs` hold `sweep`, `machine`, `results_dir`, and `failures` and `skipped` (cell → reason). Raises `MnsweepError`.
    """
    directory = results_dir_or_default(results_dir)
    axes = {key: value for key, value in {"alpha": alpha, "res": res, **settings}.items() if value is not None}
    asked = ask_for_sweep(sweep, name, axes, quality_source, directory, usable_threads=read_facts().usable_threads)
    machine = read_machine()
    folder = SweepFolder(directory / asked.name / machine.key)
    chosen = rules or Rules()
    with measuring(wait=False):
        if fresh:
            folder.set_aside()
        request = Request(merge(asked, folder), quickly(chosen) if quick else chosen)
        outcome, prepared = _measured(request, folder, machine, on_status)
    frame = _frame(outcome.results)
    frame.attrs.update(_about(outcome, prepared.skipped))
    return frame


def _about(outcome: Outcome, skipped: Mapping[str, str]) -> dict[str, Any]:
    folder = outcome.folder
    return {
        "sweep": folder.sweep,
        "machine": folder.machine,
        "results_dir": str(folder.path),
        "failures": dict(outcome.failures),
        "skipped": dict(skipped),
    }


def _measured(
    request: Request, folder: SweepFolder, machine: Machine, on_status: Callable[[Status], None]
) -> tuple[Outcome, Prepared]:
    request, plan, prepared = get_ready(request, begin(request, folder, machine), folder)
    return run(request, plan, prepared, folder, on_status), prepared


def explore(
    alpha: AxisValue = FINE_ALPHAS,
    res: AxisValue = FINE_RESOLUTIONS,
    *,
    aims: Aims | None = None,
    name: str = "explore",
    fresh: bool = False,
    extrapolate: bool = False,
    rules: Rules = RULES,
    quality_source: str | None = None,
    results_dir: str | Path | None = None,
    on_status: Callable[[Status], None] = lambda status: None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a few designs of a fine grid on this machine and predict the others; one row for each cell.

    `aims` say how many to measure, to verify and to validate with. Continues where an earlier call stopped. The frame's
    `attrs` hold those of `grid`, and `model`, `verification` and `validation` (dataclasses of
    `mnsweep.explore`; None where nothing was verified). Raises `MnsweepError`.
    """
    directory = results_dir_or_default(results_dir)
    asked = ask_for_space(name, {"alpha": alpha, "res": res, **settings}, quality_source, extrapolate, directory)
    machine = read_machine()
    folder = SweepFolder(directory / asked.name / machine.key)
    with measuring(wait=False):
        if fresh:
            folder.set_aside()
        lab = open_lab(asked, folder, machine, rules, on_status)
        outcome = run_exploration(lab, aims or Aims())
    frame = _frame(outcome.results)
    frame.attrs.update(
        _about(outcome, lab.skipped),
        model=outcome.errors,
        verification=outcome.verification,
        validation=outcome.validation,
    )
    return frame


def predict(
    alpha: AxisValue,
    res: AxisValue,
    *,
    sweep: str | None = None,
    extrapolate: bool = False,
    results_dir: str | Path | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """What the saved models of an exploration (the newest of this machine, or `sweep`) say of any cells; nothing is measured.

    A cell whose deployment has no model has no latency. Raises `StoreError` where there is no model, or one of another version.
    """
    folder = find_results(results_dir_or_default(results_dir), read_machine().key, sweep)
    if not (folder.path / MODEL).exists():
        raise StoreError(f"{folder.path}: holds no latency models; run 'mnsweep explore' first, or name its sweep")
    models, known = from_json(folder.read_text(MODEL), folder.path / MODEL), read(folder)
    cells = Space(alpha, res, **settings).cells()
    channels = deployed_channels(cells, {}, known.records.probes)
    source = known.sweep.quality_source
    counted = count_table(cells, source, channels)
    return _frame(with_predictions(counted, cells, models, channels, known.movement, source, extrapolate))


def pick(sweep: str | None = None, *, verify: bool = True, results_dir: str | Path | None = None, **constraints: Any) -> Choice:
    """The best cell of the newest sweep of this machine, or of `sweep`, that meets the constraints.

    What was only predicted is measured before it is chosen, unless `verify` is false. `constraints` are the fields of
    `mnsweep.choice.constraints.Constraints`. `Choice.choice` is None when no cell meets them; the reason says which is
    nearest. Raises `StoreError` where there are no results.
    """
    folder = find_results(results_dir_or_default(results_dir), read_machine().key, sweep)
    results, asked = from_csv(folder.read_text(CELLS), folder.path / CELLS), Constraints(**constraints)
    if not verify or all(r.latency_source != PREDICTED for r in results):
        return choose(results, asked)
    with measuring(wait=False):
        return verified(results, asked, folder)


def export(
    alpha: float,
    res: int,
    out: str | Path,
    *,
    batch: int | None = 1,
    precision: str = "fp32",
    pad: str = "none",
    calibration: str | Path | None = None,
    seed: int = 0,
    **settings: Any,
) -> Path:
    """Write one design with seeded random weights (for timing only) as ONNX; `batch=None` is symbolic.

    `pad` is `none`, a multiple, or `auto`: what pays in onnxruntime on this CPU. int8 scales come from the pictures in
    the folder `calibration`, or from synthetic ones. `settings` are the other fields of `Design`. Returns the path.
    Raises `MnsweepError` on a bad value and `OSError` when the file can't be written.
    """
    cell = Cell(Design.of(alpha, res, **settings), Deployment(precision, batch=batch or 1, pad=pad))
    prepared = prepare_export(Worker, cell, seed, folder=None if calibration is None else Path(calibration))
    path = Path(out)
    path.write_bytes(prepared.model_of(cell, batch))
    return path


def _frame(results: Iterable[Result]) -> pd.DataFrame:
    return pd.DataFrame([asdict(result) for result in results], columns=list(COLUMNS))
