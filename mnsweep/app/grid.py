"""`mnsweep grid`: measure a grid on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mnsweep.app.asking import asked_sweep
from mnsweep.app.requests import GridRequest, Measuring
from mnsweep.app.weights import by_design, networks_of, run_of
from mnsweep.cell import Cell
from mnsweep.choice.certainty import Places
from mnsweep.choice.targets import known_places, settling_targets, unsettled
from mnsweep.errors import UnavailableError
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.measure.plan import Plan, seconds
from mnsweep.measure.rounds import Rules, narrow, quick
from mnsweep.result import Result
from mnsweep.session import Session, open_session
from mnsweep.sweep.derive import Outcome, conclude
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import NewWorker

PATIENCE_S, PATIENCE_CELLS = 120.0, 32  # so long for so many cells, and longer for more


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPlan:
    """What `grid` would measure, and the folder for the results."""

    folder: Path
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOutcome:
    """A measured sweep: `results` of the requested cells, `others` of cells that the sweep held before.

    By cell id, with the reason: cells that do not run here (`skipped`), that failed (`failures`), that have not settled
    (`unsettled`). `places` are those of the whole sweep on the frontier. `needed_s` is how long the fewest rounds of those
    that have no interval take in seconds, `out_of_patience_s` is the default limit of time if that ended the measuring.
    """

    derived: Outcome
    results: tuple[Result, ...]
    others: tuple[Result, ...]
    skipped: Mapping[str, str]
    unsettled: Mapping[str, str]
    places: Places
    needed_s: float
    out_of_patience_s: float | None

    @property
    def failures(self) -> dict[str, str]:
        """The requested cells that failed, by id, with the reason."""
        shown = {result.cell for result in self.results}
        return {cell: reason for cell, reason in self.derived.failures.items() if cell in shown}


def rules_of(measuring: Measuring, rules: Rules) -> Rules:
    """The rules, with the settings of the request in their place."""
    budget_s = rules.time_budget_s if measuring.time_budget_s is None else measuring.time_budget_s
    if measuring.ci_pct is not None:
        rules = narrow(rules, measuring.ci_pct) if rules.known_pct else replace(rules, ci_pct=measuring.ci_pct)
    return replace(rules, time_budget_s=budget_s, cell_timeout_s=measuring.cell_timeout_s)


def plan_grid(request: GridRequest, rules: Rules | None = None) -> GridPlan:
    """Plan a run; nothing is measured or written."""
    machine, directory = read_machine(), results_dir_or_default(request.place.results_dir)
    run = run_of(request.accuracies, directory)
    networks = networks_of(request.trained.weights, run)
    sweep = asked_sweep(request, directory, machine, networks, run)
    folder = SweepFolder(directory / sweep.name / machine.key)
    session = Session(
        sweep=sweep,
        folder=SweepFolder(folder.path / "fresh") if request.measuring.fresh else folder,  # as if nothing were there
        machine=machine,
        rules=_rules(request, rules, len(sweep.cells)),
        max_latency_ms=request.measuring.max_latency_ms,
    )
    return GridPlan(folder=folder.path, plan=session.plan(_wanted(request, session)))


def grid(
    request: GridRequest,
    listener: Listener = SILENT,
    new_worker: NewWorker | None = None,
    rules: Rules | None = None,
    began: float | None = None,
    draw: bool = True,
) -> GridOutcome:
    """Measure the requested cells, except what was measured before, then write all derived files.

    Without `draw`, the plots are left to the outcome (`derived.draw`). The request's settings override `rules`; its time budget
    counts from `began` (a monotonic time in s). Raises `UnavailableError` where no cell runs here.
    """
    machine, directory = read_machine(), results_dir_or_default(request.place.results_dir)
    run = run_of(request.accuracies, directory)
    networks = networks_of(request.trained.weights, run)
    sweep = asked_sweep(request, directory, machine, networks, run)
    with open_session(
        sweep,
        directory,
        machine,
        rules=_rules(request, rules, len(sweep.cells)),
        wait=request.turn.wait,
        fresh=request.measuring.fresh,
        max_latency_ms=request.measuring.max_latency_ms,
        listener=listener,
        new_worker=new_worker,
        began=began,
        trained=by_design(networks.values()),
    ) as session:
        session.measure(_wanted(request, session))
        derived = conclude(session.folder)
    if draw:
        derived.draw()
    return _outcome(request, session, derived)


def outcome_of(request: GridRequest, folder: SweepFolder, machine: Machine, skipped: Mapping[str, str]) -> GridOutcome:
    """What was measured in a folder for a request, by this or another machine; no cell of those `skipped` runs there.

    Writes which sweep the folder is of, and the table. Raises `UnavailableError` where no cell runs there.
    """
    directory = folder.path.parents[1]
    run = run_of(request.accuracies, directory)
    sweep = asked_sweep(request, directory, machine, networks_of(request.trained.weights, run), run).without(skipped)
    if not sweep.cells:
        raise UnavailableError(next(iter(skipped.values())))
    session = Session(
        sweep=sweep,
        folder=folder,
        machine=machine,
        rules=_rules(request, None, len(sweep.cells)),
        max_latency_ms=request.measuring.max_latency_ms,
    )
    session.keep()
    session.skipped |= skipped
    return _outcome(request, session, conclude(folder))


def _rules(request: GridRequest, rules: Rules | None, cells: int) -> Rules:
    chosen = replace(rules_of(request.measuring, rules or Rules(time_budget_s=patience_s(cells))), sustain_s=request.sustain_s)
    return quick(chosen) if request.quick else chosen


def patience_s(cells: int) -> float:
    """How long people wait for so many cells, in seconds: the time budget unless they name one."""
    return PATIENCE_S * max(1.0, cells / PATIENCE_CELLS)


def _wanted(request: GridRequest, session: Session) -> tuple[Cell, ...]:
    return session.sweep.cells if request.all_cells else session.asked


def _outcome(request: GridRequest, session: Session, derived: Outcome) -> GridOutcome:
    wanted = _wanted(request, session)
    asked = {cell.id for cell in wanted}
    targets = settling_targets(
        wanted,
        derived.known.estimates,
        rules=session.rules,
        quality_source=session.sweep.accuracies,
        max_latency_ms=session.max_latency_ms,
    )
    open_cells = unsettled(targets, derived.known.estimates, derived.failures, session.rules)
    stopped = request.measuring.time_budget_s is None and session.time_left_s() <= 0 and open_cells
    without = {r.cell for r in derived.results if r.interval_ms is None} - set(derived.failures)
    return GridOutcome(
        needed_s=sum(seconds(cell, session.rules.least_rounds, session.rules) for cell in wanted if cell.id in without),
        derived=derived,
        results=tuple(r for r in derived.results if r.cell in asked),
        others=tuple(r for r in derived.results if r.cell not in asked),
        skipped=session.skipped,
        unsettled=open_cells,
        places=known_places(session.sweep.cells, derived.known.estimates, session.sweep.accuracies),
        out_of_patience_s=session.rules.time_budget_s if stopped else None,
    )
