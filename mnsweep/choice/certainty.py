"""Whose place on the frontier, and whose side of a latency budget, is certain, and which pairs of cells are too close to tell.

A cell is off the frontier when one cell at least as good is faster, and on it when all of those are slower. Each such
comparison is a confidence sequence, and together they are wrong in at most 5 % of sweeps, whenever one looks (Bonferroni).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import comb, log

import numpy as np
from numpy.typing import NDArray

from mnsweep.estimate.confidence import standard_error, standard_errors
from mnsweep.estimate.fit import Estimate, freedom
from mnsweep.estimate.local_speed import Array

ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Rated:
    """A cell with a quality in percent by some metric, and its estimate if it was measured."""

    cell: str
    metric: str
    quality_pct: float
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two cells that are too close to tell: the second is so much slower, ± the half width, in percent; nan if unknown."""

    first: str
    second: str
    slower_pct: float
    half_pct: float


@dataclass(frozen=True, slots=True)
class Places:
    """What is known of places on the frontier: cells whose place is `certain`, and the rivals of the others, closest first."""

    certain: frozenset[str]
    open: Mapping[str, tuple[Pair, ...]]

    @property
    def wanted(self) -> set[str]:
        """The cells whose latency decides an open place."""
        return {*self.open, *(pair.second for pairs in self.open.values() for pair in pairs)}


def places(rated: Sequence[Rated]) -> Places:
    """Decide the place of each cell on the frontier of its metric."""
    by_metric = sorted(rated, key=lambda r: r.metric)
    frontiers = [_Frontier.of(list(group)) for _, group in groupby(by_metric, key=lambda r: r.metric)]
    pairs = sum(comb(len(frontier.cells), 2) for frontier in frontiers)
    found = {cell: rivals for frontier in frontiers for cell, rivals in frontier.rivals(ERROR / max(1, pairs))}
    return Places(frozenset(cell for cell, open_ in found.items() if not open_), {c: o for c, o in found.items() if o})


def is_side_certain(estimate: Estimate | None, budget_ms: float, cells: int) -> bool:
    """Whether the latency is certain to be on the side of the budget that it seems to be on, among so many `cells`."""
    if estimate is None or estimate.ci_low_ms is None or estimate.ci_high_ms is None:
        return False
    end_ms = estimate.ci_high_ms if budget_ms > estimate.p50_ms else estimate.ci_low_ms
    rounds = np.array(float(estimate.rounds))
    wider = standard_errors(ERROR / cells, rounds, freedom(rounds)) / _two_sided_95(freedom(rounds))
    return bool(abs(log(budget_ms / estimate.p50_ms)) > wider * abs(log(end_ms / estimate.p50_ms)))


def _two_sided_95(degrees: Array) -> Array:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees, 0.975))


@dataclass(frozen=True, slots=True)
class _Frontier:
    """The cells of one metric; arrays (cells,): quality, log latency (nan if not measured), its standard error, rounds.

    Cells with the same `measurement` are names of one file that was timed once.
    """

    cells: list[str]
    measurement: NDArray[np.int_]
    quality: Array
    latency: Array
    error: Array
    rounds: Array

    @classmethod
    def of(cls, rated: Sequence[Rated]) -> "_Frontier":
        known = [r.estimate for r in rated]
        first = {id(e): i for i, e in reversed(list(enumerate(known))) if e}
        return cls(
            cells=[r.cell for r in rated],
            measurement=np.array([first.get(id(e), i) for i, e in enumerate(known)]),
            quality=np.array([r.quality_pct for r in rated]),
            latency=np.array([log(e.p50_ms) if e else np.nan for e in known]),
            error=np.array([standard_error(e) if e else np.nan for e in known]),
            rounds=np.array([float(e.rounds) if e else 1.0 for e in known]),
        )

    def rivals(self, error: float) -> Iterator[tuple[str, tuple[Pair, ...]]]:
        """Each cell with the rivals that leave its place open, the closest first; `error` is that of one comparison."""
        for i, cell in enumerate(self.cells):
            at_least_as_good = self.quality >= self.quality[i]
            at_least_as_good[i] = False
            at = np.flatnonzero(at_least_as_good)
            slower, half = self.latency[at] - self.latency[i], self._halves(i, at, error)
            is_same = self.measurement[at] == self.measurement[i]
            is_beaten = np.where(is_same, self.quality[at] > self.quality[i], slower < -half)
            if is_beaten.any():
                yield cell, ()
                continue
            open_ = np.flatnonzero(~is_same & ~(slower > half))
            closest = open_[np.argsort(np.abs(slower[open_]), kind="stable")]
            yield cell, tuple(self._pair(i, int(at[k]), slower[k], half[k]) for k in closest)

    def _halves(self, i: int, at: NDArray[np.intp], error: float) -> Array:
        """(rivals,): half widths of the differences from cell `i`; infinite if either has no interval."""
        if not len(at):
            return np.zeros(0)
        rounds = np.minimum(self.rounds[at], self.rounds[i])
        both = freedom(self.rounds[at]) + freedom(self.rounds[i])
        half = standard_errors(error, rounds, both) * np.hypot(self.error[at], self.error[i])
        return np.where(np.isnan(half), np.inf, half)

    def _pair(self, i: int, j: int, slower: float, half: float) -> Pair:
        return Pair(self.cells[i], self.cells[j], 100 * float(np.expm1(slower)), 100 * float(np.expm1(half)))
