"""Where one cell's time goes, and what this machine could do: `mnsweep profile`.

The runtime's own profiler says what each operator takes; it disturbs what it watches, so the cell is timed without
it as well, in blocks that take turns with matrix products. The fastest of those is the machine's peak: a roof is what a
machine can do, where a latency is what it mostly does.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from statistics import median
from typing import Any

from mnsweep.arch.channel_padding import Channels, to_text
from mnsweep.arch.layers import expand
from mnsweep.build.matmul import FORMS, MULT_ADDS, build_product
from mnsweep.cell import Cell
from mnsweep.deploy import Prepared, prepare
from mnsweep.errors import UnavailableError
from mnsweep.explore.graph_lint import Finding, lint
from mnsweep.explore.roofline import Kind, Operator, Roof, Row, kinds, rows
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import measuring
from mnsweep.measure.proxy import CellError, Worker, WorkerLostError
from mnsweep.measure.timing import Timing
from mnsweep.report.roofline_plot import collect, draw
from mnsweep.runtimes.base import NodeTime
from mnsweep.store import SweepFolder

SCHEMA_VERSION = 1
FOLDER = "profile"  # in the results folder, beside the sweeps
ROUNDS = 5
CELL_RUNS, PRODUCT_RUNS, BLOCK_MS = 5, 1, 20.0  # at least, in a block; a product takes tens of milliseconds
PROFILED_MS, PROFILED_RUNS = 100.0, (5, 200)  # of each round; at least and at most
SECONDS = 10  # or so, of everything


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found: a row for each deployed layer and one for the rest, and the roofs above them.

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


def profile(cell: Cell, wait: bool = False, new_worker: Callable[[], Worker] = Worker) -> Profile:
    """Measure where the time of `cell` goes; about ten seconds. `new_worker` starts a worker process (another in tests).

    Raises `UnavailableError` where the cell does not run here, and unless `wait` where another mnsweep is measuring.
    """
    machine = read_machine()
    with measuring(wait):
        prepared = prepare(new_worker, [cell], kept={})
        if reason := prepared.skipped.get(cell.id):
            raise UnavailableError(reason)
        try:
            taken = _measured(new_worker, cell, prepared.model_of(cell))
        except CellError as error:
            raise UnavailableError(f"{cell.id} does not run: {error}") from None
    return _profile_of(cell, machine, prepared, taken)


def write(found: Profile, folder: SweepFolder) -> list[str]:
    """Write `CELL.json` and the roofline plot as `CELL_roofline.png` and `.svg`; their names."""
    flagged = {name for finding in found.findings for name in finding.layers}
    unit = "GOP/s" if found.cell.deployment.precision == "int8" else "GFLOP/s"
    drawn = draw(collect(found.rows, flagged), found.roof, _caption(found), f"{found.cell.id}_roofline", unit)
    names = [f"{found.cell.id}.json", *drawn]
    text = json.dumps(to_document(found, names), indent=2, allow_nan=False) + "\n"
    for name, content in {names[0]: text.encode(), **drawn}.items():
        folder.replace(name, content)
    return names


def to_document(found: Profile, files: Sequence[str]) -> dict[str, Any]:
    """The profile as one JSON object; what is not known is null."""
    missing_ms = found.latency_ms - found.profiled_ms
    return {
        "schema_version": SCHEMA_VERSION,
        "cell": found.cell.id,
        "machine": found.machine.key,
        "runtime_version": found.runtime_version,
        "padding": to_text(found.channels),
        "latency_ms": found.latency_ms,
        "profiled_ms": found.profiled_ms,
        "not_attributed_ms": missing_ms if missing_ms > 0 else None,
        "gflops": found.gflops,
        "peak_gflops": found.roof.peak_gflops,
        "bandwidth_gb_per_s": found.roof.bandwidth_gb_per_s,
        "blocks": found.blocks,
        "disturbed_blocks": found.disturbed_blocks,
        "kinds": [asdict(kind) for kind in found.kinds],
        "layers": [_layer(row, found) for row in found.rows],
        "lint": [_remark(finding) for finding in found.findings],
        "files": list(files),
    }


def _layer(row: Row, found: Profile) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "ms": row.ms,
        "time_pct": 100 * row.ms / (found.profiled_ms or 1.0),
        "deployed_mult_adds": row.mult_adds,
        "bytes": row.moved_bytes,
        "gflops": row.gflops,
        "flops_per_byte": row.intensity,
        "peak_pct": row.peak_pct(found.roof),
        "bound": row.bound(found.roof),
        "roof_pct": row.roof_pct(found.roof),
        "operators": [{"name": o.name, "op": o.op, "implementation": o.implementation, "ns": o.ns} for o in row.operators],
    }


def _remark(finding: Finding) -> dict[str, Any]:
    return {"rule": finding.rule, "text": finding.text, "mend": finding.mend or None, "layers": list(finding.layers)}


def _profile_of(cell: Cell, machine: Machine, prepared: Prepared, taken: _Taken) -> Profile:
    how, latency_ms = cell.deployment, _ms(taken.cell)
    found = rows(prepared.layers_of(cell), _typical(taken.operators), how.precision, how.batch)
    rates = [2 * MULT_ADDS / median(block.samples_ns) for blocks in taken.products.values() for block in blocks]
    roof = Roof(max(rates, default=None), taken.bandwidth and taken.bandwidth / 1e9)
    blocks = [*taken.cell, *(block for each in taken.products.values() for block in each)]
    disturbed = sum(bool(block.disturbed) for block in blocks)
    version, channels = prepared.versions.get(how.runtime, ""), prepared.channels[cell.id]
    return Profile(cell, machine, version, channels, latency_ms, roof, found, lint(found, how, roof), len(blocks), disturbed)


def _measured(new_worker: Callable[[], Worker], cell: Cell, model: bytes) -> _Taken:
    try:
        return _measure(new_worker, cell, model, FORMS)
    except WorkerLostError:  # a product that ends the process must not hide the cell
        return _measure(new_worker, cell, model, ())


def _measure(new_worker: Callable[[], Worker], cell: Cell, model: bytes, forms: Sequence[str]) -> _Taken:
    how = cell.deployment
    with new_worker() as worker:
        worker.pin(how.threads)
        worker.open(cell.id, model, how)
        taken = _Taken([], {form: [] for form in forms if _opens(worker, form, cell)}, [], _bandwidth(worker, how.threads))
        for _ in range(ROUNDS):
            taken.cell.append(worker.time(cell.id, CELL_RUNS, BLOCK_MS))
            for form, blocks in taken.products.items():
                blocks.append(worker.time(form, PRODUCT_RUNS, BLOCK_MS))
            runs = min(max(ceil(PROFILED_MS / _ms(taken.cell)), PROFILED_RUNS[0]), PROFILED_RUNS[1])
            taken.operators.append(worker.node_times(model, how, runs))
    return taken


def _opens(worker: Worker, form: str, cell: Cell) -> bool:
    """Whether the runtime takes the product: where it does not, the peak is another form's, or unknown."""
    try:
        worker.open(form, build_product(form, cell.deployment.precision == "int8"), cell.deployment)
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


def _caption(found: Profile) -> str:
    how = found.cell.deployment
    threads, images = f"{how.threads} thread{'s' * (how.threads != 1)}", f"{how.batch} image{'s' * (how.batch != 1)}"
    return (
        f"{found.cell.id}: {found.latency_ms:.3g} ms for {images}. {found.machine.title}; {how.runtime} "
        f"{found.runtime_version}; {how.precision}; {threads}. Time of layers is by the runtime's own profiler.\n"
        "Both roofs were measured here: a 1024³ matrix product in the same runtime, and a copy of memory. Bytes are maps in "
        "and out and weights, once each.\n"
        "A layer above the memory roof reads what a cache still holds: caches are faster. Area is the share of the time."
    )
