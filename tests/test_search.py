"""What is measured next, against brute force on sets small enough to try everything."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnsweep.cell import Design
from mnsweep.choice.search import representatives, space_filling, undecided
from mnsweep.prediction.deployments import Predicted

GRID = [Design.of(a / 100, r) for a in range(25, 101, 5) for r in range(128, 225, 16)]
DESIGN = st.builds(Design.of, st.integers(5, 100).map(lambda a: a / 100), st.integers(32, 300))
DESIGNS = st.lists(DESIGN, min_size=1, max_size=14, unique=True)


def places(designs: list[Design]) -> dict[Design, tuple[float, float]]:
    """Each design in the unit square: logarithms, from the least to the most."""
    axes = [
        [float(np.log(value)) for value in values] for values in zip(*((d.alpha, d.resolution) for d in designs), strict=True)
    ]
    unit = [[(v - min(axis)) / ((max(axis) - min(axis)) or 1) for v in axis] for axis in axes]
    return dict(zip(designs, zip(*unit, strict=True), strict=True))


def gap(design: Design, chosen: list[Design], at: dict[Design, tuple[float, float]]) -> float:
    return min(float(np.hypot(at[design][0] - at[c][0], at[design][1] - at[c][1])) for c in chosen)


def corners(designs: list[Design]) -> set[Design]:
    at = places(designs)
    return {min(designs, key=lambda d: (at[d][0] - x) ** 2 + (at[d][1] - y) ** 2) for x in (0, 1) for y in (0, 1)}


@given(DESIGNS, st.integers(1, 14), st.data())
def test_each_next_design_is_as_far_as_can_be_from_those_before(designs: list[Design], count: int, data: st.DataObject) -> None:
    taken = data.draw(st.lists(st.sampled_from(designs), max_size=3, unique=True))
    chosen = space_filling(designs, count, taken)
    assert len(chosen) == min(count, len(designs) - len(taken)) == len(set(chosen) - set(taken))
    at = places(designs)
    for i, design in enumerate(chosen):
        before = [*taken, *chosen[:i]]
        left = [d for d in designs if d not in before]
        if before and design not in corners(designs):
            assert corners(designs) <= set(before), "the corners come first"
            assert gap(design, before, at) == pytest.approx(max(gap(d, before, at) for d in left))


def test_the_corners_of_a_grid_are_first_and_only_what_is_missing_is_added() -> None:
    first = space_filling(GRID, 4)
    assert {(d.alpha, d.resolution) for d in first} == {(0.25, 128), (0.25, 224), (1.0, 128), (1.0, 224)}
    assert space_filling(GRID, 12)[:4] == first
    assert space_filling(GRID, 8, space_filling(GRID, 4)) == space_filling(GRID, 12)[4:]
    assert space_filling(GRID, 5, GRID) == [] and space_filling(GRID, 0) == []


def test_it_fills_better_than_chance() -> None:
    at, chosen = places(GRID), space_filling(GRID, 12)

    def hole(picked: list[Design]) -> float:
        return max(gap(d, picked, at) for d in GRID if d not in picked)

    assert hole(chosen) < min(hole(Random(seed).sample(GRID, 12)) for seed in range(40))


def test_a_step_of_ten_percent_counts_alike_everywhere() -> None:
    line = [Design.of(round(0.1 * 1.1**i, 6), 128) for i in range(17)]
    assert space_filling(line, 5)[:3] == [line[0], line[16], line[8]]


NUMBERS = st.integers(1, 12).map(float)
INTERVALS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12)


def beliefs(drawn: list[tuple[float, float, float, float]]) -> tuple[dict[str, Predicted], dict[str, float]]:
    names = [f"a0.25_r{32 + i}" for i in range(len(drawn))]
    ends = [sorted(ms) for *ms, _ in drawn]
    predicted = {name: Predicted(ms, low, high) for name, (low, ms, high) in zip(names, ends, strict=True)}
    return predicted, {name: quality for name, (*_, quality) in zip(names, drawn, strict=True)}


@given(INTERVALS, st.data())
def test_without_a_budget_whatever_may_be_on_the_frontier_is_open(
    drawn: list[tuple[float, float, float, float]], data: st.DataObject
) -> None:
    predicted, quality = beliefs(drawn)
    ids = data.draw(st.lists(st.sampled_from(list(predicted)), min_size=1, unique=True))
    possible = [
        key for key in ids
        if not any(p.high_ms <= predicted[key].low_ms and quality[other] > quality[key] for other, p in predicted.items())
    ]  # fmt: skip
    assert undecided(ids, predicted, quality, None) == possible


@given(INTERVALS, NUMBERS)
def test_with_a_budget_what_it_may_or_may_not_admit_the_best_first(
    drawn: list[tuple[float, float, float, float]], budget: float
) -> None:
    predicted, quality = beliefs(drawn)
    chosen = undecided(list(predicted), predicted, quality, budget)
    open_cells = [key for key, p in predicted.items() if p.low_ms <= budget <= p.high_ms]
    assert sorted(chosen) == sorted(open_cells)
    assert [quality[key] for key in chosen] == sorted((quality[key] for key in open_cells), reverse=True)


def test_what_is_not_known_is_not_chosen() -> None:
    predicted, quality = beliefs([(1, 2, 3, 5), (4, 5, 6, 7)])
    first, second = predicted
    assert undecided([first], {}, quality, None) == undecided([first], predicted, {}, None) == []
    assert set(undecided([first, second, "a1.0_r224"], predicted, quality, None)) == {first, second}


LATENCIES = st.lists(st.floats(0.1, 100), min_size=1, max_size=20, unique=True)


@given(LATENCIES, st.integers(2, 25))
def test_representatives_hold_both_ends_and_are_spread(latencies: list[float], count: int) -> None:
    ms = {f"c{i:02}": value for i, value in enumerate(latencies)}
    chosen = representatives(list(ms), ms, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(ms))
    assert [ms[key] for key in chosen] == sorted(ms[key] for key in chosen)
    assert (ms[chosen[0]], ms[chosen[-1]]) == (min(latencies), max(latencies))


@given(LATENCIES, st.randoms(use_true_random=False))
def test_representatives_do_not_depend_on_the_order(latencies: list[float], rng: Random) -> None:
    ms = {f"c{i:02}": value for i, value in enumerate(latencies)}
    assert representatives(rng.sample(list(ms), len(ms)), ms, 4) == representatives(list(ms), ms, 4)


def test_representatives_of_even_steps_are_even_steps() -> None:
    ms = {f"c{i}": 2.0**i for i in range(9)}
    assert representatives(list(ms), ms, 5) == ["c0", "c2", "c4", "c6", "c8"]
    assert representatives(list(ms), ms, 1) == ["c4"]
    assert representatives([], ms, 5) == []
