"""Exploring a space: measure a few designs, predict the others, measure where the answer is open, verify it.

What to measure next follows from what is known, by `explore/search.py`; a `Lab` measures it, in a sweep folder. What was
measured is on disk at once, so the same exploration begun again goes on where it was.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

from mnsweep.accuracy.surrogate import quality_of, surface
from mnsweep.cell import Cell
from mnsweep.derive import Known, Outcome, derive, read, tabulate
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.explore.frontier import pareto
from mnsweep.explore.latency_model import FEWEST
from mnsweep.explore.pick import Choice, Constraints, pick_verified
from mnsweep.explore.prediction import Predicted, predict
from mnsweep.explore.search import representatives, space_filling, undecided
from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.measure.campaign import Status
from mnsweep.measure.proxy import Worker
from mnsweep.measure.rounds import Rules
from mnsweep.result import Result
from mnsweep.space import MAX_DESIGNS
from mnsweep.store import SWEEP, SweepFolder
from mnsweep.sweep import Request, begin, get_ready, measure, merge, plan
from mnsweep.sweep_file import Prediction, Sweep, ask_for_sweep, write_sweep

RULES = Rules(least_rounds=10, most_rounds=20, process_rounds=10, least_processes=2, warmup_ms=150.0)
FIRST_SHARE = 0.6  # of the designs to learn from, before any is predicted; the others go where the answer is open
STEP = 4  # designs between two fits
AGAIN = 8  # measured designs that are timed again beside those that validate the model
SEED = 0  # of the choice of the designs that validate


@dataclass(frozen=True, slots=True)
class Aims:
    """How much to measure.

    `measure` designs to learn from in each deployment, then `verify` cells of the predicted frontier, then `validate`
    random ones that no model is fitted to. With `max_latency_ms`, what that budget buys matters most.
    """

    measure: int = 20
    verify: int = 10
    validate: int = 0
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        if self.measure < FEWEST:
            raise MnsweepError(f"--measure {self.measure}: a model needs at least {FEWEST} measured designs")
        for name, value in (("verify", self.verify), ("validate", self.validate)):
            if value < 0:
                raise MnsweepError(f"--{name} {value}: needs a whole number of at least 0")


@dataclass(slots=True)
class Lab:
    """Measures cells of a sweep that predicts, in its folder; `on_stage` hears what is measured next, and why.

    `skipped` says by cell, with the reason, what does not run here; the sweep loses all cells of such a deployment.
    """

    sweep: Sweep
    folder: SweepFolder
    rules: Rules = RULES
    on_status: Callable[[Status], None] = lambda status: None
    on_stage: Callable[[str], None] = lambda words: None
    new_worker: Callable[[], Worker] | None = None
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
            self.sweep = request.sweep
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
        left = [c for c in self.sweep.cells if (c.deployment.runtime, c.deployment.precision) not in gone]
        if not left:
            raise UnavailableError(next(iter(skipped.values())))
        self._write(replace(self.sweep, cells=tuple(left)))

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
    new_worker: Callable[[], Worker] | None = None,
) -> Lab:
    """A lab for the space `asked` and what its folder holds; raises `StoreError` when that is another machine's."""
    merged = merge(asked, folder)
    begin(Request(merged, rules), folder, machine)
    return Lab(merged, folder, rules, on_status, on_stage, new_worker)


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
    precision = "fp32" if cell.deployment.precision == "bf16" else cell.deployment.precision
    if (fit := surface(source, precision)) is None:
        return f"--quality-source {source}: has no accuracies in {precision} to predict others from"
    (low, high), (least, most) = fit.alphas, fit.resolutions
    design = cell.design
    if fit.covers(design.alpha, design.resolution):
        return f"{cell.id}: {source} says nothing of networks with such settings; explore plain designs, or use 'mnsweep grid'"
    return (
        f"α {design.alpha} at {design.resolution} px is outside of {source}, which has α {low:g} to {high:g} at {least} to "
        f"{most} px: stay within, or let --extrapolate predict accuracies beyond it"
    )


def explore(lab: Lab, aims: Aims) -> Outcome:
    """Measure, fit, verify and validate, as far as that was not done before; then write everything derived.

    Raises `UnavailableError` with the reason when no deployment could be measured.
    """
    known = lab.measure(_measured(lab.known()), "measured before that have not settled")
    while wanted := _to_learn_from(known, aims):
        before, known = known, lab.measure(wanted, "to learn from")
        if not any(known.was_tried(cell) and not before.was_tried(cell) for cell in wanted):
            break  # the time is up
    if not known.models:
        reasons = [*known.failures.values(), "too few designs were measured in the time"]
        raise UnavailableError(f"no latency can be predicted: {reasons[0]}")
    if verified := (*known.prediction.verified, *_to_verify(known, aims)):
        lab.note(verified=verified)
        known = lab.measure(known.cells(verified), "of the predicted frontier to verify")
    if held_out := (*known.prediction.held_out, *_to_validate(known, aims)):
        lab.note(held_out=held_out)
        lab.measure(known.cells(held_out), "chosen at random to validate the model", beside=_again(known))
    return derive(lab.folder)


