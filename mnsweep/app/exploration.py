"""Explore a space: measure the designs that tell most, predict the others, measure where the choice is open, verify it.

`choice/search.py` and `choice/optimal.py` select what to measure next from the results so far; a session measures it.
Measurements are saved at once, so an exploration that is started again continues where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random

import numpy as np
from numpy.typing import NDArray

from mnsweep.accuracy.surface import quality_of
from mnsweep.arch.channel_padding import Channels
from mnsweep.arch.deployed import deployed_channels
from mnsweep.cell import Cell
from mnsweep.choice.frontier import pareto
from mnsweep.choice.optimal import most_telling
from mnsweep.choice.search import about_all, informative, representatives, undecided
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.measure.rounds import Rules
from mnsweep.prediction.deployments import Predicted, predict
from mnsweep.prediction.information import information_rows
from mnsweep.prediction.latency_model import FEWEST
from mnsweep.prediction.prior import prior_of
from mnsweep.session import Session
from mnsweep.sweep.knowledge import Knowledge

Array = NDArray[np.float64]
RULES = Rules(known_pct=None, least_rounds=8, most_rounds=16, process_rounds=4, least_processes=2)
FIRST_SHARE = 0.6  # of the designs to learn from, measured before the first fit; the others go where the choice is open
FIRST = 12  # without a budget, at least so many come first: before, where the choice is open says less than D-optimality
STEP = 4  # designs between two fits
AGAIN = 8  # measured designs that are timed again beside the validation designs
ASSUMED_PAD = "8"
SEED = 0  # of the random choice of validation designs


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """How much to measure.

    First `measure` designs to learn from in each deployment, then `verify` cells of the predicted frontier, then `validate`
    random cells that no model is fitted to. With `max_latency_ms`, cells whose interval contains that budget come first.
    A model needs at least `fewest` designs.
    """

    measure: int = 12
    verify: int = 10
    validate: int = 0
    max_latency_ms: float | None = None
    fewest: int = FEWEST

    def __post_init__(self) -> None:
        if self.measure < self.fewest:
            raise MnsweepError(f"`measure` {self.measure}: a model needs at least {self.fewest} measured designs")

    @property
    def first(self) -> int:
        """How many designs are measured at once, before there is a model."""
        least = self.fewest if self.max_latency_ms else min(FIRST, self.measure)
        return max(least, ceil(FIRST_SHARE * self.measure))


def explore(session: Session, aims: Aims) -> None:
    """Measure, fit, verify and validate, except what was done before.

    Raises `UnavailableError` with the reason when no deployment could be measured.
    """
    session.measure(_to_learn_from_now(session.known()), why="measured before that have not settled")
    while wanted := _to_learn_from(session.known(), session.asked, aims):
        before = session.known()
        session.measure(wanted, why="to learn from")
        if not any(session.known().was_tried(cell) and not before.was_tried(cell) for cell in wanted):
            break  # the time is up
    known = session.known()
    if not known.models:
        reasons = [*known.failures.values(), "too few designs were measured in the time"]
        raise UnavailableError(f"no latency can be predicted: {reasons[0]}")
    if verified := (*known.prediction.verified, *_to_verify(known, session.asked, aims)):
        session.note(verified=verified)
        session.measure(known.cells(verified), why="of the predicted frontier to verify")
    known = session.known()
    if held_out := (*known.prediction.held_out, *_to_validate(known, session.asked, aims)):
        session.note(held_out=held_out)
        session.measure(known.cells(held_out), why="chosen at random to validate the model", beside=_again(known))


def _to_learn_from_now(known: Knowledge) -> list[Cell]:
    """The measured cells that the models may be fitted to."""
    return [c for c in known.sweep.cells if c.id in known.estimates and c.id not in known.prediction.held_out]


def _to_learn_from(known: Knowledge, asked: Sequence[Cell], aims: Aims) -> list[Cell]:
    """The next cells to measure; a deployment needs none once `aims.measure` of its `asked` cells were tried."""
    apart = {*known.prediction.held_out, *known.prediction.verified}
    wanted, first = list[Cell](), aims.first
    for deployment in dict.fromkeys(cell.deployment for cell in asked):
        cells = [cell for cell in asked if cell.deployment == deployment and cell.id not in apart]
        tried = [cell for cell in cells if known.was_tried(cell)]
        if deployment in known.models and len(tried) >= first:
            count = min(STEP, aims.measure - len(tried))
            wanted += _where_open(known, cells, tried, count=count, max_latency_ms=aims.max_latency_ms)
        elif len(tried) < aims.measure:
            wanted += _most_informative(known, cells, tried, first - len(tried) if len(tried) < first else STEP)
    return wanted


def _most_informative(known: Knowledge, cells: Sequence[Cell], tried: Sequence[Cell], count: int) -> list[Cell]:
    by_design = {cell.design: cell for cell in cells}
    choose = informative if len(tried) + count >= FEWEST else about_all
    designs = choose(list(by_design), _rows(known, cells), count, [cell.design for cell in tried])
    return [by_design[design] for design in designs]


def _rows(known: Knowledge, cells: Sequence[Cell]) -> Array:
    """The rows of information of cells of one deployment, for what its model starts from."""
    prior = prior_of(cells[0].deployment, known.prediction.prior, known.prediction.like)
    return information_rows(cells, _paddings(known, cells), prior)


def _where_open(
    known: Knowledge, cells: Sequence[Cell], tried: Sequence[Cell], *, count: int, max_latency_ms: float | None
) -> list[Cell]:
    if count <= 0:
        return []
    done = {cell.id for cell in tried}
    places = {cell.id: i for i, cell in enumerate(cells)}
    untried = [key for key in places if key not in done]
    ids = undecided(untried, _all_latencies(known), _qualities(known), budget_ms=max_latency_ms)
    if max_latency_ms is not None:
        chosen = [cells[places[key]] for key in ids[:count]]
    else:
        rows, taken = _rows(known, cells), [places[cell.id] for cell in tried]
        chosen = [cells[i] for i in most_telling(rows, [places[key] for key in ids], count, taken)] if ids else []
    left = count - len(chosen)
    return chosen + (_most_informative(known, cells, [*tried, *chosen], left) if left else [])


def _paddings(known: Knowledge, cells: Sequence[Cell]) -> list[Channels]:
    """The padding of each cell; where `auto` is not resolved yet, an assumption that is right on most processors."""
    unknown = [cell for cell in cells if cell.id not in known.channels]
    assumed = [replace(cell, deployment=replace(cell.deployment, pad=ASSUMED_PAD)) for cell in unknown]
    channels = deployed_channels(assumed, {}, {})
    by_id = {cell.id: channels[padded.id] for cell, padded in zip(unknown, assumed, strict=True)}
    return [known.channels[key] if (key := cell.id) in known.channels else by_id[key] for cell in cells]


def _all_latencies(known: Knowledge) -> dict[str, Predicted]:
    """Latencies by cell id: predicted with an interval, or measured with an interval of zero width."""
    measured = {key: Predicted(ms, ms, ms) for key, ms in known.latency_ms.items()}
    left = [cell for cell in known.sweep.cells if cell.id not in measured and cell.id not in known.failures]
    return predict(known.models, left, known.channels) | measured


def _qualities(known: Knowledge) -> dict[str, float]:
    source, extrapolate = known.sweep.accuracies, known.prediction.extrapolate
    qualities = {cell.id: quality_of(cell, source, extrapolate) for cell in known.sweep.cells}
    return {cell: quality[0].quality_pct for cell, quality in qualities.items() if quality}


def _to_verify(known: Knowledge, asked: Sequence[Cell], aims: Aims) -> list[str]:
    """Ids of unmeasured cells of the predicted frontier, spread over it; as many as are left to verify."""
    latencies, qualities = _all_latencies(known), _qualities(known)
    ids = [key for cell in asked if (key := cell.id) in latencies and key in qualities]
    on_frontier = pareto([(latencies[key].ms, qualities[key]) for key in ids])
    believed = [key for key, on in zip(ids, on_frontier, strict=True) if on and key not in known.estimates]
    left = aims.verify - _count(known.prediction.verified, asked)
    return representatives(believed, {key: latencies[key].ms for key in believed}, left)


def _to_validate(known: Knowledge, asked: Sequence[Cell], aims: Aims) -> list[str]:
    fresh = [cell.id for cell in asked if not known.was_tried(cell) and cell.id in known.channels]
    left = aims.validate - _count(known.prediction.held_out, asked)
    return Random(SEED).sample(fresh, min(left, len(fresh))) if left > 0 else []


def _count(ids: Sequence[str], cells: Sequence[Cell]) -> int:
    """How many of the cells have one of the ids."""
    return len({cell.id for cell in cells}.intersection(ids))


def _again(known: Knowledge) -> list[Cell]:
    ids = [cell.id for cell in _to_learn_from_now(known)]
    return known.cells(representatives(ids, known.latency_ms, AGAIN))
