"""What the networks of the paper's tables take here, and what its ratios of work come to in time.

They are one sweep, named `paper-tables`: interleaved, stored, interrupted and continued as any other, in two passes of
a few rounds, so that every network has some when the time is up. The heaviest files are opened first, while there is
most memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from mnsweep.accuracy.published import PAPER
from mnsweep.cell import Cell, Design
from mnsweep.counting import deployed_cost
from mnsweep.machine.fingerprint import Machine
from mnsweep.measure.campaign import Status
from mnsweep.measure.rounds import Rules
from mnsweep.prepare.deploy import Prepared
from mnsweep.reproduction.computed import UNITS
from mnsweep.reproduction.judge import Row
from mnsweep.result import Result
from mnsweep.session import Plan, Request, begin, get_ready, merge, plan, run
from mnsweep.space import Space
from mnsweep.sweep.derive import Outcome
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import Worker

NAME = "paper-tables"
PASSES = (3, 6)  # rounds that every network has after each pass: each is another process
# The slowest networks take a second a run, so that a block has one run behind the dropped first. Ratios between networks are
# far from 1: a few percent of each are narrow enough. Opening files and drawing plots come on top of the time budget.
RULES = Rules(
    least_rounds=PASSES[-1],
    most_rounds=PASSES[-1],
    process_rounds=PASSES[0],
    least_processes=len(PASSES),
    block_runs=1,
    warmup_runs=1,
    warmup_ms=50.0,
    time_budget_s=210.0,
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
    return tuple(Cell(design) for design in sorted(designs, key=lambda design: -deployed_cost(design).params))


def start(
    rows: Iterable[Row], directory: Path, machine: Machine, fresh: bool = False, figures: bool = False
) -> tuple[Request, Plan, SweepFolder]:
    """Take the folder of the sweep below `directory`; what is left to measure of the networks of `rows`.

    With `figures` also of the 16 MobileNets of Figures 4 and 5.
    """
    folder = SweepFolder(directory / NAME / machine.key)
    if fresh:
        folder.set_aside()
    wanted = dict.fromkeys((*cells(rows), *(Space().cells() if figures else ())))
    request = Request(merge(Sweep(NAME, tuple(wanted), PAPER), folder), RULES)
    return request, begin(request, folder, machine), folder


def measure(
    request: Request, folder: SweepFolder, on_status: Callable[[Status], None], new_worker: Callable[[], Worker] | None = None
) -> tuple[Outcome, Prepared]:
    """Measure what is left; `new_worker` as in `sweep.run`. Raises `UnavailableError` when nothing of it runs here."""
    began = monotonic()
    for rounds in PASSES:
        left_s = max(0.0, RULES.time_budget_s - (monotonic() - began))
        rules = replace(RULES, least_rounds=rounds, most_rounds=rounds, time_budget_s=left_s)
        asked = replace(request, rules=rules)
        now, the_plan, prepared = get_ready(asked, plan(asked, folder), folder, new_worker)
        outcome = run(now, the_plan, prepared, folder, on_status, new_worker)
    return outcome, prepared


def by_design(rows: Iterable[Row], results: Iterable[Result]) -> dict[Design, Result]:
    """What was measured of the networks of `rows`."""
    by_cell = {result.cell: result for result in results if result.latency_p50_ms is not None}
    return {cell.design: by_cell[cell.id] for cell in cells(rows) if cell.id in by_cell}


def ratios(rows: Sequence[Row], measured: Mapping[Design, Result]) -> list[Ratio]:
    """Of one table: its MobileNets against each other network, or, where it has no other, all against the heaviest."""
    counted = [
        _Counted(
            row.model, _printed(row), deployed_cost(row.design).mult_adds, _latency_ms(measured.get(row.design)), row.design
        )
        for row in rows
        if row.design and row.metric.startswith("mult_adds")
    ]
    return [
        Ratio(
            ours.model,
            other.model,
            _quotient(other.printed, ours.printed),
            other.mult_adds / ours.mult_adds,
            _quotient(other.ms, ours.ms),
        )
        for ours, other in _pairs(counted)
    ]


class _Counted(NamedTuple):
    """One network of a table: its work as printed and as counted, and its latency."""

    model: str
    printed: float | None
    mult_adds: int
    ms: float | None
    design: Design


def _printed(row: Row) -> float | None:
    return float(row.text) * UNITS[row.unit] if row.unit in UNITS else None  # an erratum in the unit gives no ratio


def _latency_ms(result: Result | None) -> float | None:
    return result.latency_p50_ms if result else None


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def _pairs(counted: Sequence[_Counted]) -> Iterator[tuple[_Counted, _Counted]]:
    ours = [one for one in counted if one.design.variant == "mobilenet"]
    others = [one for one in counted if one not in ours]
    if ours and others:
        yield from product(ours, others)
    elif counted:
        heaviest = max(counted, key=lambda one: one.mult_adds)
        yield from ((one, heaviest) for one in counted if one is not heaviest)
