"""`mnsweep profile`: measure where the time of one cell goes, and the peak and bandwidth of this machine.

The runtime's profiler times each operator, but slows the run down. The cell is therefore also timed without the profiler,
in blocks interleaved with matrix products. The fastest product gives the machine's peak: a roof is the best that the machine
can do, whereas a latency is typical.
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
CELL_RUNS, PRODUCT_RUNS, BLOCK_MS = 5, 1, 20.0  # minimum runs and time of a block; a product takes tens of ms
PROFILED_MS, PROFILED_RUNS = 100.0, (5, 200)  # in each round; (minimum, maximum) runs
SECONDS = 10  # approximate total time


@dataclass(frozen=True, slots=True)
class Profile:
    """A row for each deployed layer and one for all other operators, the machine's roofs, and the findings.

    `latency_ms` is per batch and without the profiler. `channels` is the resolved padding: deployed channel counts by logical
    ones, where they differ. `disturbed_blocks` of all `blocks` were timed while something else took the CPU.
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
        """Milliseconds of all operators, by the runtime's profiler."""
        return sum(row.ms for row in self.rows)

    @property
    def rate_unit(self) -> str:
        """The unit of rates: GOP/s for int8, because integer operations are not FLOPs, otherwise GFLOP/s."""
        return "GOP/s" if PRECISIONS[self.cell.deployment.precision].quantized else "GFLOP/s"

    @property
    def gflops(self) -> float:
        """Overall rate of the deployed network in 10⁹ operations per second, at the latency without the profiler."""
        return sum(row.flops for row in self.rows) / (1e6 * self.latency_ms)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The rows summed by kind, with the shares of the logical network."""
        return kinds(self.rows, expand(self.cell.design))


@dataclass(slots=True)
class _Taken:
    """Measurements of a worker: blocks of the cell and of each product, operators of each round, bytes per second."""

    cell: list[Timing]
    products: dict[str, list[Timing]]
    operators: list[list[NodeTime]]
    bandwidth: float | None


def profile(cell: Cell, machine: Machine, new_worker: NewWorker) -> Profile:
    """Measure where the time of `cell` goes on this `machine`. Takes about ten seconds.

    Raises `UnavailableError` if the cell does not run here.
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
    except WorkerLostError:  # a product may have crashed the process: profile the cell without products
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
    """Whether the runtime accepts the product; if not, the peak comes from the other form, or is unknown."""
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
    except CellError:  # not enough memory for the copies
        return None


def _ms(blocks: Sequence[Timing]) -> float:
    """Median in ms of the undisturbed blocks, or of all blocks if every one was disturbed."""
    quiet = [block for block in blocks if not block.disturbed] or blocks
    return median(median(block.samples_ns) for block in quiet) / 1e6


def _typical(rounds: Sequence[Sequence[NodeTime]]) -> list[Operator]:
    """Each operator once, with its median over rounds, so that one disturbed round has no effect."""
    times: dict[NodeTime, list[float]] = {}
    for node in (node for nodes in rounds for node in nodes):
        times.setdefault(replace(node, ns=0.0), []).append(node.ns)
    return [replace(node, ns=median(ns)) for node, ns in times.items()]
