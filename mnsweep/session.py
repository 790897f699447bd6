"""One sweep on this machine: its results so far, the cells left to measure, and measuring them.

    with open_session(sweep, results_dir, machine) as session:
        session.measure(session.asked)
    outcome = derive(session.folder)

Each block is on disk before the next one is timed. Records also stay in memory, so files are read only once.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec
import psutil

from mnsweep.arch.channel_padding import from_text, to_text
from mnsweep.cell import Cell, Design
from mnsweep.choice.targets import settling_targets
from mnsweep.errors import UnavailableError
from mnsweep.estimate.fit import Estimate
from mnsweep.importing.trained import Trained
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import Machine
from mnsweep.machine.lock import measuring
from mnsweep.measure.campaign import Campaign
from mnsweep.measure.plan import Plan, groups, seconds
from mnsweep.measure.rounds import Rules
from mnsweep.measure.stop_rule import is_done
from mnsweep.prepare.kept_models import KeptModels
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare
from mnsweep.prepare.twins import twins
from mnsweep.record import Probe, Record, Records, Same
from mnsweep.result import Result
from mnsweep.sweep.derive import tabulate
from mnsweep.sweep.file import Prediction, Sweep, write_sweep
from mnsweep.sweep.kept import kept_sweep, merged
from mnsweep.sweep.knowledge import Knowledge, of_twins, understand
from mnsweep.sweep.store import SWEEP, SweepFolder
from mnsweep.wording import count_of
from mnsweep.worker.proxy import NewWorker, WorkerProcess

KEPT_SHARE = 0.25  # of that, for built files
MEMORY_SHARE = 0.25  # of available memory, for all runtime sessions that are open at once


@dataclass(slots=True, kw_only=True)
class Session:
    """Measures cells of a sweep and records them in its folder.

    `asked` are the cells requested now; `sweep` also has those already in the folder. `max_latency_ms` is the latency budget of
    the later choice. Designs that are `trained` run with those weights. `new_worker` starts a worker process. `skipped` gives,
    by cell id, the reason why a cell is unavailable here; such cells are removed from `sweep` and `asked` unless they were
    measured before. Raises `StoreError` if the folder is damaged or belongs to another machine. Nothing is written before
    `measure`, `keep` or `note`.
    """

    sweep: Sweep
    folder: SweepFolder
    machine: Machine
    rules: Rules
    max_latency_ms: float | None = None
    listener: Listener = SILENT
    new_worker: NewWorker | None = None
    clock: Callable[[], float] = time.monotonic
    asked: tuple[Cell, ...] = field(init=False)
    skipped: dict[str, str] = field(init=False, default_factory=dict)
    records: Records = field(init=False)
    prepared: Prepared = field(init=False)
    began: float | None = None
    trained: Mapping[Design, Trained] = field(default_factory=dict)
    _known: Knowledge | None = field(init=False, default=None)
    _revision: int = field(init=False, default=-1)

    def __post_init__(self) -> None:
        self.began = self.clock() if self.began is None else self.began
        self.folder.check_machine(self.machine)
        self.records = self.folder.read()
        self.asked = self.sweep.cells
        self.sweep = merged(self.sweep, kept_sweep(self.folder, self.records))
        self.prepared = Prepared(
            weight_bits=self.machine.int8_weight_bits,
            channels={cell: from_text(text) for cell, text in self.records.padding.items()},
            probes=dict(self.records.probes),
            trained=self.trained,
        )

    def known(self) -> Knowledge:
        """The estimates, models and failures from all records so far."""
        if self._known is None or self._known.sweep is not self.sweep or self._revision != self.records.revision:
            self._known, self._revision = understand(self.sweep, self.records), self.records.revision
        return self._known

    def results(self) -> list[Result]:
        """The results of the cells asked for, from all records so far."""
        asked = {cell.id for cell in self.asked}
        return [result for result in tabulate(self.known(), self.machine) if result.cell in asked]

    def plan(self, cells: Sequence[Cell], *, beside: Sequence[Cell] = (), rules: Rules | None = None) -> Plan:
        """Plan the cells that have not settled, with an estimate of the time; cells `beside` them are timed again with them."""
        rules, estimates = rules or self.rules, self.known().estimates
        targets = self._targets(cells, rules, estimates)
        pending = [cell for cell in cells if not is_done(estimates.get(cell.id), targets[cell.id], rules)]
        wanted = set(cells)
        timed = [cell for cell in self.sweep.cells if cell.id not in self.records.same]
        comparable = [cell for cell in timed if cell.id in estimates or cell in wanted]
        left_s = sum(seconds(cell, rules.least_rounds, rules) for cell in pending)
        return Plan(
            sweep=self.sweep.name,
            groups=tuple(groups(pending, comparable, measured=estimates, memory_bytes=self._memory_bytes(), beside=beside)),
            seconds=min(left_s, self.time_left_s(rules)),
            kept=len(cells) - len(pending),
            begun=sum(cell.id in estimates for cell in pending),
            began_at=self.records.processes[0].started_at if self.records.processes else None,
        )

    def measure(self, cells: Sequence[Cell], *, why: str = "", beside: Sequence[Cell] = (), rules: Rules | None = None) -> None:
        """Measure those of `cells` that have not settled, by `rules` or else by the session's rules.

        `why` is the purpose that the listener is told. Cells `beside` them are timed again in the same rounds. Each block is
        on disk before the next one is timed, so an interrupt loses no block. Raises `UnavailableError` if none of the cells
        asked for runs here.
        """
        plan = self.plan(cells, beside=beside, rules=rules)
        self.keep()
        self.listener.planned(plan)
        if not plan.pending:
            return
        if why:
            time_s = f"about {plan.seconds:.0f} s at least" if plan.seconds else "but no time is left for them"
            self.listener.stage(f"{count_of(len(plan.pending), 'cell')} {why}, {time_s}")
        self._prepare(list(dict.fromkeys(chain.from_iterable(group.all for group in plan.groups))))
        cells, beside = ([cell for cell in some if cell.id not in self.skipped] for some in (cells, beside))
        self._time(cells, beside=beside, rules=rules or self.rules)
        left = sum(not self.known().was_tried(cell) for cell in cells)
        if why and plan.seconds and left:
            self.listener.stage(f"the time ended before {left} of them were measured")

    def keep(self) -> None:
        """Write which machine and which sweep the folder is of."""
        self.folder.write_machine(self.machine)
        self._write(self.sweep)

    def note(self, **cells: tuple[str, ...]) -> None:
        """Record which cell ids are `held_out` or `verified`, before those cells are measured."""
        noted = self.sweep.prediction or Prediction()
        self._write(replace(self.sweep, prediction=msgspec.structs.replace(noted, **cells)))

    def _targets(self, cells: Sequence[Cell], rules: Rules, estimates: Mapping[str, Estimate]) -> dict[str, float]:
        return settling_targets(
            cells,
            {**estimates, **of_twins(self.records.same, estimates)},
            rules=rules,
            quality_source=self.sweep.accuracies,
            max_latency_ms=self.max_latency_ms,
        )

    def time_left_s(self, rules: Rules | None = None) -> float:
        """Seconds until the time budget of the rules, or else of the session's rules, is used up."""
        return max(0.0, (rules or self.rules).time_budget_s - (self.clock() - (self.began or 0.0)))

    def _memory_bytes(self) -> float:
        limit_bytes = (self.machine.memory_limit_gib or float("inf")) * 2**30
        return min(psutil.virtual_memory().available, limit_bytes) * MEMORY_SHARE

    def _prepare(self, cells: Sequence[Cell]) -> None:
        """Determine what the cells need before they can be built, and drop those that are unavailable here."""
        remarked = set(self.prepared.remarks)
        prepare(self.prepared, cells, self._worker())
        skipped = {cell.id: self.prepared.skipped[cell.id] for cell in cells if cell.id in self.prepared.skipped}
        remarks = {cell: remark for cell, remark in self.prepared.remarks.items() if cell not in remarked}
        if skipped or remarks:
            self.listener.skipped(skipped, remarks)
        if skipped:
            self.skipped |= skipped
            self._drop({_offer_key(cell) for cell in cells if cell.id in skipped}, next(iter(skipped.values())))

    def _drop(self, unavailable: set[tuple[str, str]], reason: str) -> None:
        """Remove unmeasured cells whose runtime and precision are unavailable here."""
        measured = {block.cell for block in self.records.blocks}

        def stays(cell: Cell) -> bool:
            return _offer_key(cell) not in unavailable or cell.id in measured

        self.asked = tuple(filter(stays, self.asked))
        if not self.asked:
            raise UnavailableError(reason)
        self._write(replace(self.sweep, cells=tuple(filter(stays, self.sweep.cells))))

    def _write(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.folder.replace(SWEEP, write_sweep(sweep))

    def _worker(self, cells: Sequence[Cell] = ()) -> NewWorker:
        """Starts a worker process that loads the runtimes of `cells` at once."""
        runtimes = tuple(dict.fromkeys(cell.deployment.runtime for cell in cells))
        return self.new_worker or partial(WorkerProcess, self.rules.cell_timeout_s, runtimes=runtimes)

    def _time(self, cells: Sequence[Cell], *, beside: Sequence[Cell], rules: Rules) -> None:
        with self.folder.appending() as append, ExitStack() as kept:
            new: list[Record] = [*self._new_probes(), *self._new_twins()]
            for record in new:
                append(record)
                self.records.add(record)
            plan = self.plan(self._timed_for(cells), beside=self._timed_for(beside), rules=rules)
            models = kept.enter_context(KeptModels(self.prepared.model_of, self._memory_bytes() * KEPT_SHARE))
            campaign = Campaign(
                records=self.records,
                rules=replace(rules, time_budget_s=self.time_left_s(rules)),
                append=append,
                model_of=models,
                prepare=models.prepare,
                targets=partial(self._targets, cells, rules),
                on_status=self.listener.status,
                on_process=lambda: self.listener.so_far(self.results),
                new_worker=self._worker(plan.pending),
                settings={**self.prepared.versions, "seed": self.prepared.seed},
                padding={cell: to_text(channels) for cell, channels in self.prepared.channels.items()},
                clock=self.clock,
            )
            campaign.measure(plan.groups)

    def _new_probes(self) -> list[Probe]:
        known = self.records.probes
        return [Probe(*key, chain_ms) for key, chain_ms in self.prepared.probes.items() if key not in known]

    def _new_twins(self) -> list[Same]:
        """The cells that are timed under another name, as far as no record says so yet."""
        measured = {block.cell for block in self.records.blocks}
        found = twins(self.sweep.cells, self.prepared.channels, measured=measured)
        return [Same(cell, timed_as) for cell, timed_as in found.items() if cell not in self.records.same]

    def _timed_for(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells that are timed for `cells`: each file once."""
        by_id = {cell.id: cell for cell in self.sweep.cells}
        return list(dict.fromkeys(by_id[self.records.same.get(cell.id, cell.id)] for cell in cells))


def _offer_key(cell: Cell) -> tuple[str, str]:
    """(runtime, precision): the unit that is available or unavailable."""
    return cell.deployment.runtime, cell.deployment.precision


@contextmanager
def open_session(
    sweep: Sweep,
    results_dir: Path,
    machine: Machine,
    *,
    rules: Rules,
    wait: bool = False,
    fresh: bool = False,
    max_latency_ms: float | None = None,
    listener: Listener = SILENT,
    new_worker: NewWorker | None = None,
    began: float | None = None,
    trained: Mapping[Design, Trained] | None = None,
) -> Iterator[Session]:
    """Open a session that holds the machine's lock; with `fresh`, earlier results of the sweep are set aside first.

    Raises `UnavailableError` if another process is measuring here, unless `wait` is set.
    """
    folder = SweepFolder(results_dir / sweep.name / machine.key)
    asked_at = time.monotonic()
    with measuring(wait):
        waited_s = time.monotonic() - asked_at
        if fresh and (aside := folder.set_aside()):
            listener.set_aside(aside)
        yield Session(
            sweep=sweep,
            folder=folder,
            machine=machine,
            rules=rules,
            max_latency_ms=max_latency_ms,
            listener=listener,
            new_worker=new_worker,
            began=None if began is None else began + waited_s,
            trained=trained or {},
        )
