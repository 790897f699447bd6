"""From two sides to verdicts: how much slower each cell of B is than that of A, and what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import pick
from mnsweep.comparing.matching import Matched, match
from mnsweep.comparing.side import Side
from mnsweep.estimate.confidence import standard_error
from mnsweep.estimate.fit import Estimate, freedom
from mnsweep.estimate.ratio import SLOWER, Differences, Verdicts, judge
from mnsweep.result import Result
from mnsweep.wording import round_numbers

MOST_BUDGETS = 8
FEWEST_RANKED = 3  # cells whose order tells anything


@dataclass(frozen=True, slots=True)
class Swap:
    """Two cells of A that change places in B: `first` is faster in A, `second` in B; `certain` where both are beyond doubt."""

    first: str
    second: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Picks:
    """The most accurate cell within a latency budget on either side; None where no cell meets it."""

    max_latency_ms: float
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """B against A: the verdict on each pair of cells and overall, cells that change places, and picks for some budgets.

    `rank_correlation` is Spearman's, of the latencies: 1 where both order the cells alike; None for fewer than 3 cells.
    """

    a: Side
    b: Side
    matched: Matched
    same_pct: float
    verdicts: Verdicts
    swaps: tuple[Swap, ...]
    picks: tuple[Picks, ...]
    rank_correlation: float | None

    @property
    def changed_picks(self) -> list[Picks]:
        """The picks that are not the cell of B which corresponds to that of A."""
        corresponding: dict[str | None, str | None] = dict(self.matched.pairs)
        return [picks for picks in self.picks if corresponding.get(picks.a) != picks.b]

    def slower_by_more_than(self, pct: float) -> list[str]:
        """The cells (and "overall") that are slower beyond doubt, by more than `pct` % as far as is known."""
        all_ = (*self.verdicts.cells, self.verdicts.overall)
        return [r.cell for r in all_ if r.verdict == SLOWER and r.ratio > 1 + pct / 100]


def compare(a: Side, b: Side, *, same_pct: float, budgets_ms: Sequence[float] = ()) -> Comparison:
    """Compare the cells that both sides measured. Raises `MnsweepError` where no two cells correspond."""
    matched = match(a, b)
    verdicts = judge(_differences(a, b, matched), same_pct)
    of_a, of_b = (set(ids) for ids in zip(*matched.pairs, strict=True))
    results = [[r for r in side.results if r.cell in ids] for side, ids in ((a, of_a), (b, of_b))]
    return Comparison(
        a=a,
        b=b,
        matched=matched,
        same_pct=same_pct,
        verdicts=verdicts,
        swaps=_swaps(a, b, matched),
        picks=_picks(results[0], results[1], budgets_ms),
        rank_correlation=_rank_correlation(a, b, matched),
    )


def _rank_correlation(a: Side, b: Side, matched: Matched) -> float | None:
    from scipy.stats import spearmanr  # takes a third of a second to load

    if len(matched.pairs) < FEWEST_RANKED:
        return None
    ours, theirs = ([side.estimates[pair[i]].p50_ms for pair in matched.pairs] for i, side in enumerate((a, b)))
    found = float(spearmanr(ours, theirs).statistic)
    return found if isfinite(found) else None


def _differences(a: Side, b: Side, matched: Matched) -> Differences:
    ours, theirs = [a.estimates[cell] for cell, _ in matched.pairs], [b.estimates[cell] for _, cell in matched.pairs]
    errors = [np.array([_own_error(e, side) for e in each]) for side, each in ((a, ours), (b, theirs))]
    each = [freedom(np.array([float(e.rounds) for e in side])) for side in (ours, theirs)]
    own = errors[0] ** 2 + errors[1] ** 2
    spread = sum(error**4 / free for error, free in zip(errors, each, strict=True))
    levels = a.level, b.level
    of_levels = sum(level.variance**2 / level.freedom for level in levels)
    total = sum(level.variance for level in levels)
    at_typical = np.log([t.p50_ms / o.p50_ms for o, t in zip(ours, theirs, strict=True)])
    return Differences(
        cells=[cell for cell, _ in matched.pairs],
        log_ratio=at_typical + b.level.shift - a.level.shift,
        variance=own,
        freedom=np.where(spread > 0, own**2 / np.maximum(spread, 1e-300), inf),
        level=total,
        level_freedom=total**2 / of_levels if of_levels else inf,
    )


def _own_error(estimate: Estimate, side: Side) -> float:
    """The standard error of a cell beside that of the level; a lone cell has none of its own: it is the level."""
    is_lone = len(side.estimates) == 1 and estimate.ci_low_ms is not None
    return 0.0 if is_lone else standard_error(estimate)


def _swaps(a: Side, b: Side, matched: Matched) -> tuple[Swap, ...]:
    """Pairs that change places, those first that are certain, then the largest changes."""
    pairs = matched.pairs
    logs = [np.log([side.estimates[pair[i]].p50_ms for pair in pairs]) for i, side in enumerate((a, b))]
    errors = [np.array([standard_error(side.estimates[pair[i]]) for pair in pairs]) for i, side in enumerate((a, b))]
    later = [log[None, :] - log[:, None] for log in logs]  # of each row's cell against each column's
    clear = [np.abs(gap) > 1.96 * np.hypot(e[:, None], e[None, :]) for gap, e in zip(later, errors, strict=True)]
    first, second = np.nonzero((later[0] > 0) & (later[1] < 0))
    certain = clear[0] & clear[1]
    found = [
        (bool(certain[i, j]), float(later[0][i, j] - later[1][i, j]), pairs[i][0], pairs[j][0])
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]
    found.sort(key=lambda swap: (not swap[0], -swap[1]))
    return tuple(Swap(one, other, is_certain) for is_certain, _, one, other in found)


def _picks(a: Sequence[Result], b: Sequence[Result], budgets_ms: Sequence[float]) -> tuple[Picks, ...]:
    """What either side picks within each budget; none where a side has no accuracies, or several metrics."""
    metrics = {r.quality_metric for r in (*a, *b) if r.quality_pct is not None}
    usable = [[r for r in side if r.latency_p50_ms and r.quality_pct is not None] for side in (a, b)]
    if len(metrics) != 1 or not all(usable):
        return ()
    asked = budgets_ms or _round_budgets(
        [ms for side in usable for r in side if (ms := r.latency_ci_high_ms or r.latency_p50_ms)]
    )
    return tuple(Picks(ms, *(_picked(side, ms) for side in usable)) for ms in asked)


def _picked(results: Sequence[Result], budget_ms: float) -> str | None:
    choice = pick(results, Constraints(max_latency_ms=budget_ms)).choice
    return choice.cell if choice else None


def _round_budgets(latencies_ms: Sequence[float]) -> list[float]:
    """Round numbers of milliseconds across the latencies of both sides, such as 1, 2, 5 and 10."""
    low, high = min(latencies_ms), max(latencies_ms)
    inside = round_numbers(low, 2 * high)
    return inside if len(inside) <= MOST_BUDGETS else inside[:: -(-len(inside) // MOST_BUDGETS)]
