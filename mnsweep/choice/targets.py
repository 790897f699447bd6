"""How narrow the confidence interval of each latency must be: narrow where the choice is made, wider elsewhere."""

from collections.abc import Collection, Mapping, Sequence

from mnsweep.accuracy.published import published
from mnsweep.cell import Cell
from mnsweep.choice.frontier import near_frontier
from mnsweep.measure.fit import Estimate
from mnsweep.measure.rounds import Rules
from mnsweep.measure.stop_rule import unsettled_reason

NEAR = 0.05  # relative distance: latencies this close to the frontier or the budget decide the choice
ELSEWHERE = 2.0  # intervals of other cells may be this many times as wide


def settling_targets(
    cells: Sequence[Cell],
    estimates: Mapping[str, Estimate],
    *,
    ci_pct: float,
    quality_source: str,
    max_latency_ms: float | None = None,
) -> dict[str, float]:
    """Half width of the confidence interval at which each cell has settled, in % of its latency, by cell id.

    It is `ci_pct` near the latency budget (near the frontier if there is no budget), and twice that elsewhere. A cell whose
    quality is unknown might be on the frontier, so it counts as near.
    """
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
