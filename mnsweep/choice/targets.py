"""How narrow the interval of each latency must be: narrow while something hangs on it, wider elsewhere."""

from collections.abc import Collection, Mapping, Sequence

from mnsweep.accuracy.published import Source, published
from mnsweep.cell import Cell
from mnsweep.choice.certainty import Places, Rated, is_side_certain, places
from mnsweep.choice.frontier import near_frontier
from mnsweep.estimate.fit import Estimate
from mnsweep.measure.rounds import Rules
from mnsweep.measure.stop_rule import unsettled_reason

NEAR = 0.05  # relative distance: latencies this close to the frontier or the budget decide the choice
ELSEWHERE = 2.0  # intervals of other cells may be this many times as wide


def settling_targets(
    cells: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    *,
    rules: Rules,
    quality_source: Source,
    max_latency_ms: float | None = None,
) -> dict[str, float]:
    """Half width of the confidence interval at which each cell has settled, in % of its latency, by cell id.

    It is `rules.ci_pct` while the place of a cell on the frontier or its side of the budget is open, or depends on it, and
    `rules.known_pct` from then on. If that is None, it is `ci_pct` near the budget (near the frontier if there is no budget),
    and twice that elsewhere. A cell whose quality is unknown might be on the frontier.
    """
    if rules.known_pct is None:
        return _by_distance(cells, estimates, ci_pct=rules.ci_pct, quality_source=quality_source, max_latency_ms=max_latency_ms)
    known = known_places(cells, estimates, quality_source)
    open_ = {cell.id for cell in cells} - known.certain | known.wanted
    if max_latency_ms is not None:
        open_ |= {c.id for c in cells if not is_side_certain(estimates.get(c.id), max_latency_ms, len(cells))}
    return {cell.id: rules.ci_pct if cell.id in open_ else rules.known_pct for cell in cells}


def known_places(cells: Sequence[Cell], estimates: Mapping[str, Estimate], quality_source: Source) -> Places:
    """The places on the frontier, among the cells with a published quality."""
    qualities = {cell.id: published(cell, quality_source) for cell in cells}
    return places([Rated(key, q.metric, q.quality_pct, estimates.get(key)) for key, q in qualities.items() if q])


def _by_distance(
    cells: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    *,
    ci_pct: float,
    quality_source: Source,
    max_latency_ms: float | None,
) -> dict[str, float]:
    latencies = [estimates[cell.id].p50_ms if cell.id in estimates else None for cell in cells]
    if max_latency_ms is not None:
        narrow = [ms is None or abs(ms / max_latency_ms - 1) <= NEAR for ms in latencies]
    else:
        qualities = [published(cell, quality_source) for cell in cells]
        points = [(ms, quality.quality_pct if quality else None) for ms, quality in zip(latencies, qualities, strict=True)]
        narrow = near_frontier(points, NEAR)
    return {cell.id: ci_pct * (1.0 if near else ELSEWHERE) for cell, near in zip(cells, narrow, strict=True)}


def unsettled(
    targets: Mapping[str, float], estimates: Mapping[str, Estimate], failed: Collection[str], rules: Rules
) -> dict[str, str]:
    """The cells with a target that have not settled, by id, with the reason; failed cells are left out."""
    reasons = {
        cell: unsettled_reason(estimates.get(cell), target_pct, rules)
        for cell, target_pct in targets.items()
        if cell not in failed
    }
    return {cell: reason for cell, reason in reasons.items() if reason}
