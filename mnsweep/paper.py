"""What the networks of the paper's tables take here, and what its ratios of work come to in time.

They are one sweep, named `paper-tables`: interleaved, stored, interrupted and continued as any other. A fixed
number of rounds in two processes; the heaviest files are opened first, while there is most memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mnsweep.accuracy.published import PAPER
from mnsweep.cell import Cell, Design
from mnsweep.deploy import Prepared
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.campaign import Status
from mnsweep.measure.rounds import Rules
from mnsweep.report.paper import Row
from mnsweep.report.paper_rows import UNITS, counts
from mnsweep.result import Result
from mnsweep.store import SweepFolder
from mnsweep.sweep import Outcome, Plan, Request, begin, get_ready, merge, run
from mnsweep.sweep_file import Sweep

NAME = "paper-tables"
# Some networks take half a second a run: few runs in a block, and eight rounds. Ratios between networks
# are far from 1, so that two percent of each are narrow enough. Five minutes with what comes before and after.
RULES = Rules(
    least_rounds=8,
    most_rounds=8,
    process_rounds=4,
    least_processes=2,
    block_runs=2,
    warmup_runs=1,
    warmup_ms=100.0,
    time_budget_s=240.0,
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times less `model` takes than `against`: of mult-adds as printed and as counted, and of measured time."""

    model: str
    against: str
    mult_adds_ratio_paper: float | None
    mult_adds_ratio_computed: float
    latency_ratio: float | None


def cells(rows: Iterable[Row]) -> tuple[Cell, ...]:
    """Every network that the rows are about, once, the largest file first: fp32, on one thread."""
    designs = dict.fromkeys(row.design for row in rows if row.design is not None)
    return tuple(Cell(design) for design in sorted(designs, key=lambda design: -counts(design)["params"]))


def start(rows: Iterable[Row], directory: Path, machine: Machine, fresh: bool = False) -> tuple[Request, Plan, SweepFolder]:
    """Take the folder of the sweep below `directory`; what is left to measure of the networks of `rows`."""
    folder = SweepFolder(directory / NAME / machine.key)
    if fresh:
        folder.set_aside()
    request = Request(merge(Sweep(NAME, cells(rows), PAPER), folder), RULES)
    return request, begin(request, folder, machine), folder


def measure(
    request: Request, the_plan: Plan, folder: SweepFolder, on_status: Callable[[Status], None]
) -> tuple[Outcome, Prepared]:
    """Measure what is left. Raises `UnavailableError` when nothing of it runs here."""
    request, the_plan, prepared = get_ready(request, the_plan, folder)
    return run(request, the_plan, prepared, folder, on_status), prepared


def by_design(rows: Iterable[Row], results: Iterable[Result]) -> dict[Design, Result]:
    """What was measured of the networks of `rows`."""
    by_cell = {result.cell: result for result in results if result.latency_p50_ms is not None}
    return {cell.design: by_cell[cell.id] for cell in cells(rows) if cell.id in by_cell}


def ratios(rows: Sequence[Row], measured: Mapping[Design, Result]) -> list[Ratio]:
    """Of one table: its MobileNets against each other network, or, where it has no other, all against the heaviest."""
    counted = {row.model: row for row in rows if row.design and row.metric.startswith("mult_adds")}
    printed = {
        row.model: float(row.paper) * UNITS[row.unit] for row in counted.values() if row.unit in UNITS and row.metric == "mult_adds"
    }
    computed = {row.model: counts(row.design)["mult_adds"] for row in counted.values() if row.design}
    ms = {model: measured[row.design].latency_p50_ms for model, row in counted.items() if row.design in measured}
    return [
        Ratio(
            model,
            against,
            printed[against] / printed[model] if {model, against} <= set(printed) else None,
            computed[against] / computed[model],
            (ms[against] or 0) / (ms[model] or 1) if {model, against} <= set(ms) else None,
        )
        for model, against in _pairs(counted)
    ]


def _pairs(counted: Mapping[str, Row]) -> Iterator[tuple[str, str]]:
    ours = [model for model, row in counted.items() if row.design and row.design.variant == "mobilenet"]
    others = [model for model in counted if model not in ours]
    if ours and others:
        yield from product(ours, others)
    elif counted:
        heaviest = max(counted, key=lambda model: counts(counted[model].design)["mult_adds"])  # type: ignore[arg-type]
        yield from ((model, heaviest) for model in counted if model != heaviest)
