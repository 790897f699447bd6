"""Everything derived from the measurements: the table, the latency models and predictions, and the plots.

All of it can be recreated byte for byte from `blocks.jsonl`, `sweep.toml` and `machine.json`: `derive` reads nothing else.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mnsweep.choice.targets import known_places
from mnsweep.choice.verification import Verification
from mnsweep.errors import StoreError
from mnsweep.machine.fingerprint import Machine
from mnsweep.prediction.latency_model import Errors
from mnsweep.prediction.model_file import to_json
from mnsweep.prediction.validation import Check, Validation, check, repeatability_pct, validate
from mnsweep.result import PREDICTED, Result
from mnsweep.sweep.cells_file import counts_to_csv, to_csv
from mnsweep.sweep.find import NO_PLOTS, PLOTS
from mnsweep.sweep.kept import kept_sweep
from mnsweep.sweep.knowledge import Knowledge, understand
from mnsweep.sweep.no_gain import with_warnings
from mnsweep.sweep.store import CELLS, MODEL, SweepFolder
from mnsweep.sweep.table import item_rows, measured_table, with_predictions
from mnsweep.sweep.trained import with_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A sweep after a run: its folder, its results, and the knowledge from its records, on its machine.

    If the sweep predicts, `checks` compare measured cells with their predictions; `verification` and `validation` summarize
    the errors on verified and on held-out cells.
    """

    folder: SweepFolder
    machine: Machine
    results: tuple[Result, ...]
    known: Knowledge
    checks: tuple[Check, ...]
    verification: Verification | None
    validation: Validation | None

    @property
    def failures(self) -> Mapping[str, str]:
        """The reason of each cell of the sweep that failed, by cell id."""
        return self.known.failures

    @property
    def errors(self) -> Errors:
        """Leave-one-out errors of all models together; requires at least one model."""
        return Errors.of(np.expm1(-np.concatenate([model.missed for model in self.known.models.values()])))

    def without_blocks(self) -> "Outcome":
        """The same without the blocks, which take most of its memory; it can't be drawn."""
        return replace(self, known=replace(self.known, records=replace(self.known.records, blocks=[])))

    def draw(self) -> None:
        """Write the plots, unless $MNSWEEP_PLOTS is `none`; one that fails is a warning."""
        if os.environ.get(PLOTS) == NO_PLOTS:
            return
        for name, content in _plots(self):
            self.folder.replace(name, content)


def read(folder: SweepFolder) -> Knowledge:
    """Read a sweep and its records from `folder`."""
    records = folder.read()
    sweep = kept_sweep(folder, records)
    if sweep is None:
        raise StoreError(f"{folder.path}: holds no sweep", "run 'mnsweep grid' first")
    return understand(sweep, records)


def tabulate(known: Knowledge, machine: Machine) -> list[Result]:
    """The rows of `cells.csv`, one for each cell."""
    sweep = known.sweep
    table = measured_table(sweep.cells, known.estimates, sweep.accuracies, known.channels)
    results = with_warnings(with_weights(table, sweep), machine)
    if sweep.prediction is None:
        return results
    predictable = [cell for cell in sweep.cells if cell.id not in known.failures]
    return with_predictions(
        results,
        predictable,
        models=known.models,
        channels=known.channels,
        movement=known.movement,
        quality_source=sweep.accuracies,
        extrapolate=sweep.prediction.extrapolate,
    )


def derive(folder: SweepFolder) -> Outcome:
    """Write everything: the tables, and then the plots."""
    outcome = conclude(folder)
    outcome.draw()
    return outcome


def conclude(folder: SweepFolder) -> Outcome:
    """Write `cells.csv`, and `model.json` where cells are predicted; the plots are left to `Outcome.draw`."""
    known, machine = read(folder), folder.read_machine()
    results = tabulate(known, machine)
    held_out = known.prediction.held_out
    checks = check(known.models, known.sweep.cells, known.latency_ms, channels=known.channels, held_out=held_out)
    if known.sweep.prediction:
        folder.replace(MODEL, to_json(known.models))
    items = item_rows(known.sweep.items, known.estimates)
    folder.replace(CELLS, counts_to_csv(items) if items else to_csv(results))
    qualities = {r.cell: r.quality_pct for r in results if r.quality_pct is not None}
    return Outcome(
        folder=folder,
        machine=machine,
        results=tuple(results),
        known=known,
        checks=tuple(checks),
        verification=known.verification(qualities),
        validation=validate(checks, known.sweep.cells, repeatability_pct(known.records, held_out)) if checks else None,
    )


def _plots(outcome: Outcome) -> Iterator[tuple[str, bytes]]:
    """Every plot of the sweep that can be drawn: file name and content."""
    from mnsweep.plots.caption import caption
    from mnsweep.plots.cliffs import cliffs_plot
    from mnsweep.plots.figure import drawn
    from mnsweep.plots.pareto import mult_adds_plot, pareto_plot
    from mnsweep.plots.predictions import prediction_plot
    from mnsweep.plots.reproduction import paper_figures

    known, results = outcome.known, outcome.results
    text = caption(known.sweep.name, results, known.records, machine=outcome.machine, movement=known.movement)
    measured = [r for r in results if r.latency_source != PREDICTED]
    open_ = known_places(known.sweep.cells, known.estimates, known.sweep.accuracies).open
    plots: dict[str, Callable[[], Mapping[str, bytes]]] = {
        "pareto": lambda: pareto_plot(results, text, open_),
        "latency_mult_adds": lambda: mult_adds_plot(measured, text),
        "cliffs": lambda: cliffs_plot(measured, text),
        "prediction": lambda: prediction_plot(outcome.checks, results, text),
        "figures of the paper": lambda: paper_figures(results, text),
    }
    for name, draw in plots.items():
        yield from drawn(name, draw).items()
