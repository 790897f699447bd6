"""Join processes: least squares over cells × processes, with the spread between processes in every variance."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mnsweep.estimate.local_speed import Array
from mnsweep.estimate.polish import Polished, median_of_rows

RESAMPLES = 400
NO_NOISE = 1e-10  # variance of 0.001 %: below the resolution of any clock
SPREAD_STEPS = 5  # fixed-point iterations for the spread between processes; it converges in two or three


def join(cells: Sequence[str], polished: Sequence[Polished]) -> tuple[Array, Array, Array]:
    """Effect (cells,) and variance (cells,) of every cell over all processes, and the level (processes,) of each process.

    Effects and levels are in logarithms of nanoseconds; levels have mean 0. Variances are nan if too few rounds were timed.
    The method is a random-effects meta-analysis (DerSimonian & Laird 1986). Processes with more rounds get more weight, but
    weights even out as the spread between processes grows; the variance includes that spread.
    """
    index = {cell: i for i, cell in enumerate(cells)}
    effect = np.full((len(cells), len(polished)), np.nan)
    rounds = np.zeros_like(effect)
    for p, process in enumerate(polished):
        at = [index[cell] for cell in process.cells]
        effect[at, p], rounds[at, p] = process.effect, process.rounds_of(process.cells)
    within = np.maximum(_variance_within(cells, polished, rounds), NO_NOISE)
    if not np.isfinite(within).any():
        level, joined = _levels(effect, rounds)
        return joined, np.full(len(cells), np.nan), level
    weight = np.where(rounds > 0, 1 / (within + _spread_between_processes(effect, within)), 0.0)
    level, joined = _levels(effect, weight)
    return joined, 1 / weight.sum(axis=1), level


def _variance_within(cells: Sequence[str], polished: Sequence[Polished], rounds: Array) -> Array:
    """(cells, processes): variance of each effect when the rounds of its process are resampled; nan if not timed.

    The variance of a handful of rounds is unreliable. The noise of a cell is therefore pooled over processes, and its
    variance is averaged with the typical variance of all cells. A cell that was timed once gets the typical variance.
    """
    noise = [_noise(cell, polished) for cell in cells]
    within = np.full_like(rounds, np.nan)
    for number in np.unique(rounds[rounds > 0]).astype(int):
        variance = np.array([_variance_of_median(values, number) for values in noise])
        typical = np.nanmedian(variance) if np.isfinite(variance).any() else np.nan
        shared = np.where(np.isnan(variance), typical, (variance + typical) / 2)
        within = np.where(rounds == number, shared[:, None], within)
    return within


def _noise(cell: str, polished: Sequence[Polished]) -> Array:
    """Residuals of a cell in all processes, rescaled to undo the shrinkage from removing row and column effects."""
    residuals = [np.zeros(0)]
    for process in polished:
        if cell in process.cells and len(process.cells) > 1:
            row = process.residual[process.cells.index(cell)]
            row, others = row[~np.isnan(row)], len(process.cells) - 1
            if len(row) > 1:
                residuals.append(row * (len(process.cells) / others) * np.sqrt(len(row) / (len(row) - 1)))
    return np.concatenate(residuals)


def _variance_of_median(values: Array, number: int) -> float:
    """Bootstrap variance of the median of `number` values drawn from `values`; nan for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(np.var(median_of_rows(values[_draws(len(values), number)])))


@lru_cache(maxsize=8)  # most cells have as many values as the one before
def _draws(among: int, number: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(among, size=(RESAMPLES, number))


def _levels(effect: Array, weight: Array) -> tuple[Array, Array]:
    """Weighted least squares: the level (processes,) of each process, with mean 0, and the effect (cells,) of each cell.

    `effect` and `weight` are (cells, processes). Eliminating the cell effects leaves a graph Laplacian over processes:
    a small system with an exact solution, where alternating medians would converge slowly.
    """
    known, total = np.nan_to_num(effect), weight.sum(axis=1, keepdims=True)
    laplacian = np.diag(weight.sum(axis=0)) - weight.T @ (weight / total)
    right = np.sum(weight * (known - np.sum(weight * known, axis=1, keepdims=True) / total), axis=0)
    level = np.asarray(np.linalg.pinv(laplacian) @ right)
    return level, np.sum(weight * (known - level), axis=1) / total[:, 0]


def _spread_between_processes(effect: Array, within: Array) -> float:
    """Variance between processes beyond the noise within them, shared by all cells.

    The method of moments for general weights (Kacker 2004), iterated with the weights that the estimate implies.
    """
    present = ~np.isnan(effect)
    shared = present.sum(axis=1) >= 2
    effect, within, present = effect[shared], within[shared], present[shared]
    freedom = present.sum() - shared.sum()
    left = freedom - (present.any(axis=0).sum() - 1)  # after estimating the levels of the processes
    if not shared.any() or left < 1:
        return 0.0
    spread = 0.0
    for _ in range(SPREAD_STEPS):
        weight = np.where(present, 1 / (within + spread), 0.0)
        level, joined = _levels(effect, weight)
        total = weight.sum(axis=1)
        observed = np.nansum(weight * (effect - level - joined[:, None]) ** 2) * freedom / left
        by_noise = np.nansum(weight * within) - np.sum(np.nansum(weight**2 * within, axis=1) / total)
        scale = np.sum(total - np.sum(weight**2, axis=1) / total)
        spread = max(0.0, float((observed - by_noise) / scale))
    return spread
