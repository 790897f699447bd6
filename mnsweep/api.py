"""The Python API: the commands as typed functions that return data frames.

Data frames have one row per cell and the columns of `cells.csv`; `mnsweep.result.Result` gives their meaning and units. Columns
have pandas' nullable types Int64, Float64, string and boolean, whether or not values are missing; an unknown value is
`pandas.NA`. Their `attrs` always have `sweep`, `machine` and `results_dir`, None where there is none.

`settings` are the options of the command of the same name, as keywords. Numbers may be numpy's, lists may be arrays.
`progress` shows a bar; by default in a notebook only. A `listener` receives progress reports instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import pandas as pd

from mnsweep.app.count import count as count_cells
from mnsweep.app.elsewhere import draw, explore_on, grid_on, pick_on
from mnsweep.app.explore import ExploreOutcome
from mnsweep.app.explore import explore as explore_space
from mnsweep.app.export import export as export_network
from mnsweep.app.export import export_choice
from mnsweep.app.grid import GridOutcome
from mnsweep.app.grid import grid as measure_grid
from mnsweep.app.pick import pick as pick_cell
from mnsweep.app.predict import predict as predict_cells
from mnsweep.app.requests import (
    CountRequest,
    ExploreRequest,
    ExportRequest,
    GridRequest,
    PickRequest,
    PredictRequest,
)
from mnsweep.app.verify import verified
from mnsweep.choice.constraints import WORDS, Constraints
from mnsweep.choice.ranking import Choice
from mnsweep.errors import MnsweepError
from mnsweep.frames import NOWHERE, frame_of, stacked
from mnsweep.listener import Listener
from mnsweep.measure.rounds import Rules
from mnsweep.options import plain, request_from
from mnsweep.progress import reporting
from mnsweep.result import Result
from mnsweep.space import FINE_ALPHAS, FINE_RESOLUTIONS, AxisLike
from mnsweep.sweep.derive import Outcome
from mnsweep.sweep.store import MODEL, SweepFolder


def count(alpha: AxisLike | None = None, res: AxisLike | None = None, **settings: Any) -> pd.DataFrame:
    """Params, mult-adds, file size and activation memory of a grid (default: the paper's), and published accuracies.

    Nothing is run. Raises `MnsweepError` on a bad value.
    """
    return frame_of(count_cells(request_from(CountRequest, alpha=alpha, res=res, **settings)), NOWHERE)


def grid(
    alpha: AxisLike | None = None,
    res: AxisLike | None = None,
    *,
    wait: bool = False,
    time_budget_s: float | None = None,
    ci_pct: float | None = None,
    progress: bool | None = None,
    rules: Rules | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a grid (default: the paper's), or a sweep file (`sweep`), on this machine; one row per cell.

    A cell has settled when its place on the frontier is certain and it is known to ± 5 %, or to ± 1 % in any case; with
    `ci_pct`, when its interval is ± that many %. Measuring stops after `time_budget_s` seconds, by default after 120 for up to
    32 cells; `inf` lifts it. With `wait`, another process that is measuring here is waited for. Continues where an earlier call
    with the same `name` stopped; `fresh` sets the earlier results aside. `quick` measures a small fixed number of rounds;
    `rules` sets measuring time and interval widths in detail. The frame's `attrs` hold `sweep`, `machine`, `results_dir`, and
    `failures`, `skipped` and `unsettled` (each: reason by cell id). Raises `MnsweepError` on a bad value, `UnavailableError`
    where no cell runs here.

    With `on` (hosts) or `fleet` (the address of a Dask scheduler), other machines measure: the frame has the rows of all, with
    the column `host` in front, and `attrs` have `machines` (those above, by host) and `troubles` (by host). Raises
    `MnsweepError` where all hosts are in trouble.
    """
    asked = {"alpha": alpha, "res": res, "wait": wait, "time_budget_s": time_budget_s, "ci_pct": ci_pct}
    request = request_from(GridRequest, **asked, **settings)
    if request.elsewhere.is_asked:
        measured = grid_on(request).checked()
        draw(outcome.derived for outcome in measured.outcomes.values())
        return stacked({host: _grid_frame(outcome) for host, outcome in measured.outcomes.items()}, measured.troubles)
    with reporting(progress, listener) as reports:
        return _grid_frame(measure_grid(request, reports, rules=rules))


def _grid_frame(outcome: GridOutcome) -> pd.DataFrame:
    about = {**_about(outcome.derived, outcome.skipped), "unsettled": dict(outcome.unsettled)}
    return frame_of(outcome.results, about)


def explore(
    alpha: AxisLike = FINE_ALPHAS,
    res: AxisLike = FINE_RESOLUTIONS,
    *,
    wait: bool = False,
    time_budget_s: float | None = None,
    ci_pct: float | None = None,
    progress: bool | None = None,
    rules: Rules | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a few designs of a fine grid on this machine and predict the others; one row per cell.

    `measure` designs are measured to fit the models, `verify` cells of the predicted frontier to verify it, and `validate`
    random cells to validate the models. With `like`, a sweep of another machine by name or folder, the models start from those
    there, and 5 designs are enough. Continues where an earlier call with the same `name` stopped. `wait`, `time_budget_s`
    and `ci_pct` are as in `grid`. The frame's `attrs` hold those of `grid` except `unsettled`, `model_file`, and `model`,
    `verification` and `validation` (dataclasses of `mnsweep.prediction` and `mnsweep.choice`; the last two are None where
    nothing was verified or validated). Raises `MnsweepError` on a bad value, `UnavailableError` where no deployment can be
    measured.
    """
    asked = {"alpha": alpha, "res": res, "wait": wait, "time_budget_s": time_budget_s, "ci_pct": ci_pct}
    request = request_from(ExploreRequest, **asked, **settings)
    if request.elsewhere.is_asked:
        explored = explore_on(request).checked()
        draw(outcome.derived for outcome in explored.outcomes.values())
        return stacked({host: _explored_frame(outcome) for host, outcome in explored.outcomes.items()}, explored.troubles)
    with reporting(progress, listener) as reports:
        return _explored_frame(explore_space(request, reports, rules=rules))


def _explored_frame(outcome: ExploreOutcome) -> pd.DataFrame:
    derived = outcome.derived
    about = {
        **_about(derived, outcome.skipped),
        "model_file": str(derived.folder.path / MODEL),
        "model": derived.errors,
        "verification": derived.verification,
        "validation": derived.validation,
    }
    return frame_of(derived.results, about)


def predict(alpha: AxisLike, res: AxisLike, **settings: Any) -> pd.DataFrame:
    """Predict cells with the saved models of an exploration (`sweep`, or the newest of this machine); nothing is measured.

    A cell whose deployment has no model has no latency. The frame's `attrs` say which models answered: `sweep`, `machine`
    and `results_dir` of the exploration, and `model_file`. Raises `StoreError` where there is no model, or one of another
    version.
    """
    outcome = predict_cells(request_from(PredictRequest, alpha=alpha, res=res, **settings))
    return frame_of(outcome.results, {**_place(outcome.folder), "model_file": str(outcome.folder.path / MODEL)})


def pick(
    sweep: str | None = None,
    *,
    verify: bool = True,
    wait: bool = False,
    progress: bool | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Choice:
    """Pick the best cell that meets the constraints, from `sweep` or the newest sweep of this machine.

    Predicted cells are measured before they are chosen, unless `verify` is false. `precision`, `runtime` and `task` may be
    lists. `Choice.choice` is None when no cell meets the constraints; the reason then names the nearest cells. Raises
    `StoreError` where there are no results.
    """
    words = {name: settings[name] for name in WORDS if isinstance(settings.get(name), Iterable)}
    listed = {name: names if isinstance(names, str) else ",".join(map(str, names)) for name, names in words.items()}
    request = request_from(PickRequest, **{"sweep": sweep, "wait": wait, "no_verify": not verify, **settings, **listed})
    if request.elsewhere.is_asked:
        picked = pick_on(request).checked().outcomes
        if len(picked) > 1:
            raise MnsweepError(f"`on` names {len(picked)} machines, and a choice is of one", "name one, or use `all_machines`")
        return next(iter(picked.values())).choice

    def verify_choice(results: Sequence[Result], constraints: Constraints, folder: SweepFolder) -> Choice:
        with reporting(progress, listener) as reports:
            return verified(results, constraints, folder, wait=request.turn.wait, listener=reports)

    return pick_cell(request, verify_choice, lambda choice, folder: export_choice(choice, request, folder)).choice


def export(
    alpha: SupportsFloat | None,
    res: SupportsIndex | None,
    out: str | Path,
    *,
    batch: SupportsIndex | None = 1,
    calibration: str | Path | None = None,
    **settings: Any,
) -> Path:
    """Write one design as ONNX, with the `weights` of a file or folder, or seeded random ones (for timing only).

    With `weights`, `alpha` and `res` may be None: those of the weights. `batch=None` is symbolic.
    `pad` is `none`, a multiple, or `auto`: the padding that is fastest in `runtime` on this CPU. int8 scales are calibrated
    on the images in the folder `calibration`, or on synthetic images. Returns the path. Raises `MnsweepError` on a bad
    value or where the file cannot be written.
    """
    size = "symbolic" if batch is None else str(plain(batch))
    asked = {"alpha": alpha, "res": res, "out": out, "batch": size, "calibration": calibration}
    return export_network(request_from(ExportRequest, **asked, **settings)).path


def _about(outcome: Outcome, skipped: Mapping[str, str]) -> dict[str, Any]:
    return {**_place(outcome.folder), "failures": dict(outcome.failures), "skipped": dict(skipped)}


def _place(folder: SweepFolder) -> dict[str, Any]:
    return {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)}
