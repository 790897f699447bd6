"""Everything that follows from what was measured: the table, the latency models and predictions, the plots.

All of it can be made again from `blocks.jsonl`, `sweep.toml` and `machine.json`, byte for byte.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from mnsweep.arch.channel_padding import Channels, from_text
from mnsweep.arch.deployed import deployed_channels
from mnsweep.cell import Cell
from mnsweep.choice.verification import Verification, verify
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.fit import Estimate, Movement, estimate, speed_movement
from mnsweep.measure.record import Records
from mnsweep.plots.caption import caption
from mnsweep.plots.cliffs import cliffs_plot
from mnsweep.plots.pareto import mult_adds_plot, pareto_plot
from mnsweep.plots.predictions import prediction_plot
from mnsweep.plots.reproduction import paper_figures
from mnsweep.prediction.deployments import Models, fit_models, predict
from mnsweep.prediction.latency_model import Errors, to_json
from mnsweep.prediction.validation import Check, Validation, check, repeatability_pct, validate
from mnsweep.result import PREDICTED, Result, to_csv
from mnsweep.sweep.file import Prediction, Sweep, parse_sweep
from mnsweep.sweep.no_gain import with_warnings
from mnsweep.sweep.store import CELLS, MODEL, SWEEP, SweepFolder
from mnsweep.sweep.table import measured_table, with_predictions


@dataclass(frozen=True, slots=True)
class Outcome:
    """A sweep after a run: its results, where they are, and what could not be measured, with the reason.

    Where it predicts: the models by deployment, each measured cell beside its prediction, and what that says of the models.
    """

    folder: SweepFolder
    results: tuple[Result, ...]
    failures: Mapping[str, str]
    movement: Movement
    estimates: Mapping[str, Estimate]
    models: Models
    checks: tuple[Check, ...]
    verification: Verification | None
    validation: Validation | None

    @property
    def errors(self) -> Errors:
        """Leave-one-out errors of the models, all together; there must be one."""
        return Errors.of(np.expm1(-np.concatenate([model.missed for model in self.models.values()])))


@dataclass(frozen=True, slots=True)
class Known:
    """What the records of a sweep come to.

    An estimate of every measured cell, and its median latency; the cells of the sweep that failed, with the reason; the
    channels of every cell where they are known; and where the sweep predicts, a latency model of each deployment with
    enough measured cells.
    """

    sweep: Sweep
    records: Records
    movement: Movement
    estimates: Mapping[str, Estimate]
    latency_ms: Mapping[str, float]
    failures: Mapping[str, str]
    channels: Mapping[str, Channels]
    models: Models

    @property
    def prediction(self) -> Prediction:
        """What the sweep says of predictions; the default where it says nothing."""
        return self.sweep.prediction or Prediction()

    def cells(self, ids: Collection[str]) -> list[Cell]:
        """The cells of the sweep with these ids."""
        return [cell for cell in self.sweep.cells if cell.id in ids]

    def was_tried(self, cell: Cell) -> bool:
        """Whether it was measured, or could not be."""
        return cell.id in self.latency_ms or cell.id in self.failures

    def verification(self, qualities: Mapping[str, float]) -> Verification | None:
        """What was believed of the cells that were verified, by the other cells, against what is known with them."""
        apart = {*self.prediction.verified, *self.prediction.held_out}
        seen = {key: ms for key, ms in self.latency_ms.items() if key not in apart}
        beliefs = fit_models(self.sweep.cells, seen, self.channels)
        left = [cell for cell in self.sweep.cells if cell.id not in self.failures]
        before, after = ({key: p.ms for key, p in predict(m, left, self.channels).items()} for m in (beliefs, self.models))
        checked = [key for key in self.prediction.verified if key in self.latency_ms and key in before]
        return verify(checked, before | seen, after | dict(self.latency_ms), qualities)


def read(folder: SweepFolder) -> Known:
    """What is known of the sweep in `folder`."""
    sweep, records = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP), folder.read()
    kept = {cell: from_text(text) for cell, text in records.padding.items()}
    channels = deployed_channels(sweep.cells, kept, records.probes)
    estimates = estimate(records.blocks)
    latency_ms = {key: found.p50_ms for key, found in estimates.items()}
    ids = {cell.id for cell in sweep.cells}
    failures = {cell: reason for cell, reason in records.failures.items() if cell in ids}
    models = fit_models(sweep.cells, latency_ms, channels, sweep.prediction.held_out) if sweep.prediction else {}
    return Known(sweep, records, speed_movement(records.blocks), estimates, latency_ms, failures, channels, models)


def tabulate(known: Known, machine: Machine) -> list[Result]:
    """The rows of `cells.csv`."""
    sweep = known.sweep
    table = measured_table(sweep.cells, known.estimates, sweep.quality_source, known.channels)
    results = with_warnings(table, machine)
    if sweep.prediction is None:
        return results
    predictable = [cell for cell in sweep.cells if cell.id not in known.failures]
    quality = (sweep.quality_source, sweep.prediction.extrapolate)
    return with_predictions(results, predictable, known.models, known.channels, known.movement, *quality)


def derive(folder: SweepFolder) -> Outcome:
    """Make `cells.csv` and the plots, and `model.json` where cells are predicted."""
    known, machine = read(folder), folder.read_machine()
    sweep, models = known.sweep, known.models
    results = tabulate(known, machine)
    held_out = known.prediction.held_out
    checks = check(models, sweep.cells, known.latency_ms, known.channels, held_out)
    if sweep.prediction:
        folder.replace(MODEL, to_json(models))
    folder.replace(CELLS, to_csv(results))
    text = caption(sweep.name, results, known.records, machine, known.movement)
    measured = [r for r in results if r.latency_source != PREDICTED]
    plots = pareto_plot(results, text) | mult_adds_plot(measured, text) | cliffs_plot(measured, text)
    for name, content in (plots | prediction_plot(checks, results, text) | paper_figures(results, text)).items():
        folder.replace(name, content)
    qualities = {r.cell: r.quality_pct for r in results if r.quality_pct is not None}
    verification = known.verification(qualities)
    validation = validate(checks, sweep.cells, repeatability_pct(known.records, held_out)) if checks else None
    said = (known.failures, known.movement, known.estimates, models, tuple(checks), verification, validation)
    return Outcome(folder, tuple(results), *said)
