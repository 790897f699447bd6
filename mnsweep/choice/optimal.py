"""Optimal design of experiments: which cells tell a linear model most. Cells are indices of rows; no randomness.

`rows` (cells, terms) is the model's design matrix, each column scaled to the uncertainty of its coefficient before anything is
measured: the cells `chosen` leave the precision I + XᵀX, where X are their rows.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EXCHANGES = (1, 8), (2, 2)  # how many cells at once, and passes over the chosen cells at most
PART = 512  # rows that OpenBLAS multiplies in one thread: beside other load, its threads wait for each other, 20 × as long
ROUNDING = 1e-9  # an exchange must gain more


def d_optimal(rows: Array, count: int, fixed: Sequence[int] = (), rival: Sequence[int] = ()) -> list[int]:
    """Choose `count` cells that maximize det(I + XᵀX): the volume of what stays uncertain is smallest (D-optimality).

    The cells start with `fixed`. Exchanges (Fedorov 1972; Atkinson and Donev 1992, chapter 15) improve two starts: a greedy
    one, and a greedy one among the cells that the first did not choose. Of the results, and of the set `rival` if there is
    one (`count` cells, `fixed` first), the best is returned.
    """
    count = min(count, len(rows))
    start = _grown(rows, fixed, count)
    starts = [start, _grown(rows, fixed, count, barred=start)] if len(rows) >= 2 * count else [start]
    results = [_exchanged(rows, each, len(fixed)) for each in starts]
    return max([*results, *([list(rival)] if rival else [])], key=lambda chosen: log_det(rows[chosen]))


def most_telling(rows: Array, about: Sequence[int], count: int, taken: Sequence[int]) -> list[int]:
    """Choose `count` cells besides `taken` that lower the uncertainty about the cells `about` most, one after another.

    Each has the largest reduction of their summed predictive variance (V-optimality; Cohn et al. 1996, section 4).
    """
    aim = rows[about].T @ rows[about]
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows) - len(taken)):
        spread = _spread(rows[[*taken, *chosen]])
        gain = _quadratic(rows, spread @ aim @ spread) / (1 + _quadratic(rows, spread))
        gain[[*taken, *chosen]] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return chosen


def log_det(chosen: Array) -> float:
    """Log det(I + XᵀX) of the chosen rows X."""
    return float(np.linalg.slogdet(np.eye(chosen.shape[1]) + chosen.T @ chosen)[1])


def _grown(rows: Array, chosen: Sequence[int], count: int, barred: Sequence[int] = ()) -> list[int]:
    """`chosen`, and the cells that add most, each in turn, but none that is `barred`."""
    grown = list(chosen)
    while len(grown) < count:
        gain = _quadratic(rows, _spread(rows[grown]))  # the determinant grows by the factor 1 + x (I + XᵀX)⁻¹ xᵀ
        gain[[*grown, *barred]] = -np.inf
        grown.append(int(np.argmax(gain)))
    return grown


def _exchanged(rows: Array, chosen: list[int], fixed: int) -> list[int]:
    """`chosen`, first each cell and then each pair of cells but the first `fixed` exchanged for better ones.

    Exchanges of single cells end in a local optimum, from which pairs lead on.
    """
    for size, passes in EXCHANGES:
        for _ in range(passes):
            before = chosen
            for places in combinations(range(fixed, len(chosen)), size):
                chosen = _better(rows, chosen, places)
            if chosen == before:
                break
    return chosen


def _better(rows: Array, chosen: list[int], places: Sequence[int]) -> list[int]:
    """`chosen`, or if they tell more, the same with other cells at some places."""
    others = [cell for place, cell in enumerate(chosen) if place not in places]
    news = _grown(rows, others, len(chosen))[len(others) :]
    changed = [*chosen]
    for place, cell in zip(places, news, strict=True):
        changed[place] = cell
    gained = log_det(rows[changed]) - log_det(rows[chosen])
    return changed if gained > ROUNDING else chosen


def _spread(chosen: Array) -> Array:
    """Covariance of the coefficients after measuring the chosen rows, in units of the uncertainty before."""
    return np.linalg.inv(np.eye(chosen.shape[1], dtype=np.float64) + chosen.T @ chosen).astype(np.float64)


def _quadratic(rows: Array, matrix: Array) -> Array:
    """(cells,): x A xᵀ of each row x."""
    parts = (rows[i : i + PART] for i in range(0, max(1, len(rows)), PART))
    return np.concatenate([np.einsum("ij,ij->i", part @ matrix, part) for part in parts])
