"""The whole flow on one screen: plan, prepare, measure, store; what follows from it is derived (`derive.py`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import psutil

from mnsweep.accuracy.published import published
from mnsweep.arch.channel_padding import from_text, to_text
from mnsweep.cell import Cell
from mnsweep.choice.frontier import near_frontier
from mnsweep.errors import UnavailableError
from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.campaign import Campaign, Status
from mnsweep.measure.fit import Estimate, fit
from mnsweep.measure.plan import Group, groups, seconds
from mnsweep.measure.record import Probe
from mnsweep.measure.rounds import Rules
from mnsweep.measure.stop_rule import has_settled, unsettled_reason
from mnsweep.prepare.deploy import SEED, Prepared, prepare
from mnsweep.sweep.derive import Outcome, derive
from mnsweep.sweep.file import Prediction, Sweep, parse_sweep, write_sweep
from mnsweep.sweep.store import SWEEP, SweepFolder
from mnsweep.worker.proxy import NewWorker, WorkerProcess

MEMORY_SHARE = 0.25  # of what is available, for the sessions that are open at once
NEAR = 0.05  # latencies this close to the frontier or the budget decide what is picked
ELSEWHERE = 2.0  # a cell away from both may be this much less certain


@dataclass(frozen=True, slots=True)
class Request:
    """A sweep to measure, by which rules; `max_latency_ms` is the budget that the choice will be made for.

    Of a sweep that predicts, only the cells `wanted` are measured; `beside` are measured cells to time again with them.
    """

    sweep: Sweep
    rules: Rules
    max_latency_ms: float | None = None
    wanted: tuple[Cell, ...] = ()
    beside: tuple[Cell, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells to measure."""
        return self.sweep.cells if self.sweep.prediction is None else self.wanted


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


def merge(sweep: Sweep, folder: SweepFolder) -> Sweep:
    """The sweep with the cells that its folder holds already in front; once it predicts, it goes on to."""
    if not (folder.path / SWEEP).exists():
        return sweep
    kept = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP)
    cells = tuple(dict.fromkeys((*kept.cells, *sweep.cells)))
    return replace(sweep, cells=cells, prediction=_merged(kept.prediction, sweep.prediction))


def _merged(kept: Prediction | None, asked: Prediction | None) -> Prediction | None:
    if kept is None or asked is None:
        return kept or asked
    return replace(kept, extrapolate=kept.extrapolate or asked.extrapolate)


def plan(request: Request, folder: SweepFolder) -> Plan:
    """What is left to measure, with an estimate of the time before anything is timed."""
    records, rules = folder.read(), request.rules
    found = fit(records.blocks).estimates
    targets = settling_targets(request, found)
    pending = [cell for cell in request.cells if not has_settled(found.get(cell.id), targets[cell.id], rules)]
    began_at = records.processes[0].started_at if records.processes else None
    limit_bytes = (read_facts().memory_limit_gib or float("inf")) * 2**30
    memory_bytes = min(psutil.virtual_memory().available, limit_bytes) * MEMORY_SHARE
    left_s = sum(seconds(cell, rules.least_rounds, rules) for cell in pending)
    wanted = set(request.cells)
    known = [cell for cell in request.sweep.cells if cell.id in found or cell in wanted]
    together = groups(pending, known, measured=found, memory_bytes=memory_bytes, beside=request.beside)
    return Plan(tuple(together), min(left_s, rules.time_budget_s), began_at)


def begin(request: Request, folder: SweepFolder, machine: Machine) -> Plan:
    """Take the folder for this machine and these cells; what is left to measure.

    Raises `StoreError` when the folder is another machine's, or can't be written.
    """
    the_plan = plan(request, folder)  # reads everything: what is damaged is left as it is
    folder.write_machine(machine)
    folder.replace(SWEEP, write_sweep(request.sweep))
    return the_plan


def get_ready(
    request: Request, the_plan: Plan, folder: SweepFolder, new_worker: NewWorker | None = None
) -> tuple[Request, Plan, Prepared]:
    """Ask the runtimes what must be known before cells can be built; what is left without cells that do not run here.

    Cells that were measured already stay, and keep their padding. Raises `UnavailableError` when nothing is left.
    """
    records = folder.read()
    needed = tuple(dict.fromkeys(chain.from_iterable(group.all for group in the_plan.groups)))
    kept = {cell: from_text(text) for cell, text in records.padding.items()}
    prepared = prepare(new_worker or partial(WorkerProcess, request.rules.cell_timeout_s), needed, kept, records.probes)
    if not prepared.skipped:
        return request, the_plan, prepared
    measured = {block.cell for block in records.blocks}
    left = _only(request, lambda cell: cell.id not in prepared.skipped or cell.id in measured)
    if not left.sweep.cells:
        raise UnavailableError(next(iter(prepared.skipped.values())))
    folder.replace(SWEEP, write_sweep(left.sweep))
    return left, plan(_only(left, lambda cell: cell.id not in prepared.skipped), folder), prepared


def _only(request: Request, wanted: Callable[[Cell], bool]) -> Request:
    cells, wanted_cells = (tuple(filter(wanted, cells)) for cells in (request.sweep.cells, request.wanted))
    return replace(request, sweep=replace(request.sweep, cells=cells), wanted=wanted_cells)


def run(
    request: Request,
    the_plan: Plan,
    prepared: Prepared,
    folder: SweepFolder,
    on_status: Callable[[Status], None],
    new_worker: NewWorker | None = None,
) -> Outcome:
    """Measure what the plan leaves open, then write everything derived; arguments as of `measure`."""
    measure(request, the_plan, prepared, folder, on_status, new_worker)
    return derive(folder)


def measure(
    request: Request,
    the_plan: Plan,
    prepared: Prepared,
    folder: SweepFolder,
    on_status: Callable[[Status], None],
    new_worker: NewWorker | None = None,
) -> None:
    """Measure what the plan leaves open.

    Each block is on disk before the next is timed; an interrupt loses none, and the next run continues.
    `new_worker` starts a worker process (another kind in tests).
    """
    if the_plan.groups:
        records = folder.read()
        with folder.appending() as append:
            for (runtime, precision), chain_ms in prepared.probes.items():
                if (runtime, precision) not in records.probes:
                    append(Probe(runtime, precision, chain_ms))
            campaign = Campaign(
                records=records,
                rules=request.rules,
                append=append,
                model_of=prepared.model_of,
                targets=partial(settling_targets, request),
                on_status=on_status,
                new_worker=new_worker or partial(WorkerProcess, request.rules.cell_timeout_s),
                settings={**prepared.versions, "seed": SEED},
                padding={cell: to_text(channels) for cell, channels in prepared.channels.items()},
            )
            campaign.measure(the_plan.groups)


def settling_targets(request: Request, found: Mapping[str, Estimate]) -> dict[str, float]:
    """Half width at which each cell has settled, in %: narrow where the choice is made, wider elsewhere.

    That is near the budget where there is one, else near the frontier. A cell whose quality is not known may
    be on the frontier once it is.
    """
    latency = {cell.id: found[cell.id].p50_ms if cell.id in found else None for cell in request.cells}
    budget = request.max_latency_ms
    if budget is not None:
        narrow = [ms is None or abs(ms / budget - 1) <= NEAR for ms in latency.values()]
    else:
        qualities = [published(cell, request.sweep.quality_source) for cell in request.cells]
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
        for cell in request.cells
        if cell.id not in outcome.failures
    }
    return {cell: reason for cell, reason in reasons.items() if reason}
