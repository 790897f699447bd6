"""Which cells tell most, against trying every set, and against the textbook's definitions."""

import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.choice.optimal import d_optimal, log_det, most_telling
from mnsweep.choice.search import informative, space_filling
from mnsweep.prediction.information import information_rows
from mnsweep.space import Space

Array = NDArray[np.float64]
NUMBER = st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3))
ROWS: st.SearchStrategy[Array] = (
    st.integers(1, 4).flatmap(lambda terms: st.lists(st.tuples(*[NUMBER] * terms), min_size=2, max_size=9)).map(np.array)
)
GRID = Space("0.25:1.0:0.05", "128:224:16", pad="8").cells()
DESIGNS = [cell.design for cell in GRID]


def determinant(chosen: Array) -> float:
    """det(I + XᵀX), by the sum over all minors: Σ det² of the square parts of X (Cauchy and Binet)."""
    n, p = chosen.shape
    parts = (
        chosen[np.ix_(rows, columns)]
        for size in range(min(n, p) + 1)
        for rows in combinations(range(n), size)
        for columns in combinations(range(p), size)
    )
    return float(sum(np.linalg.det(part) ** 2 for part in parts))


@given(ROWS)
def test_the_volume_is_by_the_definition(rows: Array) -> None:
    assert np.exp(log_det(rows)) == pytest.approx(determinant(rows), rel=1e-6)


@settings(max_examples=80)
@given(ROWS, st.integers(1, 5), st.data())
def test_no_exchange_of_a_chosen_cell_gains_and_fixed_cells_stay(rows: Array, count: int, data: st.DataObject) -> None:
    fixed = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=count, unique=True))
    chosen = d_optimal(rows, count, fixed)
    assert chosen[: len(fixed)] == fixed and len(set(chosen)) == len(chosen) == min(count, len(rows))
    assert d_optimal(rows, count, fixed) == chosen
    for place in range(len(fixed), len(chosen)):
        for other in set(range(len(rows))) - set(chosen):
            exchanged = [*chosen[:place], other, *chosen[place + 1 :]]
            assert log_det(rows[exchanged]) <= log_det(rows[chosen]) + 1e-6


@pytest.mark.parametrize("fixed", [0, 2])
@pytest.mark.parametrize("seed", range(30))
def test_the_determinant_is_nearly_that_of_the_best_of_all_sets(seed: int, fixed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = information_rows([GRID[i] for i in rng.choice(len(GRID), 14, replace=False)], [{}] * 14)
    count = int(rng.integers(3, 8))
    sets = [each for each in combinations(range(14), count) if each[:fixed] == tuple(range(fixed))]
    best = max(log_det(rows[list(each)]) for each in sets)
    assert np.exp(log_det(rows[d_optimal(rows, count, range(fixed))]) - best) >= 0.95


@given(ROWS, st.integers(1, 4), st.data())
def test_a_better_rival_wins(rows: Array, count: int, data: st.DataObject) -> None:
    rival = data.draw(st.permutations(range(len(rows))))[:count]
    assert log_det(rows[d_optimal(rows, count, rival=rival)]) >= log_det(rows[rival]) - 1e-9


@given(st.data(), st.integers(1, 14))
def test_designs_have_the_corners_and_tell_more_than_a_space_filling_set(data: st.DataObject, count: int) -> None:
    places = data.draw(st.lists(st.integers(0, len(GRID) - 1), min_size=5, max_size=25, unique=True))
    designs, rows = [DESIGNS[i] for i in places], information_rows([GRID[i] for i in places], [{}] * len(places))
    taken = data.draw(st.lists(st.sampled_from(designs), max_size=3, unique=True))
    chosen = informative(designs, rows, count, taken)
    assert len(chosen) == len(set(chosen) - set(taken)) == min(count, len(designs) - len(taken))
    index = {design: i for i, design in enumerate(designs)}

    def told(those: list[Design]) -> float:
        return log_det(rows[[index[design] for design in [*taken, *those]]])

    assert told(chosen) >= told(space_filling(designs, count, taken)) - 1e-9


@pytest.mark.parametrize(
    ("count", "corners"), [(2, {(0.25, 128), (1.0, 224)}), (4, {(a, r) for a in (0.25, 1.0) for r in (128, 224)})]
)
def test_corners_come_first_as_far_as_there_is_room(count: int, corners: set[tuple[float, int]]) -> None:
    rows = information_rows(GRID, [{}] * len(GRID))
    for more in (0, 1, 8):
        chosen = informative(DESIGNS, rows, count + more)
        assert {(d.alpha, d.resolution) for d in chosen[:count]} == corners
    assert informative(DESIGNS, rows, 0) == [] == informative(DESIGNS, rows, 3, DESIGNS)
    rest = informative(DESIGNS, rows, 5, [d for d in DESIGNS if (d.alpha, d.resolution) in corners])
    assert not corners & {(d.alpha, d.resolution) for d in rest}


@settings(max_examples=80)
@given(ROWS, st.data())
def test_what_tells_most_lowers_the_variance_of_the_open_cells_most(rows: Array, data: st.DataObject) -> None:
    index = st.integers(0, len(rows) - 1)
    about = data.draw(st.lists(index, min_size=1, unique=True))
    taken = data.draw(st.lists(index, max_size=len(rows) - 1, unique=True))

    def uncertainty(known: list[int]) -> float:
        covariance = np.linalg.inv(np.eye(rows.shape[1]) + rows[known].T @ rows[known])
        return float(sum(row @ covariance @ row for row in rows[about]))

    (chosen,) = most_telling(rows, about, 1, taken)
    left = set(range(len(rows))) - set(taken)
    assert chosen in left
    assert uncertainty([*taken, chosen]) == pytest.approx(min(uncertainty([*taken, i]) for i in left), rel=1e-6, abs=1e-9)
    several = most_telling(rows, about, 3, taken)
    assert several[0] == chosen and len(set(several) & left) == len(several) == min(3, len(left))


@pytest.mark.parametrize("deployment", [Deployment(), Deployment("int8", "openvino"), Deployment("bf16", threads=2)])
def test_a_row_is_the_covariance_of_log_latencies_whatever_the_scale_of_terms(deployment: Deployment) -> None:
    cells = [Cell(design, deployment) for design in DESIGNS]
    rows = information_rows(cells, [{}] * len(cells))
    assert rows.shape[0] == len(cells) and np.isfinite(rows).all()
    sd = 0.03 * np.sqrt((rows**2).sum(axis=1))  # beforehand, of the logarithm of each latency up to the machine's speed
    assert sd.min() > 0.1 and sd.max() < 3


def test_ten_thousand_cells_take_a_moment() -> None:
    cells = Space("0.25:1.0:0.0075", "128:224:1", pad="8", max_designs=10_000).cells()
    rows = information_rows(cells, [{}] * len(cells))
    start = time.process_time()
    informative([cell.design for cell in cells], rows, 12)
    assert time.process_time() - start < 4  # seconds of all CPUs; 0.3 s where nothing else runs
