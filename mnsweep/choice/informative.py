"""Which designs to measure first: those that tell most about the terms of the latency model.

A Bayesian D-optimal design (DuMouchel & Jones 1994) of the model's own matrix: the set of designs that makes the joint
uncertainty of all terms smallest, found by exchanging one design at a time (Fedorov 1972). A term that hardly contributes
anywhere asks for little, where a set that only fills the space would spend designs on it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnsweep.cell import Cell
from mnsweep.prediction.features import work

Array = NDArray[np.float64]
NOISE = 0.02  # relative, of a measured latency
UNSURE = 0.5  # relative, of a coefficient before anything is measured
SMOOTH = 0.1  # relative: how far the smooth correction may go at the ends of the space
LEAST_SHARE = 0.1  # of the latency, somewhere in the space, that any term might have
EXCHANGES = 20  # passes over the set; it settles in two or three
CANDIDATES = 2000  # at most, evenly spread


def informative(cells: Sequence[Cell], ns: Sequence[float], count: int, taken: Sequence[Cell] = ()) -> list[Cell]:
    """Select `count` cells of one deployment, the most informative beside those `taken`; the corners of the space come first.

    `ns` are typical coefficients of the latency model, in the order of its terms. Channels count as unpadded. Deterministic.
    """
    given = set(taken)
    free = [cell for cell in cells if cell not in given]
    free = free[:: max(1, -(-len(free) // CANDIDATES))]
    every = [*free, *given.intersection(cells)]
    if count <= 0 or not free:
        return []
    rows = rows_of(every, ns)
    corners = _corners(free)[:count]
    chosen = d_optimal(rows, count, fixed=[*corners, *range(len(free), len(every))], candidates=range(len(free)))
    return [free[i] for i in chosen]


def rows_of(cells: Sequence[Cell], ns: Sequence[float]) -> Array:
    """(cells, terms): by what share a latency changes with each coefficient, and with the smooth correction."""
    amounts = work(cells, [{}] * len(cells))
    shares = amounts * np.array(ns)
    typical = shares.sum(axis=1, keepdims=True)
    most = (amounts / typical).max(axis=0)
    least = np.divide(LEAST_SHARE, most, out=np.zeros_like(most), where=most > 0)  # a coefficient of that share
    logs = np.log([(cell.design.alpha, cell.design.resolution) for cell in cells])
    low, high = logs.min(axis=0), logs.max(axis=0)
    a, r = (2 * (logs - low) / np.where(high > low, high - low, 1.0) - 1).T
    smooth = SMOOTH / UNSURE * np.stack([np.ones_like(a), a, r, a * a, a * r, r * r], axis=1)
    return np.hstack([amounts * np.maximum(np.array(ns), least) / typical, smooth])


def d_optimal(rows: Array, count: int, *, fixed: Sequence[int], candidates: Sequence[int]) -> list[int]:
    """`count` of the `candidates`, with those `fixed` among them, that make det(1/UNSURE² + XᵀX/NOISE²) large.

    `rows` are (n, terms); `fixed` rows that are no candidates were measured before and count as given.
    """
    scaled = rows / NOISE
    pool = np.array(candidates)
    kept = [i for i in fixed if i in set(candidates)]
    information = np.eye(rows.shape[1]) / UNSURE**2 + scaled[list(fixed)].T @ scaled[list(fixed)]
    chosen = list(kept)
    while len(chosen) < min(count, len(pool)):
        best = _best(scaled, information, pool, chosen)
        chosen.append(best)
        information = information + np.outer(scaled[best], scaled[best])
    for _ in range(EXCHANGES):
        before = set(chosen)
        for i in [i for i in chosen if i not in kept]:
            without = information - np.outer(scaled[i], scaled[i])
            best = _best(scaled, without, pool, [other for other in chosen if other != i])
            chosen[chosen.index(i)] = best
            information = without + np.outer(scaled[best], scaled[best])
        if set(chosen) == before:
            break
    return chosen


def _best(scaled: Array, information: Array, pool: NDArray[np.int_], chosen: Sequence[int]) -> int:
    """The candidate whose row adds most: det(M + xxᵀ) = det(M)(1 + xᵀM⁻¹x); the first among equals."""
    gain = np.einsum("ij,ij->i", scaled[pool], np.linalg.solve(information, scaled[pool].T).T)
    gain[np.isin(pool, chosen)] = -np.inf
    return int(pool[int(np.argmax(np.round(gain, 9)))])


def _corners(cells: Sequence[Cell]) -> list[int]:
    """The cells nearest to the corners of the space in log α and log resolution: smallest, largest, then the other two."""
    logs = np.log([(cell.design.alpha, cell.design.resolution) for cell in cells])
    low, high = logs.min(axis=0), logs.max(axis=0)
    places = (logs - low) / np.where(high > low, high - low, 1.0)
    nearest = (int(np.argmin(((places - corner) ** 2).sum(axis=1))) for corner in ((0, 0), (1, 1), (0, 1), (1, 0)))
    return list(dict.fromkeys(nearest))
