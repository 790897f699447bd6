"""A campaign measures groups of cells, each in several successive worker processes, until their cells have settled.

With several groups, all are measured a little before any is measured more: what is known of one group decides which cells of
the others still matter.
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from random import Random
from typing import Generic, TypeAlias

from mnsweep.errors import StoreError
from mnsweep.estimate.fit import Estimate, fit
from mnsweep.measure.plan import Group, Timed, process_seconds
from mnsweep.measure.rounds import Rounds, Rules
from mnsweep.measure.status import Status
from mnsweep.measure.stop_rule import has_settled, is_done, rounds_left
from mnsweep.record import Block, Process, Record, Records, difference
from mnsweep.worker.base import Model
from mnsweep.worker.proxy import NewTimer, Timer, WorkerLostError
from mnsweep.worker.relay import Relay

SILENT_S = 5.0  # without a word within a round, at most

Targets: TypeAlias = Callable[[Mapping[str, Estimate]], Mapping[str, float]]  # by cell id: half width in % to settle at


@dataclass(slots=True, kw_only=True)
class Campaign(Generic[Timed]):
    """Measures groups of cells; its state is the records, the settled and failed cells, and the start time.

    `append` writes each record to disk before the next block is timed. `model_of` returns the ONNX file of a
    cell. `settings` and `padding` (the resolved padding by cell id) are recorded with every process. `targets` returns the
    required half width of each cell. `prepare` is told which cells are opened next, while their worker starts. `on_status`
    hears of each round, `on_process` of each process that has ended. `new_worker` starts a worker process.
    """

    records: Records
    rules: Rules
    append: Callable[[Record], None]
    model_of: Callable[[Timed], Model]
    targets: Targets
    on_status: Callable[[Status], None]
    new_worker: NewTimer
    prepare: Callable[[Sequence[Timed]], None] = lambda cells: None
    on_process: Callable[[], None] = lambda: None
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    padding: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    done: set[str] = field(default_factory=set)  # settled, or at the limit of rounds
    settled: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    widest_pct: float | None = None
    left: dict[str, float] = field(default_factory=dict)  # estimated rounds that each cell still needs
    estimates: dict[str, Estimate] = field(default_factory=dict)  # the latest of each cell
    timed: int = 0  # blocks of the round that is going on
    said_at: float = field(init=False)
    began: float = field(init=False)
    blocks_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.said_at = self.clock()
        self.blocks_before = len(self.records.blocks)

    def measure(self, groups: Sequence[Group[Timed]]) -> None:
        """Measure every group, one process after another, until its cells have settled or failed, or time is up.

        Raises `StoreError` when earlier processes of the sweep were measured with other settings.
        """
        self.left = {cell.id: self.rules.least_rounds for group in groups for cell in group.cells}
        with Relay(self.new_worker) as relay:
            while open_groups := [group for group in groups if self._is_open(group, groups)]:
                for group in open_groups:
                    if self._is_open(group, groups):
                        self._in_one_process(group, relay)
                        self.on_process()

    def _is_open(self, group: Group[Timed], groups: Sequence[Group[Timed]]) -> bool:
        """Whether a group has cells to measure, now that all records are known."""
        if self._out_of_time():
            return False
        self._estimate({cell.id for each in groups for cell in each.all})
        self._settle(group)
        return bool(self._open_cells(group))

    def _open_cells(self, group: Group[Timed]) -> set[str]:
        return {cell.id for cell in group.cells} - self.done - self.failed

    def _out_of_time(self) -> bool:
        return self._left_s() <= 0

    def _in_one_process(self, group: Group[Timed], relay: Relay) -> None:
        number = 1 + max((p.number for p in self.records.processes), default=0)
        wanted = self._open_cells(group)
        references = {cell.id for cell in group.references}
        cells = [cell for cell in group.all if cell.id in wanted | references and cell.id not in self.failed]
        cells, canary = self._affordable(cells, group.canary)
        with relay.turn() as worker:
            self.prepare(cells)
            worker.ready()
            worker.pin(max(cell.deployment.threads for cell in cells))
            self._begin(number, cells)
            rounds = self._rounds(number, worker, canary=canary.id)
            try:
                if self._needs_another(group):
                    relay.start_next()
                opened = self._open_all(cells, rounds, worker)
                relay.await_next()
                self._sustain(worker, opened, rounds)
                keys = [cell.id for cell in opened]
                rounds.run(keys, partial(self._visits, group, keys, number), warm_s=self._left_s() / 2)
            except WorkerLostError:
                pass  # recorded as the failure of that cell; the other cells continue in a new process

    def _needs_another(self, group: Group[Timed]) -> bool:
        """Whether some cell of the group may not settle in the process that begins now."""
        known = (self.estimates.get(cell.id) for cell in group.cells)
        rounds = min((estimate.rounds if estimate else 0 for estimate in known), default=0)
        return rounds + self.rules.process_rounds < self.rules.most_rounds

    def _left_s(self) -> float:
        return self.rules.time_budget_s - (self.clock() - self.began)

    def _open_all(self, cells: Sequence[Timed], rounds: Rounds, worker: Timer) -> list[Timed]:
        """Open the cells in order, for a third of the time that is left; return those tried, at least one."""
        until = self.clock() + self._left_s() / 3
        tried: list[Timed] = []
        for cell in cells:
            if tried and self.clock() >= until:
                break
            rounds.attempt(cell.id, partial(self._open, worker, cell))
            tried.append(cell)
        return tried

    def _affordable(self, cells: Sequence[Timed], canary: Timed) -> tuple[list[Timed], Timed]:
        """The cells that a process has time for, and the canary among them; with a time budget those that take least first."""
        left_s = self._left_s()
        if left_s == float("inf"):
            return list(cells), canary
        by_cost: list[Timed] = sorted(cells, key=lambda cell: process_seconds(cell, self.rules))
        spent_s = accumulate(process_seconds(cell, self.rules) for cell in by_cost)
        kept = [cell for cell, until_s in zip(by_cost, spent_s, strict=True) if until_s <= left_s] or by_cost[:1]
        canary = canary if len(kept) == len(cells) else kept[0]
        return [canary] + [cell for cell in kept if cell != canary], canary

    def _rounds(self, process: int, worker: Timer, canary: str) -> Rounds:
        return Rounds(
            process=process,
            time=worker.time,
            sink=self._write,
            rules=self.rules,
            rng=Random(process),
            clock=self.clock,
            canary=canary,
            failed=self.failed,
            out_of_time=self._out_of_time,
        )

    def _visits(self, group: Group[Timed], opened: Sequence[str], process: int, done: int) -> list[str]:
        """Cells to time in the next round, by id: unsettled cells and the references; none when all cells have settled.

        Only cells `opened` in this process are included: an earlier settled cell may have become unsettled since.
        """
        if done:
            self._estimate({cell.id for cell in group.all})
            self._settle(group)
            self._say(process, done, 0)
        wanted = self._open_cells(group)
        if not wanted or done >= self.rules.process_rounds or self._out_of_time():
            return []
        wanted |= {cell.id for cell in group.references}
        return [key for key in opened if key in wanted]

    def _begin(self, number: int, cells: Sequence[Timed]) -> None:
        settings = {**self.settings, "sustain_s": self.rules.sustain_s}
        if differing := difference(self.records.settings, settings):  # a runtime may join later
            name, then, now = differing
            fix = "start over with `fresh`, or use another `name`"
            raise StoreError(f"this sweep was measured with {name} {then}, now it is {now}", fix)
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        ids = tuple(cell.id for cell in cells)
        padding = {key: text for key in ids if (text := self.padding.get(key))}
        self._write(Process(number=number, started_at=started_at, settings=settings, cells=ids, padding=padding))

    def _open(self, worker: Timer, cell: Timed) -> None:
        worker.open(cell.id, self.model_of(cell), cell.deployment)

    def _sustain(self, worker: Timer, cells: Sequence[Timed], rounds: Rounds) -> None:
        """Heat up the machine before the first warm-up: run the cell with the most threads for `sustain_s`."""
        awake = [cell for cell in cells if cell.id not in self.failed]
        if self.rules.sustain_s and awake:
            widest = max(awake, key=lambda cell: cell.deployment.threads)
            rounds.attempt(widest.id, partial(worker.time, widest.id, 1, 1e3 * self.rules.sustain_s))

    def _write(self, record: Record) -> None:
        self.append(record)
        self.records.add(record)
        if isinstance(record, Block):
            self.timed += 1
            if self.clock() - self.said_at >= SILENT_S:
                self._say(record.process, record.round, self.timed)

    def _say(self, process: int, number: int, timed: int) -> None:
        """Report progress at the end of a round, or within it after so many `timed` blocks."""
        self.timed, self.said_at = timed, self.clock()
        self.on_status(self._status(process, number, timed))

    def _estimate(self, keys: Set[str]) -> None:
        self.estimates |= fit([b for b in self.records.blocks if b.cell in keys]).estimates

    def _settle(self, group: Group[Timed]) -> None:
        """Decide which cells of the group have settled, from the latest estimates."""
        targets = self.targets(self.estimates)
        for key in (cell.id for cell in group.cells):
            estimate, target_pct = self.estimates.get(key), targets.get(key, self.rules.ci_pct)
            self.left[key] = rounds_left(estimate, target_pct, self.rules)
            for cells, holds in ((self.settled, has_settled), (self.done, is_done)):  # later rounds may reveal more spread
                (cells.add if holds(estimate, target_pct, self.rules) else cells.discard)(key)
        open_cells = [self.estimates[key] for key in self._open_cells(group) if key in self.estimates]
        self.widest_pct = max((e.relative_ci_pct for e in open_cells if e.relative_ci_pct), default=None)

    def _status(self, process: int, number: int, timed: int) -> Status:
        taken = len(self.records.blocks) - self.blocks_before
        block_s = (self.clock() - self.began) / max(1, taken)
        left_s = block_s * sum(left for key, left in self.left.items() if key not in self.done | self.failed)
        return Status(
            process=process,
            round=number,
            done=len(self.done),
            settled=len(self.settled),
            cells=len(self.left),
            fixed=self.rules.least_rounds == self.rules.most_rounds,
            widest_pct=self.widest_pct,
            left_s=max(0.0, min(left_s, self._left_s())),
            timed=timed,
        )
