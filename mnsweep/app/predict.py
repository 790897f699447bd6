"""`mnsweep predict`: predict cells with the models of an exploration; nothing is measured."""

from dataclasses import dataclass

from mnsweep.app.requests import PredictRequest
from mnsweep.arch.deployed import deployed_channels
from mnsweep.errors import StoreError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.prediction.model_file import from_json
from mnsweep.result import Result
from mnsweep.sweep.counts import count_table
from mnsweep.sweep.derive import read
from mnsweep.sweep.find import find_results, results_dir_or_default
from mnsweep.sweep.store import MODEL, SweepFolder
from mnsweep.sweep.table import with_predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOutcome:
    """The predicted `results`, one per cell, and the `folder` of the models."""

    folder: SweepFolder
    results: tuple[Result, ...]


def predict(request: PredictRequest) -> PredictOutcome:
    """Predict latency and accuracy of each cell; a cell whose deployment has no model has no latency.

    Raises `StoreError` where there is no model, or one of another version.
    """
    directory = results_dir_or_default(request.place.results_dir)
    folder = find_results(directory, read_machine().key, request.sweep)
    if not folder.has(MODEL):
        raise StoreError(f"{folder.path}: holds no latency models", "run 'mnsweep explore' first, or name its `sweep`")
    models, known = from_json(folder.read_text(MODEL), folder.path / MODEL), read(folder)
    cells = request.space.cells()
    channels = deployed_channels(cells, {}, known.records.probes)
    source = known.sweep.accuracies
    counted = count_table(cells, source, channels)
    results = with_predictions(
        counted,
        cells,
        models=models,
        channels=channels,
        movement=known.movement,
        quality_source=source,
        extrapolate=request.extrapolate,
    )
    return PredictOutcome(folder=folder, results=tuple(results))
