"""The whole flow on one screen: plan, build, measure, store, estimate, report."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from random import Random

import psutil

from mnsweep.arch.cost import count
from mnsweep.arch.layers import expand
from mnsweep.build.onnx_graph import build_onnx
from mnsweep.build.weights import random_weights
from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.measure.estimate import estimate
from mnsweep.measure.machine import Machine
from mnsweep.measure.proxy import CellError, Worker, WorkerDiedError
from mnsweep.measure.record import Block, Failure, Process, Record, Records
from mnsweep.measure.rounds import Rules, run_rounds
from mnsweep.report.plot import mult_adds_plot, pareto_plot
from mnsweep.report.table import measured_table
from mnsweep.result import Result, to_csv
from mnsweep.store import CELLS, SWEEP, SweepFolder
from mnsweep.sweep_file import Sweep, parse_sweep, write_sweep

SEED = 0  # of the random weights that are timed
GROUP_CELLS = 64  # beyond as many, one round would take longer than the machine's speed stays put
MEMORY_SHARE = 0.25  # of what is available, for the sessions that are open at once
REFERENCES = 3  # cells that every group shares, so that groups can be compared
TYPICAL_MULT_ADDS_PER_S = 3e10  # of one core of a recent CPU: for the estimate of time before the first block


@dataclass(frozen=True, slots=True)
class Status:
    """How far a sweep is: blocks on disk, blocks in all, and seconds since it began."""

    process: int
    round: int
    done: int
    total: int
    elapsed_s: float

    @property
    def left_s(self) -> float:
        """Seconds left at the pace so far."""
        return self.elapsed_s / max(1, self.done) * (self.total - self.done)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A sweep after a run: its results, where they are, and what could not be measured, with the reason."""

    sweep: Sweep
    folder: SweepFolder
    results: tuple[Result, ...]
    failures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do: blocks still to be taken, in groups of cells that are open together."""

    sweep: Sweep
    groups: tuple[tuple[Cell, ...], ...]
    blocks: int
    seconds: float
    began_at: str | None  # when the first of the blocks there are was taken; None where there are none


OnStatus = Callable[[Status], None]


def merge(sweep: Sweep, folder: SweepFolder) -> Sweep:
    """The sweep with the cells that its folder holds already in front."""
    if not (folder.path / SWEEP).exists():
        return sweep
    kept = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP)
    return Sweep(sweep.name, tuple(dict.fromkeys((*kept.cells, *sweep.cells))), sweep.quality_source)


def plan(sweep: Sweep, folder: SweepFolder, rules: Rules) -> Plan:
    """What is left to measure of `sweep`, with an estimate of the time before anything is timed."""
    records = folder.read()
    taken = Counter(b.cell for b in records.blocks)
    pending = [cell for cell in sweep.cells if taken[cell.id] < rules.rounds]
    blocks = sum(rules.rounds - taken[cell.id] for cell in pending)
    seconds = sum(_seconds(cell, rules.rounds - taken[cell.id], rules) for cell in pending)
    began_at = records.processes[0].started_at if records.processes else None
    groups = _groups(pending, sweep.cells, psutil.virtual_memory().available * MEMORY_SHARE)
    return Plan(sweep, groups, blocks, seconds, began_at)


def run(
    the_plan: Plan,
    folder: SweepFolder,
    rules: Rules,
    machine: Machine,
    on_status: OnStatus,
    new_worker: Callable[[], Worker] = Worker,
) -> Outcome:
    """Measure what the plan leaves open, then write everything derived.

    Each block is on disk before the next is timed; an interrupt loses none, and the next run continues.
    `new_worker` starts a worker process (another kind in tests).
    """
    folder.write_machine(machine)
    folder.replace(SWEEP, write_sweep(the_plan.sweep))
    with folder.appending() as append:
        measuring = _Measuring(folder.read(), rules, append, on_status, the_plan.blocks, new_worker)
        measuring.measure(the_plan.groups)
    return derive(folder)


def derive(folder: SweepFolder) -> Outcome:
    """Make `cells.csv` and the plots from `blocks.jsonl`, `sweep.toml` and `machine.json`."""
    sweep = parse_sweep(folder.read_text(SWEEP), folder.path / SWEEP)
    records, machine = folder.read(), folder.read_machine()
    results = measured_table(sweep.cells, estimate(records.blocks), sweep.quality_source)
    folder.replace(CELLS, to_csv(results))
    caption = _caption(results, records, machine, sweep)
    for name, content in {**pareto_plot(results, caption), **mult_adds_plot(results, caption)}.items():
        folder.replace(name, content)
    ids = {cell.id for cell in sweep.cells}
    failures = {cell: reason for cell, reason in records.failures.items() if cell in ids}
    return Outcome(sweep, folder, tuple(results), failures)


class _Measuring:
    """One run over all groups: counts blocks, hands each to the disk, and says how far it is."""

    def __init__(
        self,
        records: Records,
        rules: Rules,
        append: Callable[[Record], None],
        on_status: OnStatus,
        total: int,
        new_worker: Callable[[], Worker],
    ) -> None:
        self.new_worker = new_worker
        self.records, self.rules, self.append = records, rules, append
        self.on_status, self.total, self.done = on_status, total, 0
        self.taken = Counter(b.cell for b in records.blocks)
        self.began = time.monotonic()

    def measure(self, groups: Sequence[Sequence[Cell]]) -> None:
        """Every group, in as many processes as the rules ask for."""
        for group in groups:
            for number in range(1, self.rules.processes + 1):
                target = ceil(self.rules.rounds * number / self.rules.processes)
                if any(self.taken[cell.id] < target for cell in group):
                    self._in_one_process(group, target)

    def _in_one_process(self, group: Sequence[Cell], target: int) -> None:
        number = 1 + max((p.number for p in self.records.processes), default=0)
        try:
            with self.new_worker() as worker:
                settings: dict[str, str | int] = {**worker.about(), "seed": SEED, "pad": "none"}
                self._begin(Process(number, _now(), settings, tuple(cell.id for cell in group)))
                opened = [cell.id for cell in group if self._open(worker, cell, number)]
                start = Counter(self.taken)

                def unsettled() -> list[str]:
                    behind = any(self.taken[key] < target for key in opened)
                    # A reference cell that has its rounds already goes along while others need it.
                    return [k for k in opened if behind and (self.taken[k] < target or start[k] >= target)]

                run_rounds(number, unsettled, worker.time, self._take, self.rules, Random(number), time.perf_counter)
        except WorkerDiedError as error:
            raise MnsweepError(f"{error}; everything measured so far is kept: run the same command again") from None

    def _begin(self, process: Process) -> None:
        for earlier in self.records.processes:
            for name, value in process.settings.items():
                if earlier.settings.get(name) != value:
                    raise StoreError(
                        f"this sweep was measured with {name} {earlier.settings.get(name)}, now it is {value}: "
                        "start over with --fresh, or use another --name"
                    )
        self._write(process)

    def _open(self, worker: Worker, cell: Cell, process: int) -> bool:
        layers, deployment = expand(cell.design), cell.deployment
        try:
            model = build_onnx(layers, random_weights(layers, SEED), deployment.batch)
            worker.open(cell.id, model, deployment.threads)
        except CellError as error:
            self._take(Failure(cell.id, process, str(error)))
            return False
        return True

    def _take(self, record: Block | Failure) -> None:
        self._write(record)
        if isinstance(record, Block):
            self.done += self.taken[record.cell] < self.rules.rounds
            self.taken[record.cell] += 1
            elapsed_s = time.monotonic() - self.began
            self.on_status(Status(record.process, record.round, self.done, self.total, elapsed_s))

    def _write(self, record: Record) -> None:
        self.append(record)
        self.records.add(record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _seconds(cell: Cell, rounds: int, rules: Rules) -> float:
    mult_adds = next(count([cell.design])).mult_adds * cell.deployment.batch
    run_s = mult_adds / TYPICAL_MULT_ADDS_PER_S / cell.deployment.threads
    block_s = run_s + max(rules.block_runs * run_s, rules.block_ms / 1e3)
    return rounds * block_s + rules.processes * (rules.warmup_ms / 1e3 + 0.1)


def _groups(pending: Sequence[Cell], cells: Sequence[Cell], memory_bytes: float) -> tuple[tuple[Cell, ...], ...]:
    """Pending cells in groups that fit in memory, each with the same reference cells where cells stay outside."""
    references = _references(cells)
    groups: list[tuple[Cell, ...]] = []
    group: list[Cell] = []
    free = start = memory_bytes - sum(map(_session_bytes, references))
    for cell in pending:
        if group and (len(group) >= GROUP_CELLS or _session_bytes(cell) > free):
            groups.append(tuple(group))
            group, free = [], start
        group.append(cell)
        free -= _session_bytes(cell)
    groups += [tuple(group)] if group else []
    if len(groups) == 1 and len(pending) == len(cells):
        return tuple(groups)
    return tuple(tuple(dict.fromkeys((*g, *references))) for g in groups)


def _references(cells: Sequence[Cell]) -> list[Cell]:
    """A small, a middling and a large cell: at the middles of the thirds of the sweep, by work."""
    costs = count(cell.design for cell in cells)
    by_work = [cell for _, cell in sorted(zip(costs, cells, strict=True), key=lambda pair: pair[0].mult_adds)]
    picked = [by_work[len(cells) * (2 * i + 1) // (2 * REFERENCES)] for i in range(REFERENCES)]
    return list(dict.fromkeys(picked))


def _session_bytes(cell: Cell) -> int:
    """Memory of one open session, generously: weights as read, as packed, and activations."""
    cost = next(count([cell.design]))
    return 3 * cost.onnx_bytes + 2 * cost.peak_activation_bytes * cell.deployment.batch + 4_000_000


def _caption(results: Sequence[Result], records: Records, machine: Machine, sweep: Sweep) -> str:
    settings = records.processes[-1].settings if records.processes else {}
    measured = [r for r in results if r.samples]
    threads = sorted({r.threads for r in results})
    samples = sorted(r.samples or 0 for r in measured) or [0]
    sources = sorted({r.quality_source for r in results if r.quality_source}) or ["none for these designs"]
    return (
        f"Latency: {machine.title}; {settings.get('runtime', '')} {settings.get('runtime_version', '')}; "
        f"{', '.join(map(str, threads))} thread{'s' if threads != [1] else ''}; fp32; "
        f"{len(measured)} of {len(results)} cells measured in interleaved rounds, {samples[0]} to {samples[-1]} samples each.\n"
        f"Accuracy: {'; '.join(sources)}. Bars: 95 % intervals, the movement of the machine's own speed included. "
        f"Sweep {sweep.name}."
    )
