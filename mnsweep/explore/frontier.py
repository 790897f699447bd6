"""The accuracy/latency frontier."""

from collections.abc import Sequence


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
