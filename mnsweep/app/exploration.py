"""Exploring a space: measure a few designs, predict the others, measure where the answer is open, verify it.

What to measure next follows from what is known, by `choice/search.py`; a `Lab` measures it. What was measured is on disk
at once, so the same exploration begun again goes on where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from mnsweep.accuracy.surface import quality_of
from mnsweep.cell import Cell
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.frontier import pareto
from mnsweep.choice.ranking import Choice, pick_verified
from mnsweep.choice.search import representatives, space_filling, undecided
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.lab import RULES, Lab
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.campaign import Status
from mnsweep.prediction.deployments import Predicted, predict
from mnsweep.prediction.latency_model import FEWEST
from mnsweep.result import Result
from mnsweep.sweep.derive import Known, Outcome, derive, read, tabulate
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import NewWorker

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


def explore(lab: Lab, aims: Aims) -> Outcome:
    """Measure, fit, verify and validate, as far as that was not done before; then write everything derived.

    Raises `UnavailableError` with the reason when no deployment could be measured.
    """
    known = lab.measure(_measured(lab.known()), "measured before that have not settled")
    while wanted := _to_learn_from(known, lab.asked, aims):
        before, known = known, lab.measure(wanted, "to learn from")
        if not any(known.was_tried(cell) and not before.was_tried(cell) for cell in wanted):
            break  # the time is up
    if not known.models:
        reasons = [*known.failures.values(), "too few designs were measured in the time"]
        raise UnavailableError(f"no latency can be predicted: {reasons[0]}")
    if verified := (*known.prediction.verified, *_to_verify(known, lab.asked, aims)):
        lab.note(verified=verified)
        known = lab.measure(known.cells(verified), "of the predicted frontier to verify")
    if held_out := (*known.prediction.held_out, *_to_validate(known, lab.asked, aims)):
        lab.note(held_out=held_out)
        lab.measure(known.cells(held_out), "chosen at random to validate the model", beside=_again(known))
    return derive(lab.folder)


def verified(
    results: Sequence[Result],
    constraints: Constraints,
    folder: SweepFolder,
    on_status: Callable[[Status], None] = lambda status: None,
    on_stage: Callable[[str], None] = lambda words: None,
    new_worker: NewWorker | None = None,
) -> Choice:
    """The choice among the results of an exploration in `folder`, with what it needs measured here first.

    Raises `UnavailableError` where something would have to be measured and this is not the machine.
    """
    space, machine = read(folder), folder.read_machine()
    lab = Lab(space.sweep.cells, space.sweep, folder, RULES, on_status, on_stage, new_worker)

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


def _to_learn_from(known: Known, asked: Sequence[Cell], aims: Aims) -> list[Cell]:
    """What to measure next in each deployment; nothing once as many of the cells `asked` were tried as wanted."""
    apart = {*known.prediction.held_out, *known.prediction.verified}
    models = known.models
    wanted: list[Cell] = []
    for how in dict.fromkeys(cell.deployment for cell in asked):
        its = [cell for cell in asked if cell.deployment == how and cell.id not in apart]
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


def _to_verify(known: Known, asked: Sequence[Cell], aims: Aims) -> list[str]:
    """Cells of the predicted frontier that were not measured, spread over it; as many as are left to verify."""
    latencies, qualities = _all_latencies(known), _qualities(known)
    ids = [key for cell in asked if (key := cell.id) in latencies and key in qualities]
    on_frontier = pareto([(latencies[key].ms, qualities[key]) for key in ids])
    believed = [key for key, on in zip(ids, on_frontier, strict=True) if on and key not in known.estimates]
    left = aims.verify - _count(known.prediction.verified, asked)
    return representatives(believed, {key: latencies[key].ms for key in believed}, left)


def _to_validate(known: Known, asked: Sequence[Cell], aims: Aims) -> list[str]:
    fresh = [cell.id for cell in asked if not known.was_tried(cell) and cell.id in known.channels]
    left = aims.validate - _count(known.prediction.held_out, asked)
    return Random(SEED).sample(fresh, min(left, len(fresh))) if left > 0 else []


def _count(ids: Sequence[str], cells: Sequence[Cell]) -> int:
    """How many of the cells have one of the ids."""
    return len({cell.id for cell in cells}.intersection(ids))


def _again(known: Known) -> list[Cell]:
    ids = [cell.id for cell in _measured(known)]
    return known.cells(representatives(ids, known.latency_ms, AGAIN))
