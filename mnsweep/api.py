"""The Python API: the commands as typed functions that return data frames.

Data frames have one row per cell and the columns of `cells.csv`; `mnsweep.result.Result` gives their meaning and units.
`settings` are the options of the command of the same name, as keywords. A `listener` receives progress reports.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from mnsweep.app.count import count as count_cells
from mnsweep.app.explore import explore as explore_space
from mnsweep.app.export import export as export_network
from mnsweep.app.export import export_choice
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
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import Choice
from mnsweep.errors import MnsweepError
from mnsweep.listener import SILENT, Listener
from mnsweep.measure.rounds import Rules
from mnsweep.options import build, settings_of
from mnsweep.result import COLUMNS, Result
from mnsweep.space import FINE_ALPHAS, FINE_RESOLUTIONS, AxisValue
from mnsweep.sweep.derive import Outcome
from mnsweep.sweep.store import SweepFolder


def count(alpha: AxisValue | None = None, res: AxisValue | None = None, **settings: Any) -> pd.DataFrame:
    """Params, mult-adds, file size and activation memory of a grid (default: the paper's), and published accuracies.

    Nothing is run. Raises `MnsweepError` on a bad value.
    """
    return _frame(count_cells(_request(CountRequest, alpha=alpha, res=res, **settings)))


def grid(
    alpha: AxisValue | None = None,
    res: AxisValue | None = None,
    *,
    rules: Rules | None = None,
    listener: Listener = SILENT,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a grid (default: the paper's), or a sweep file (`sweep`), on this machine; one row per cell.

    Continues where an earlier call with the same `name` stopped; `fresh` sets the earlier results aside. `quick` measures a
    small fixed number of rounds; `rules` sets measuring time and interval widths in detail. The frame's `attrs` hold
    `sweep`, `machine`, `results_dir`, and `failures`, `skipped` and `unsettled` (each: reason by cell id). Raises
    `MnsweepError` on a bad value, `UnavailableError` where no cell runs here.
    """
    outcome = measure_grid(_request(GridRequest, alpha=alpha, res=res, **settings), listener, rules=rules)
    frame = _frame(outcome.results)
    frame.attrs.update(_about(outcome.derived, outcome.skipped), unsettled=dict(outcome.unsettled))
    return frame


def explore(
    alpha: AxisValue = FINE_ALPHAS,
    res: AxisValue = FINE_RESOLUTIONS,
    *,
    rules: Rules | None = None,
    listener: Listener = SILENT,
    **settings: Any,
) -> pd.DataFrame:
    """Measure a few designs of a fine grid on this machine and predict the others; one row per cell.

    `measure` designs are measured to fit the models, `verify` cells of the predicted frontier to verify it, and `validate`
    random cells to validate the models. Continues where an earlier call with the same `name` stopped. The frame's `attrs`
    hold those of `grid` except `unsettled`, and `model`, `verification` and `validation` (dataclasses of
    `mnsweep.prediction` and `mnsweep.choice`; the last two are None where nothing was verified or validated). Raises
    `MnsweepError` on a bad value, `UnavailableError` where no deployment can be measured.
    """
    outcome = explore_space(_request(ExploreRequest, alpha=alpha, res=res, **settings), listener, rules=rules)
    derived = outcome.derived
    frame = _frame(derived.results)
    frame.attrs.update(
        _about(derived, outcome.skipped),
        model=derived.errors,
        verification=derived.verification,
        validation=derived.validation,
    )
    return frame


def predict(alpha: AxisValue, res: AxisValue, **settings: Any) -> pd.DataFrame:
    """Predict cells with the saved models of an exploration (`sweep`, or the newest of this machine); nothing is measured.

    A cell whose deployment has no model has no latency. The frame's `attrs` hold the `results_dir` of the models. Raises
    `StoreError` where there is no model, or one of another version.
    """
    outcome = predict_cells(_request(PredictRequest, alpha=alpha, res=res, **settings))
    frame = _frame(outcome.results)
    frame.attrs["results_dir"] = str(outcome.folder.path)
    return frame


def pick(sweep: str | None = None, *, verify: bool = True, listener: Listener = SILENT, **settings: Any) -> Choice:
    """Pick the best cell that meets the constraints, from `sweep` or the newest sweep of this machine.

    Predicted cells are measured before they are chosen, unless `verify` is false. `Choice.choice` is None when no cell
    meets the constraints; the reason then names the nearest cells. Raises `StoreError` where there are no results.
    """
    request = _request(PickRequest, sweep=sweep, no_verify=not verify, **settings)

    def verify_choice(results: Sequence[Result], constraints: Constraints, folder: SweepFolder) -> Choice:
        return verified(results, constraints, folder, wait=request.turn.wait, listener=listener)

    return pick_cell(request, verify_choice, lambda choice: export_choice(choice, request)).choice


def export(
    alpha: float | None,
    res: int | None,
    out: str | Path,
    *,
    batch: int | None = 1,
    calibration: str | Path | None = None,
    **settings: Any,
) -> Path:
    """Write one design with seeded random weights (for timing only) as ONNX; `batch=None` is symbolic.

    `pad` is `none`, a multiple, or `auto`: the padding that is fastest in `runtime` on this CPU. int8 scales are calibrated
    on the images in the folder `calibration`, or on synthetic images. Returns the path. Raises `MnsweepError` on a bad
    value or where the file cannot be written.
    """
    pictures = None if calibration is None else Path(calibration)
    size = "symbolic" if batch is None else str(batch)
    return export_network(
        _request(ExportRequest, alpha=alpha, res=res, out=Path(out), batch=size, calibration=pictures, **settings)
    ).path


def _request(kind: Any, **values: Any) -> Any:
    """The request with these settings; raises `MnsweepError` on an unknown setting."""
    known = [setting.name for setting in settings_of(kind)]
    if unknown := [name for name in values if name not in known]:
        raise MnsweepError(f"`{unknown[0]}` is not a setting of this function", f"known settings are {', '.join(known)}")
    for name in ("results_dir", "export", "calibration"):
        if isinstance(values.get(name), str):
            values[name] = Path(values[name])
    return build(kind, values)


def _about(outcome: Outcome, skipped: Mapping[str, str]) -> dict[str, Any]:
    folder = outcome.folder
    return {
        "sweep": folder.sweep,
        "machine": folder.machine,
        "results_dir": str(folder.path),
        "failures": dict(outcome.failures),
        "skipped": dict(skipped),
    }


def _frame(results: Iterable[Result]) -> pd.DataFrame:
    return pd.DataFrame([asdict(result) for result in results], columns=list(COLUMNS))
