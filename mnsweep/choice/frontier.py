"""The accuracy/latency frontier."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

Point = tuple[float | None, float | None]  # cost and quality: lower cost and higher quality are better


class Staircase:
    """The best quality that each cost buys, among (cost, quality) points; those with a missing value are left out."""

    def __init__(self, points: Iterable[Point]) -> None:
        known = sorted((cost, quality) for cost, quality in points if cost is not None and quality is not None)
        self._costs = [cost for cost, _ in known]
        self._best = list(accumulate((quality for _, quality in known), max))

    def below(self, cost: float) -> float:
        """The best quality of points that cost less; -inf where there is none."""
        cheaper = bisect_left(self._costs, cost)
        return self._best[cheaper - 1] if cheaper else float("-inf")

    def within(self, cost: float) -> float:
        """The best quality of points that cost at most so much; -inf where there is none."""
        affordable = bisect_right(self._costs, cost)
        return self._best[affordable - 1] if affordable else float("-inf")


def pareto(points: Sequence[Point]) -> list[bool]:
    """Which (cost, quality) points no other point dominates.

    A point dominates another when it is at least as good in both and better in one, so of equal points all
    stay or none does. A point with a missing value is never on the frontier.
    """
    stairs = Staircase(points)
    return [
        cost is not None and quality is not None and stairs.below(cost) < quality == stairs.within(cost)
        for cost, quality in points
    ]


def best_within(points: Sequence[tuple[float, float]], budgets: Sequence[float]) -> list[float]:
    """The best quality among the (cost, quality) points that cost at most each budget; -inf where there is none."""
    stairs = Staircase(points)
    return [stairs.within(budget) for budget in budgets]


def near_frontier(points: Sequence[Point], within: float) -> list[bool]:
    """Which points are on the frontier or would be if their own cost were lower by the share `within`.

    A point with a missing value may be: it counts as near.
    """
    stairs = Staircase(points)
    return [cost is None or quality is None or stairs.below(cost * (1 - within)) < quality for cost, quality in points]
