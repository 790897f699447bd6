"""The paper's ratios of mult-adds, compared with ratios of measured latency."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from mnsweep.cell import Cell, Design
from mnsweep.counting import deployed_cost
from mnsweep.reproduction.computed import UNITS
from mnsweep.reproduction.judge import Row
from mnsweep.result import Result


@dataclass(frozen=True, slots=True)
class Ratio:
    """`against` divided by `model`: mult-adds as printed, mult-adds as counted, and measured latency; None if unknown."""

    model: str
    against: str
    mult_adds_ratio_paper: float | None
    mult_adds_ratio_computed: float
    latency_ratio: float | None


def cells(rows: Iterable[Row]) -> tuple[Cell, ...]:
    """A cell for every network in the rows, each once, most params first: fp32, one thread."""
    designs = dict.fromkeys(row.design for row in rows if row.design is not None)
    return tuple(Cell(design) for design in sorted(designs, key=lambda design: -deployed_cost(design).params))


def by_design(rows: Iterable[Row], results: Iterable[Result]) -> dict[Design, Result]:
    """The measured results of the networks in `rows`."""
    by_cell = {result.cell: result for result in results if result.latency_p50_ms is not None}
    return {cell.design: by_cell[cell.id] for cell in cells(rows) if cell.id in by_cell}


def ratios(rows: Sequence[Row], measured: Mapping[Design, Result]) -> list[Ratio]:
    """Ratios of one table: each MobileNet against each other network.

    A table with only MobileNets, or without any, has each network against the one with the most mult-adds.
    """
    counted = [
        _Counted(
            model=row.model,
            printed=_printed(row),
            mult_adds=deployed_cost(row.design).mult_adds,
            ms=_latency_ms(measured.get(row.design)),
            design=row.design,
        )
        for row in rows
        if row.design and row.metric.startswith("mult_adds")
    ]
    return [
        Ratio(
            model=ours.model,
            against=other.model,
            mult_adds_ratio_paper=_quotient(other.printed, ours.printed),
            mult_adds_ratio_computed=other.mult_adds / ours.mult_adds,
            latency_ratio=_quotient(other.ms, ours.ms),
        )
        for ours, other in _pairs(counted)
    ]


class _Counted(NamedTuple):
    """One network of a table: mult-adds as printed and as counted, and latency in ms."""

    model: str
    printed: float | None
    mult_adds: int
    ms: float | None
    design: Design


def _printed(row: Row) -> float | None:
    return float(row.text) * UNITS[row.unit] if row.unit in UNITS else None  # a unit that the paper misprints gives no ratio


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
