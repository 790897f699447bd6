"""The frontier, against the definition of dominance, pair by pair."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.choice.frontier import pareto

Point = tuple[float | None, float | None]
COORDINATE = st.none() | st.integers(0, 5).map(float)


def dominates(a: Point, b: Point) -> bool:
    """Whether `a` is at least as good as `b` in both and better in one; a missing value beats nothing."""
    if None in (*a, *b):
        return False
    (cost_a, quality_a), (cost_b, quality_b) = a, b
    assert cost_a is not None and cost_b is not None and quality_a is not None and quality_b is not None
    return cost_a <= cost_b and quality_a >= quality_b and (cost_a < cost_b or quality_a > quality_b)


def by_definition(points: list[Point]) -> list[bool]:
    return [None not in p and not any(dominates(other, p) for other in points) for p in points]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), max_size=14))
def test_frontier_is_what_nothing_dominates(points: list[Point]) -> None:
    assert pareto(points) == by_definition(points)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0, 100)), max_size=30))
def test_frontier_of_continuous_values(points: list[Point]) -> None:
    assert pareto(points) == by_definition(points)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], []),
        ([(1.0, 2.0)], [True]),
        ([(None, 2.0)], [False]),
        ([(1.0, None)], [False]),
        ([(1.0, 2.0), (1.0, 2.0)], [True, True]),
        ([(1.0, 2.0), (1.0, 3.0)], [False, True]),
        ([(1.0, 2.0), (2.0, 2.0)], [True, False]),
        ([(2.0, 3.0), (1.0, 2.0), (3.0, 3.0), (0.5, None)], [True, True, False, False]),
    ],
)
def test_frontier_of_a_few_points(points: list[Point], expected: list[bool]) -> None:
    assert pareto(points) == expected
