"""The whole flow on one screen: plan, prepare, measure, store, estimate, report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import psutil

from mnsweep.accuracy.published import published
from mnsweep.arch.channel_padding import from_text, to_text
from mnsweep.cell import Cell
from mnsweep.deploy import SEED, Prepared, prepare
from mnsweep.errors import UnavailableError
from mnsweep.explore.frontier import near_frontier
from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.campaign import Campaign, Status
from mnsweep.measure.estimate import Estimate, Movement, estimate, speed_movement
from mnsweep.measure.plan import Group, groups, seconds
from mnsweep.measure.proxy import Worker
from mnsweep.measure.rounds import Rules
from mnsweep.measure.settle import has_settled, unsettled_reason
from mnsweep.report.caption import caption
from mnsweep.report.cliffs_plot import cliffs_plot
from mnsweep.report.plot import mult_adds_plot, pareto_plot
from mnsweep.report.table import measured_table
from mnsweep.report.warn import with_warnings
from mnsweep.result import Result, to_csv
from mnsweep.store import CELLS, SWEEP, SweepFolder
from mnsweep.sweep_file import Sweep, parse_sweep, write_sweep

MEMORY_SHARE = 0.25  # of what is available, for the sessions that are open at once
NEAR = 0.05  # latencies this close to the frontier or the budget decide what is picked
ELSEWHERE = 2.0  # a cell away from both may be this much less certain


@dataclass(frozen=True, slots=True)
class Request:
    """A sweep to measure, by which rules; `max_latency_ms` is the budget that the choice will be made for."""

    sweep: Sweep
    rules: Rules
    max_latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do: groups of cells that are open together, with an estimate of the time."""

    groups: tuple[Group, ...]
    seconds: float
    began_at: str | None  # when the first of the blocks there are was taken; None where there are none

    @property
    def pending(self) -> list[Cell]:
        """The cells that have not settled yet."""
        return list(chain.from_iterable(group.cells for group in self.groups))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A sweep after a run: its results, where they are, and what could not be measured, with the reason."""

    folder: SweepFolder
    results: tuple[Result, ...]
    failures: Mapping[str, str]
    movement: Movement
    estimates: Mapping[str, Estimate]


def merge(sweep: Sweep, folder: SweepFolder) -> Sweep:
    """The sweep with the cells that its folder holds already in front."""
    if not (folder.path / SWEEP).exists():
        return sweep
    kept = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP)
    return Sweep(sweep.name, tuple(dict.fromkeys((*kept.cells, *sweep.cells))), sweep.quality_source)


def plan(request: Request, folder: SweepFolder) -> Plan:
    """What is left to measure, with an estimate of the time before anything is timed."""
    records, rules, cells = folder.read(), request.rules, request.sweep.cells
    found = estimate(records.blocks)
    targets = settling_targets(request, found)
    pending = [cell for cell in cells if not has_settled(found.get(cell.id), targets[cell.id], rules)]
    began_at = records.processes[0].started_at if records.processes else None
    limit_bytes = (read_facts().memory_limit_gib or float("inf")) * 2**30
    memory_bytes = min(psutil.virtual_memory().available, limit_bytes) * MEMORY_SHARE
    left_s = sum(seconds(cell, rules.least_rounds, rules) for cell in pending)
    return Plan(tuple(groups(pending, cells, found, memory_bytes)), min(left_s, rules.time_budget_s), began_at)


def begin(request: Request, folder: SweepFolder, machine: Machine) -> Plan:
    """Take the folder for this machine and these cells; what is left to measure.

    Raises `StoreError` when the folder is another machine's, or can't be written.
    """
    the_plan = plan(request, folder)  # reads everything: what is damaged is left as it is
    folder.write_machine(machine)
    folder.replace(SWEEP, write_sweep(request.sweep))
    return the_plan


def get_ready(
    request: Request, the_plan: Plan, folder: SweepFolder, new_worker: Callable[[], Worker] | None = None
) -> tuple[Request, Plan, Prepared]:
    """Ask the runtimes what must be known before cells can be built; what is left without cells that do not run here.

    Cells that were measured already stay, and keep their padding. Raises `UnavailableError` when nothing is left.
    """
    records = folder.read()
    needed = tuple(dict.fromkeys(chain.from_iterable(group.all for group in the_plan.groups)))
    kept = {cell: from_text(text) for cell, text in records.padding.items()}
    prepared = prepare(new_worker or partial(Worker, request.rules.cell_timeout_s), needed, kept)
    if not prepared.skipped:
        return request, the_plan, prepared
    measured = {block.cell for block in records.blocks}
    left = _only(request, lambda cell: cell.id not in prepared.skipped or cell.id in measured)
    if not left.sweep.cells:
        raise UnavailableError(next(iter(prepared.skipped.values())))
    folder.replace(SWEEP, write_sweep(left.sweep))
    return left, plan(_only(left, lambda cell: cell.id not in prepared.skipped), folder), prepared


def _only(request: Request, wanted: Callable[[Cell], bool]) -> Request:
    return replace(request, sweep=replace(request.sweep, cells=tuple(filter(wanted, request.sweep.cells))))


def run(
    request: Request,
    the_plan: Plan,
    prepared: Prepared,
    folder: SweepFolder,
    on_status: Callable[[Status], None],
    new_worker: Callable[[], Worker] | None = None,
) -> Outcome:
    """Measure what the plan leaves open, then write everything derived.

    Each block is on disk before the next is timed; an interrupt loses none, and the next run continues.
    `new_worker` starts a worker process (another kind in tests).
    """
    if the_plan.groups:
        with folder.appending() as append:
            campaign = Campaign(
                records=folder.read(),
                rules=request.rules,
                append=append,
                model_of=prepared.model_of,
                targets=partial(settling_targets, request),
                on_status=on_status,
                new_worker=new_worker or partial(Worker, request.rules.cell_timeout_s),
                settings={**prepared.versions, "seed": SEED},
                padding={cell: to_text(channels) for cell, channels in prepared.channels.items()},
            )
            campaign.measure(the_plan.groups)
    return derive(folder)


def settling_targets(request: Request, found: Mapping[str, Estimate]) -> dict[str, float]:
    """Half width at which each cell has settled, in %: narrow where the choice is made, wider elsewhere.

    That is near the budget where there is one, else near the frontier. A cell whose quality is not known may
    be on the frontier once it is.
    """
    latency = {cell.id: found[cell.id].p50_ms if cell.id in found else None for cell in request.sweep.cells}
    budget = request.max_latency_ms
    if budget is not None:
        narrow = [ms is None or abs(ms / budget - 1) <= NEAR for ms in latency.values()]
    else:
        qualities = [published(cell, request.sweep.quality_source) for cell in request.sweep.cells]
        points = [(ms, q.quality_pct if q else None) for ms, q in zip(latency.values(), qualities, strict=True)]
        narrow = near_frontier(points, NEAR)
    ci_pct = request.rules.ci_pct
    return {key: ci_pct * (1.0 if near else ELSEWHERE) for key, near in zip(latency, narrow, strict=True)}


def unsettled(request: Request, outcome: Outcome) -> dict[str, str]:
    """The cells of the sweep that have not settled, each with the reason; failed ones apart."""
    found = outcome.estimates
    targets = settling_targets(request, found)
    reasons = {
        cell.id: unsettled_reason(found.get(cell.id), targets[cell.id], request.rules)
        for cell in request.sweep.cells
        if cell.id not in outcome.failures
    }
    return {cell: reason for cell, reason in reasons.items() if reason}


def derive(folder: SweepFolder) -> Outcome:
    """Make `cells.csv` and the plots from `blocks.jsonl`, `sweep.toml` and `machine.json`."""
    sweep = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP)
    records, machine = folder.read(), folder.read_machine()
    found = estimate(records.blocks)
    padding = {cell: from_text(text) for cell, text in records.padding.items()}
    results = with_warnings(measured_table(sweep.cells, found, sweep.quality_source, padding), machine)
    movement = speed_movement(records.blocks)
    folder.replace(CELLS, to_csv(results))
    text = caption(sweep.name, results, records, machine, movement)
    for name, content in {**pareto_plot(results, text), **mult_adds_plot(results, text), **cliffs_plot(results, text)}.items():
        folder.replace(name, content)
    ids = {cell.id for cell in sweep.cells}
    failures = {cell: reason for cell, reason in records.failures.items() if cell in ids}
    return Outcome(folder, tuple(results), failures, movement, found)
