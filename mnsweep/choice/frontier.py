"""The accuracy/latency frontier."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate


def pareto(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Which (cost, quality) points no other point dominates; lower cost and higher quality are better.

    A point dominates another when it is at least as good in both and better in one, so of equal points all
    stay or none does. A point with a missing value is never on the frontier.
    """
    best_before: float | None = None  # highest quality at any lower cost
    on_frontier = [False] * len(points)
    known = [(cost, quality, i) for i, (cost, quality) in enumerate(points) if cost is not None and quality is not None]
    known.sort(key=lambda p: (p[0], -p[1]))
    position = 0
    while position < len(known):
        cost, quality, _ = known[position]
        if best_before is None or quality > best_before:
            best_before = quality
            while position < len(known) and known[position][:2] == (cost, quality):
                on_frontier[known[position][2]] = True
                position += 1
        while position < len(known) and known[position][0] == cost:
            position += 1
    return on_frontier


def best_within(points: Sequence[tuple[float, float]], budgets: Sequence[float]) -> list[float]:
    """The best quality among the (cost, quality) points that cost at most each budget; -inf where there is none."""
    known = sorted(points)
    costs, best = [cost for cost, _ in known], list(accumulate((quality for _, quality in known), max))
    return [best[affordable - 1] if (affordable := bisect_right(costs, budget)) else float("-inf") for budget in budgets]


def near_frontier(points: Sequence[tuple[float | None, float | None]], within: float) -> list[bool]:
    """Which points are on the frontier or would be if their own cost were lower by the share `within`.

    A point with a missing value may be: it counts as near.
    """
    known = sorted((cost, quality) for cost, quality in points if cost is not None and quality is not None)
    costs = [cost for cost, _ in known]
    best = list(accumulate((quality for _, quality in known), max))  # highest quality at most at each cost

    def near(cost: float, quality: float) -> bool:
        cheaper = bisect_left(costs, cost * (1 - within))
        return cheaper == 0 or best[cheaper - 1] < quality

    return [cost is None or quality is None or near(cost, quality) for cost, quality in points]
