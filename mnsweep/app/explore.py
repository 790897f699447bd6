"""`mnsweep explore`: measure a few designs of a fine grid, predict the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from mnsweep.app.asking import asked_space, fewest_of, with_networks
from mnsweep.app.exploration import RULES, Aims
from mnsweep.app.exploration import explore as explore_space
from mnsweep.app.grid import rules_of
from mnsweep.app.requests import ExploreRequest
from mnsweep.app.weights import OF_DESIGN, by_design, networks_of, run_of
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.plan import seconds
from mnsweep.measure.rounds import Rules
from mnsweep.session import open_session
from mnsweep.sweep.derive import Outcome, conclude
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.worker.proxy import NewWorker

TYPICAL = 100  # cells that stand for all of a space when its time is estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreOutcome:
    """An explored space; `skipped` holds the cells that do not run here, by id, with the reason."""

    derived: Outcome
    skipped: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationPlan:
    """The space that would be explored, how much of it would be measured, and about how long that takes in seconds."""

    sweep: Sweep
    aims: Aims
    measure: int
    seconds: float


def plan_exploration(request: ExploreRequest) -> ExplorationPlan:
    """What would be explored, and how much of it would be measured; nothing is measured."""
    directory = results_dir_or_default(request.place.results_dir)
    run = run_of(request.accuracies, directory)
    aims, sweep = _aims(request), asked_space(request, directory, read_machine(), run)
    measure = aims.measure * len({cell.deployment for cell in sweep.cells})
    sample = sweep.cells[:: 1 + len(sweep.cells) // TYPICAL]
    cell_s = sum(seconds(cell, RULES.least_rounds, RULES) for cell in sample) / len(sample)
    total = measure + aims.verify + aims.validate
    return ExplorationPlan(sweep=sweep, aims=aims, measure=measure, seconds=total * cell_s)


def explore(
    request: ExploreRequest,
    listener: Listener = SILENT,
    new_worker: NewWorker | None = None,
    rules: Rules | None = None,
    began: float | None = None,
    draw: bool = True,
) -> ExploreOutcome:
    """Measure, fit, verify and validate, except what was done before, then write all derived files.

    Without `draw`, the plots are left to the outcome (`derived.draw`).
    """
    aims, machine, directory = _aims(request), read_machine(), results_dir_or_default(request.place.results_dir)
    run = run_of(request.accuracies, directory)
    networks = networks_of(request.trained.weights, run)
    sweep = with_networks(asked_space(request, directory, machine, run), networks, OF_DESIGN, directory, machine)
    with open_session(
        sweep,
        directory,
        machine,
        rules=rules_of(request.measuring, rules or RULES),
        wait=request.turn.wait,
        fresh=request.measuring.fresh,
        listener=listener,
        new_worker=new_worker,
        began=began,
        trained=by_design(networks.values()),
    ) as session:
        explore_space(session, aims)
        outcome = ExploreOutcome(derived=conclude(session.folder), skipped=session.skipped)
    if draw:
        outcome.derived.draw()
    return outcome


def _aims(request: ExploreRequest) -> Aims:
    return Aims(
        measure=request.measure,
        verify=request.verify,
        validate=request.validate,
        max_latency_ms=request.measuring.max_latency_ms,
        fewest=fewest_of(request),
    )
