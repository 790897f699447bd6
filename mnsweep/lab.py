"""A lab: a space to explore on this machine, and what it takes to measure some of its cells.

Everything measured is on disk at once, in the folder of a sweep that predicts.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mnsweep.accuracy.surface import quality_of, surface_for
from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.campaign import Status
from mnsweep.measure.rounds import Rules
from mnsweep.prediction.latency_model import FEWEST
from mnsweep.session import Request, begin, get_ready, measure, merge, plan
from mnsweep.space import MAX_DESIGNS
from mnsweep.sweep.derive import Known, read
from mnsweep.sweep.file import Prediction, Sweep, ask_for_sweep, write_sweep
from mnsweep.sweep.store import SWEEP, SweepFolder
from mnsweep.worker.proxy import NewWorker

RULES = Rules(least_rounds=10, most_rounds=20, process_rounds=10, least_processes=2, warmup_ms=150.0)


@dataclass(slots=True)
class Lab:
    """Measures cells of a sweep that predicts, in its folder; `on_stage` hears what is measured next, and why.

    `asked` are the cells to explore, of the sweep that may hold others. `skipped` says by cell, with the reason, what does
    not run here; both lose all cells of such a deployment that were not measured before.
    """

    asked: tuple[Cell, ...]
    sweep: Sweep
    folder: SweepFolder
    rules: Rules = RULES
    on_status: Callable[[Status], None] = lambda status: None
    on_stage: Callable[[str], None] = lambda words: None
    new_worker: NewWorker | None = None
    clock: Callable[[], float] = time.monotonic
    skipped: dict[str, str] = field(default_factory=dict)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def known(self) -> Known:
        """What the folder holds."""
        return read(self.folder)

    def measure(self, cells: Sequence[Cell], why: str, beside: Sequence[Cell] = ()) -> Known:
        """Measure `cells` as far as they have not settled, and those `beside` with them; what is known then."""
        left_s = max(0.0, self.rules.time_budget_s - (self.clock() - self.began))
        rules = replace(self.rules, time_budget_s=left_s)
        request = Request(self.sweep, rules, wanted=tuple(cells), beside=tuple(beside))
        the_plan = plan(request, self.folder)
        if the_plan.pending:
            self.on_stage(f"{len(the_plan.pending)} cells {why}, about {the_plan.seconds:.0f} s at least")
            request, the_plan, prepared = get_ready(request, the_plan, self.folder, self.new_worker)
            self._skip(prepared.skipped)
            measure(request, the_plan, prepared, self.folder, self.on_status, self.new_worker)
        return self.known()

    def note(self, **cells: tuple[str, ...]) -> None:
        """Write down which cells are `held_out` or `verified`, before they are measured."""
        noted = self.sweep.prediction or Prediction()
        self._write(replace(self.sweep, prediction=replace(noted, **cells)))  # type: ignore[arg-type]

    def _skip(self, skipped: Mapping[str, str]) -> None:
        if not skipped:
            return
        self.skipped |= skipped
        gone = {(cell.deployment.runtime, cell.deployment.precision) for cell in self.sweep.cells if cell.id in skipped}
        measured = self.known().latency_ms

        def stays(cell: Cell) -> bool:
            return (cell.deployment.runtime, cell.deployment.precision) not in gone or cell.id in measured

        self.asked = tuple(filter(stays, self.asked))
        if not self.asked:
            raise UnavailableError(next(iter(skipped.values())))
        self._write(replace(self.sweep, cells=tuple(filter(stays, self.sweep.cells))))

    def _write(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.folder.replace(SWEEP, write_sweep(sweep))


def open_lab(
    asked: Sweep,
    folder: SweepFolder,
    machine: Machine,
    rules: Rules = RULES,
    on_status: Callable[[Status], None] = lambda status: None,
    on_stage: Callable[[str], None] = lambda words: None,
    new_worker: NewWorker | None = None,
) -> Lab:
    """A lab for the space `asked` and what its folder holds; raises `StoreError` when that is another machine's."""
    merged = merge(asked, folder)
    begin(Request(merged, rules), folder, machine)
    return Lab(asked.cells, merged, folder, rules, on_status, on_stage, new_worker)


def ask_for_space(
    name: str,
    axes: Mapping[str, Any],
    quality_source: str | None,
    extrapolate: bool,
    results_dir: Path,
    max_designs: int = MAX_DESIGNS,
) -> Sweep:
    """The space that `axes` span on this machine; raises `MnsweepError` where it can't be explored."""
    asked = ask_for_sweep(None, name, axes, quality_source, results_dir, max_designs, read_facts().usable_threads)
    space = replace(asked, prediction=Prediction(extrapolate))
    check_space(space)
    return space


def check_space(sweep: Sweep) -> None:
    """Raise `MnsweepError` where there is nothing to explore, or no accuracy can be predicted."""
    extrapolate = sweep.prediction is not None and sweep.prediction.extrapolate
    for how in dict.fromkeys(cell.deployment for cell in sweep.cells):
        its = [cell for cell in sweep.cells if cell.deployment == how]
        if len(its) <= FEWEST:
            raise MnsweepError(
                f"{len(its)} design{'s' * (len(its) != 1)} to explore: a model needs {FEWEST} measured ones, and others to "
                "predict; widen --alpha and --res, or measure them all with 'mnsweep grid'"
            )
    for cell in sweep.cells:
        if quality_of(cell, sweep.quality_source, extrapolate) is None:
            raise MnsweepError(_no_quality(cell, sweep.quality_source))


def _no_quality(cell: Cell, source: str) -> str:
    if (fit := surface_for(cell, source)) is None:
        return f"--quality-source {source}: has no accuracies in {cell.deployment.precision} to predict others from"
    (low, high), (least, most) = fit.alphas, fit.resolutions
    design = cell.design
    if fit.covers(design.alpha, design.resolution):
        return f"{cell.id}: {source} says nothing of networks with such settings; explore plain designs, or use 'mnsweep grid'"
    return (
        f"α {design.alpha} at {design.resolution} px is outside of {source}, which has α {low:g} to {high:g} at {least} to "
        f"{most} px: stay within, or let --extrapolate predict accuracies beyond it"
    )
