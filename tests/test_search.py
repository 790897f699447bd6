"""What is measured next, against brute force on sets small enough to try everything."""

from itertools import combinations
from random import Random
from statistics import median

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.cell import Design
from mnsweep.choice.search import NEARBY, representatives, space_filling, undecided
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


def crowding(chosen: list[Design], at: dict[Design, tuple[float, float]]) -> float:
    """The criterion of Joseph et al., written out: how near designs are in α times how near in resolution, over all pairs."""
    pairs = ((at[a], at[b]) for a, b in combinations(chosen, 2))
    return sum(1 / (((a[0] - b[0]) ** 2 + NEARBY**2) * ((a[1] - b[1]) ** 2 + NEARBY**2)) for a, b in pairs)


def ends(designs: list[Design]) -> set[Design]:
    at = places(designs)
    return {min(designs, key=lambda d: (at[d][0] - x) ** 2 + (at[d][1] - x) ** 2) for x in (0, 1)}


@given(DESIGNS, st.integers(1, 14), st.data())
def test_as_many_as_asked_for_are_new_and_the_ends_come_first(designs: list[Design], count: int, data: st.DataObject) -> None:
    taken = data.draw(st.lists(st.sampled_from(designs), max_size=3, unique=True))
    chosen = space_filling(designs, count, taken)
    assert len(chosen) == min(count, len(designs) - len(taken)) == len(set(chosen) - set(taken))
    missing = ends(designs) - set(taken)
    assert set(chosen[: len(missing)]) <= missing or count < len(missing)
    assert chosen == space_filling(designs, count, taken)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(2, 12)), min_size=6, max_size=9, unique=True))
def test_it_is_nearly_the_best_of_all_sets_with_these_ends(drawn: list[tuple[int, int]]) -> None:
    """Brute force over all sets of five."""
    designs = [Design.of(alpha / 10, 32 * resolution) for alpha, resolution in drawn]
    at, chosen = places(designs), space_filling(designs, 5)
    fixed = chosen[: len(ends(designs))]
    others = [d for d in designs if d not in fixed]
    best = min(crowding([*fixed, *more], at) for more in combinations(others, 5 - len(fixed)))
    assert crowding(chosen, at) <= 1.3 * best


def test_alphas_and_resolutions_differ_as_far_as_they_can() -> None:
    """Where one design of each α and each resolution could be taken, most are."""
    square = [Design.of(round(0.2 + 0.1 * i, 1), 64 + 32 * k) for i in range(8) for k in range(8)]
    chosen = space_filling(square, 8)
    assert len({d.alpha for d in chosen}) >= 6 and len({d.resolution for d in chosen}) >= 6
    assert space_filling(square, 5, square) == [] and space_filling(square, 0) == []


def test_it_fills_better_than_chance() -> None:
    at, chosen = places(GRID), space_filling(GRID, 12)

    def hole(picked: list[Design]) -> float:
        return max(gap(d, picked, at) for d in GRID if d not in picked)

    assert hole(chosen) < median(hole(Random(seed).sample(GRID, 12)) for seed in range(40))


def test_a_step_of_ten_percent_counts_alike_everywhere() -> None:
    line = [Design.of(round(0.1 * 1.1**i, 6), 128) for i in range(17)]
    assert sorted(space_filling(line, 3), key=lambda d: d.alpha) == [line[0], line[8], line[16]]


def test_ten_thousand_designs_are_no_trouble() -> None:
    many = [Design.of(round(0.2 + 0.008 * i, 3), 32 + 8 * k) for i in range(100) for k in range(100)]
    assert len(space_filling(many, 200)) == 200


NUMBERS = st.integers(1, 12).map(float)
INTERVALS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12)


def beliefs(drawn: list[tuple[float, float, float, float]]) -> tuple[dict[str, Predicted], dict[str, float]]:
    names = [f"a0.25_r{32 + i}" for i in range(len(drawn))]
    ends = [sorted(ms) for *ms, _ in drawn]
    predicted = {name: Predicted(ms, low, high) for name, (low, ms, high) in zip(names, ends, strict=True)}
    return predicted, {name: quality for name, (*_, quality) in zip(names, drawn, strict=True)}


@given(INTERVALS, st.integers(1, 12), st.data())
def test_without_a_budget_whatever_may_be_on_the_frontier_is_worth_measuring(
    drawn: list[tuple[float, float, float, float]], count: int, data: st.DataObject
) -> None:
    predicted, quality = beliefs(drawn)
    ids = data.draw(st.lists(st.sampled_from(list(predicted)), min_size=1, unique=True))
    possible = [
        key for key in ids
        if not any(p.high_ms <= predicted[key].low_ms and quality[other] > quality[key] for other, p in predicted.items())
    ]  # fmt: skip
    chosen = undecided(ids, predicted, quality, None, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(possible))
    assert set(chosen) <= set(possible)
    if possible:
        width = {key: predicted[key].high_ms / predicted[key].low_ms for key in possible}
        assert width[chosen[0]] == max(width.values())


@given(INTERVALS, NUMBERS, st.integers(1, 12))
def test_with_a_budget_the_best_that_it_may_or_may_not_admit(
    drawn: list[tuple[float, float, float, float]], budget: float, count: int
) -> None:
    predicted, quality = beliefs(drawn)
    chosen = undecided(list(predicted), predicted, quality, budget, count)
    open_cells = [key for key, p in predicted.items() if p.low_ms <= budget <= p.high_ms]
    assert set(chosen) <= set(open_cells) and len(set(chosen)) == min(count, len(open_cells))
    assert [quality[key] for key in chosen] == sorted((quality[key] for key in open_cells), reverse=True)[:count]


def test_what_is_not_known_is_not_chosen() -> None:
    predicted, quality = beliefs([(1, 2, 3, 5), (4, 5, 6, 7)])
    first, second = predicted
    assert undecided([first], {}, quality, None, 9) == undecided([first], predicted, {}, None, 9) == []
    assert set(undecided([first, second, "a1.0_r224"], predicted, quality, None, 9)) == {first, second}


def test_wide_intervals_far_from_each_other_come_first() -> None:
    drawn = [(10.0, 9.0, 11.0), (10.2, 9.1, 11.3), (30.0, 28.5, 31.5), (90.0, 89.0, 91.0)]
    predicted = {f"a0.5_r{100 + i}": Predicted(*p) for i, p in enumerate(drawn)}
    quality = {key: 50.0 + i for i, key in enumerate(predicted)}
    assert undecided(list(predicted), predicted, quality, None, 2) == ["a0.5_r101", "a0.5_r102"]


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
