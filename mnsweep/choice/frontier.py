"""The accuracy/latency frontier."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

Point = tuple[float | None, float | None]  # cost and quality: lower cost and higher quality are better


class Staircase:
    """The best quality up to each cost, among (cost, quality) points; points with a missing value are left out."""

    def __init__(self, points: Iterable[Point]) -> None:
        known = sorted((cost, quality) for cost, quality in points if cost is not None and quality is not None)
        self._costs = [cost for cost, _ in known]
        self._best = list(accumulate((quality for _, quality in known), max))

    def below(self, cost: float) -> float:
        """The best quality of the points that cost less than `cost`; -inf where there is none."""
        cheaper = bisect_left(self._costs, cost)
        return self._best[cheaper - 1] if cheaper else float("-inf")

    def within(self, cost: float) -> float:
        """The best quality of the points that cost at most `cost`; -inf where there is none."""
        affordable = bisect_right(self._costs, cost)
        return self._best[affordable - 1] if affordable else float("-inf")


def pareto(points: Sequence[Point]) -> list[bool]:
    """For each (cost, quality) point, whether no other point dominates it.

    A point dominates another when it is at least as good in both values and better in one, so equal points are all on the
    frontier or all off it. A point with a missing value is never on the frontier.
    """
    stairs = Staircase(points)
    return [
        cost is not None and quality is not None and stairs.below(cost) < quality == stairs.within(cost)
        for cost, quality in points
    ]


def best_within(points: Sequence[tuple[float, float]], budgets: Sequence[float]) -> list[float]:
    """For each budget, the best quality of the (cost, quality) points that cost at most that; -inf where there is none."""
    stairs = Staircase(points)
    return [stairs.within(budget) for budget in budgets]


def near_frontier(points: Sequence[Point], within: float) -> list[bool]:
    """For each (cost, quality) point, whether it is on the frontier or would be if its cost were lower by a fraction `within`.

    A point with a missing value might be on the frontier, so it counts as near.
    """
    stairs = Staircase(points)
    return [cost is None or quality is None or stairs.below(cost * (1 - within)) < quality for cost, quality in points]