def verified(
    results: Sequence[Result],
    constraints: Constraints,
    folder: SweepFolder,
    on_status: Callable[[Status], None] = lambda status: None,
    on_stage: Callable[[str], None] = lambda words: None,
    new_worker: Callable[[], Worker] | None = None,
) -> Choice:
    """The choice among the results of an exploration in `folder`, with what it needs measured here first.

    Raises `UnavailableError` where something would have to be measured and this is not the machine.
    """
    lab = Lab(read(folder).sweep, folder, RULES, on_status, on_stage, new_worker)
    machine, space = folder.read_machine(), lab.known()

    def measured(ids: Sequence[str]) -> Sequence[Result]:
        if machine.key != read_machine().key:
            raise UnavailableError(f"{folder.path}: is another machine's; add --no-verify to choose from its predictions")
        known = lab.measure(space.cells(ids), "to verify the choice")
        return tabulate(known, machine)

    choice = pick_verified(results, constraints, measured)
    if choice.looked_at:
        derive(folder)
    return choice


def _measured(known: Known) -> list[Cell]:
    """The cells that the models may learn from."""
    return [c for c in known.sweep.cells if c.id in known.estimates and c.id not in known.prediction.held_out]


def _to_learn_from(known: Known, aims: Aims) -> list[Cell]:
    """What to measure next in each deployment; nothing once as many were tried as wanted."""
    apart = {*known.prediction.held_out, *known.prediction.verified}
    models = known.models
    wanted: list[Cell] = []
    for how in dict.fromkeys(cell.deployment for cell in known.sweep.cells):
        its = [cell for cell in known.sweep.cells if cell.deployment == how and cell.id not in apart]
        tried = [cell for cell in its if known.was_tried(cell)]
        first = max(FEWEST, ceil(FIRST_SHARE * aims.measure))
        if how in models and len(tried) >= first:
            wanted += _where_open(known, its, tried, min(STEP, aims.measure - len(tried)), aims)
        elif len(tried) < aims.measure:
            wanted += _spread(its, tried, first - len(tried) if len(tried) < first else STEP)
    return wanted


def _spread(cells: Sequence[Cell], tried: Sequence[Cell], count: int) -> list[Cell]:
    by_design = {cell.design: cell for cell in cells}
    designs = space_filling(list(by_design), count, [cell.design for cell in tried])
    return [by_design[design] for design in designs]


def _where_open(known: Known, cells: Sequence[Cell], tried: Sequence[Cell], count: int, aims: Aims) -> list[Cell]:
    if count <= 0:
        return []
    done = {cell.id for cell in tried}
    by_id = {cell.id: cell for cell in cells if cell.id not in done}
    ids = undecided(list(by_id), _all_latencies(known), _qualities(known), aims.max_latency_ms, count)
    chosen = [by_id[key] for key in ids]
    return chosen + (_spread(cells, [*tried, *chosen], count - len(chosen)) if len(chosen) < count else [])


def _all_latencies(known: Known) -> dict[str, Predicted]:
    """Of every cell: predicted with its interval, or as measured, without one."""
    measured = {key: Predicted(ms, ms, ms) for key, ms in known.latency_ms.items()}
    left = [cell for cell in known.sweep.cells if cell.id not in measured and cell.id not in known.failures]
    return predict(known.models, left, known.channels) | measured


def _qualities(known: Known) -> dict[str, float]:
    source, extrapolate = known.sweep.quality_source, known.prediction.extrapolate
    found = {cell.id: quality_of(cell, source, extrapolate) for cell in known.sweep.cells}
    return {key: quality.quality_pct for key, (quality, _) in ((k, q) for k, q in found.items() if q)}


def _to_verify(known: Known, aims: Aims) -> list[str]:
    """Cells of the predicted frontier that were not measured, spread over it; as many as are left to verify."""
    latencies, qualities = _all_latencies(known), _qualities(known)
    ids = [cell.id for cell in known.sweep.cells if cell.id in latencies and cell.id in qualities]
    on_frontier = pareto([(latencies[key].ms, qualities[key]) for key in ids])
    believed = [key for key, on in zip(ids, on_frontier, strict=True) if on and key not in known.estimates]
    left = aims.verify - len(known.prediction.verified)
    return representatives(believed, {key: latencies[key].ms for key in believed}, left) if left > 0 else []


def _to_validate(known: Known, aims: Aims) -> list[str]:
    fresh = [cell.id for cell in known.sweep.cells if not known.was_tried(cell) and cell.id in known.channels]
    left = aims.validate - len(known.prediction.held_out)
    return Random(SEED).sample(fresh, min(left, len(fresh))) if left > 0 else []


def _again(known: Known) -> list[Cell]:
    ids = [cell.id for cell in _measured(known)]
    return known.cells(representatives(ids, known.latency_ms, AGAIN))
