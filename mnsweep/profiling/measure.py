"""Where one cell's time goes, and what this machine could do: `mnsweep profile`.

The runtime's own profiler says what each operator takes; it disturbs what it watches, so the cell is timed without
it as well, in blocks that take turns with matrix products. The fastest of those is the machine's peak: a roof is what a
machine can do, where a latency is what it mostly does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median

from mnsweep.arch.channel_padding import Channels
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell
from mnsweep.errors import UnavailableError
from mnsweep.graph.matrix_product import FORMS, MULT_ADDS, build_product
from mnsweep.machine.fingerprint import Machine
from mnsweep.names import PRECISIONS
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare
from mnsweep.profiling.lint import Finding, lint
from mnsweep.profiling.roofline import Kind, Operator, Roof, Row, kinds, rows
from mnsweep.worker.base import NodeTime
from mnsweep.worker.proxy import CellError, NewWorker, Worker, WorkerLostError
from mnsweep.worker.timing import Timing

ROUNDS = 5
CELL_RUNS, PRODUCT_RUNS, BLOCK_MS = 5, 1, 20.0  # at least, in a block; a product takes tens of milliseconds
PROFILED_MS, PROFILED_RUNS = 100.0, (5, 200)  # of each round; at least and at most
SECONDS = 10  # or so, of everything


@dataclass(frozen=True, slots=True)
class Profile:
    """A row for each deployed layer and one for the rest, the roofs above them, and what is worth changing.

    `latency_ms` is without the profiler, per batch. `channels` are the deployed ones by logical ones, where they differ.
    `disturbed_blocks` of all `blocks` were timed while something else took the CPU.
    """

    cell: Cell
    machine: Machine
    runtime_version: str
    channels: Channels
    latency_ms: float
    roof: Roof
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    blocks: int
    disturbed_blocks: int

    @property
    def profiled_ms(self) -> float:
        """All that the runtime's profiler accounts for."""
        return sum(row.ms for row in self.rows)

    @property
    def rate_unit(self) -> str:
        """What its rates are in: integer operations are no floating-point ones."""
        return "GOP/s" if PRECISIONS[self.cell.deployment.precision].quantized else "GFLOP/s"

    @property
    def gflops(self) -> float:
        """10⁹ operations in a second of all deployed mult-adds, at the latency without the profiler."""
        return sum(row.flops for row in self.rows) / (1e6 * self.latency_ms)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The rows by kind, with the shares of the logical network."""
        return kinds(self.rows, expand(self.cell.design))


@dataclass(slots=True)
class _Taken:
    """What a worker measured: blocks of the cell and of each product, operators of each round, bytes per second."""

    cell: list[Timing]
    products: dict[str, list[Timing]]
    operators: list[list[NodeTime]]
    bandwidth: float | None


def profile(cell: Cell, machine: Machine, new_worker: NewWorker) -> Profile:
    """Measure where the time of `cell` goes on this `machine`; about ten seconds.

    Raises `UnavailableError` where the cell does not run here.
    """
    prepared = Prepared(weight_bits=machine.int8_weight_bits)
    prepare(prepared, [cell], new_worker)
    if reason := prepared.skipped.get(cell.id):
        raise UnavailableError(reason)
    try:
        taken = _measured(new_worker, cell, prepared.model_of(cell))
    except CellError as error:
        raise UnavailableError(f"{cell.id} does not run: {error}") from None
    return _profile_of(cell, machine, prepared, taken)


def _profile_of(cell: Cell, machine: Machine, prepared: Prepared, taken: _Taken) -> Profile:
    deployment = cell.deployment
    timed = rows(prepared.deployed_layers(cell), _typical(taken.operators), deployment.precision, deployment.batch)
    rates = [2 * MULT_ADDS / median(block.samples_ns) for blocks in taken.products.values() for block in blocks]
    roof = Roof(max(rates, default=None), taken.bandwidth and taken.bandwidth / 1e9)
    blocks = [*taken.cell, *(block for each in taken.products.values() for block in each)]
    return Profile(
        cell=cell,
        machine=machine,
        runtime_version=prepared.versions.get(deployment.runtime, ""),
        channels=prepared.channels[cell.id],
        latency_ms=_ms(taken.cell),
        roof=roof,
        rows=timed,
        findings=lint(timed, deployment, roof),
        blocks=len(blocks),
        disturbed_blocks=sum(bool(block.disturbed) for block in blocks),
    )


def _measured(new_worker: NewWorker, cell: Cell, model: bytes) -> _Taken:
    try:
        return _measure(new_worker, cell, model, FORMS)
    except WorkerLostError:  # a product that ends the process must not hide the cell
        return _measure(new_worker, cell, model, ())


def _measure(new_worker: NewWorker, cell: Cell, model: bytes, forms: Sequence[str]) -> _Taken:
    deployment = cell.deployment
    with new_worker() as worker:
        worker.pin(deployment.threads)
        worker.open(cell.id, model, deployment)
        products: dict[str, list[Timing]] = {form: [] for form in forms if _opens(worker, form, cell)}
        taken = _Taken(cell=[], products=products, operators=[], bandwidth=_bandwidth(worker, deployment.threads))
        for _ in range(ROUNDS):
            taken.cell.append(worker.time(cell.id, CELL_RUNS, BLOCK_MS))
            for form, blocks in taken.products.items():
                blocks.append(worker.time(form, PRODUCT_RUNS, BLOCK_MS))
            runs = min(max(ceil(PROFILED_MS / _ms(taken.cell)), PROFILED_RUNS[0]), PROFILED_RUNS[1])
            taken.operators.append(worker.node_times(model, deployment, runs))
    return taken


def _opens(worker: Worker, form: str, cell: Cell) -> bool:
    """Whether the runtime takes the product: where it does not, the peak is another form's, or unknown."""
    try:
        worker.open(form, build_product(form, PRECISIONS[cell.deployment.precision].quantized), cell.deployment)
    except WorkerLostError:
        raise
    except CellError:
        return False
    return True


def _bandwidth(worker: Worker, threads: int) -> float | None:
    try:
        return worker.bandwidth(threads)
    except WorkerLostError:
        raise
    except CellError:  # no memory for the copies
        return None


def _ms(blocks: Sequence[Timing]) -> float:
    """The median of the blocks that nothing disturbed, where there are any."""
    quiet = [block for block in blocks if not block.disturbed] or blocks
    return median(median(block.samples_ns) for block in quiet) / 1e6


def _typical(rounds: Sequence[Sequence[NodeTime]]) -> list[Operator]:
    """Each operator once, with the median of its rounds: one that was disturbed leaves no trace."""
    times: dict[NodeTime, list[float]] = {}
    for node in (node for nodes in rounds for node in nodes):
        times.setdefault(replace(node, ns=0.0), []).append(node.ns)
    return [replace(node, ns=median(ns)) for node, ns in times.items()]
