"""Two-way tables in logarithms: cells and rounds within a process, cells and processes between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mnsweep.measure.record import Block

Table = NDArray[np.float64]
RESAMPLES = 400
NO_NOISE = 1e-10  # variance of 0.001 %: below the resolution of any clock


@dataclass(frozen=True, slots=True)
class Polished:
    """One process: effects of its cells and rounds, and how uncertain each cell's effect is."""

    cells: list[str]
    effect: Table  # (cells,) log ns
    variance: Table  # (cells,) of the effect, from resampled rounds
    rounds: Table  # (rounds,) log, median 0
    residual: Table  # (cells, rounds) log; nan where the cell was not timed

    def rounds_of(self, cells: Sequence[str]) -> Table:
        """In how many rounds each of `cells` was timed."""
        number = dict(zip(self.cells, np.sum(~np.isnan(self.residual), axis=1), strict=True))
        return np.array([float(number.get(cell, 0)) for cell in cells])


def polish(blocks: Sequence[Block]) -> Polished:
    """Cell and round effects of the blocks of one process, by median polish of the logarithms of block medians."""
    cells = sorted({b.cell for b in blocks})
    rounds = sorted({b.round for b in blocks})
    row, column = {c: i for i, c in enumerate(cells)}, {r: i for i, r in enumerate(rounds)}
    total, number = np.zeros((len(cells), len(rounds))), np.zeros((len(cells), len(rounds)))
    for b in blocks:
        at = row[b.cell], column[b.round]
        total[at] += np.log(max(1.0, median(b.samples_ns)))
        number[at] += 1
    table = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    effect, round_effect = median_polish(table)
    residual = table - effect[:, None] - round_effect
    return Polished(cells, effect, _resampled_variance(residual), round_effect, residual)


def median_polish(table: Table, sweeps: int = 10) -> tuple[Table, Table]:
    """Row and column effects of a (rows, columns) table; nan is missing; column effects have median 0."""
    columns = np.zeros(table.shape[1])
    for _ in range(sweeps):
        rows = np.nanmedian(table - columns, axis=1)
        columns = np.nanmedian(table - rows[:, None], axis=0)
        columns -= np.median(columns)
    return np.nanmedian(table - columns, axis=1), columns


def _resampled_variance(residual: Table) -> Table:
    """Variance of each row's median when columns are drawn again; nan for a lone row or column.

    The column effect of n rows holds 1/n of each row's own noise: the factor makes up for it. A dozen columns
    tell a variance badly, so each is averaged with the typical one of its process.
    """
    rows, columns = residual.shape
    if rows < 2 or columns < 2:
        return np.full(rows, np.nan)
    draws = np.random.default_rng(0).integers(columns, size=(RESAMPLES, columns))
    variance = [_variance_of_medians(row, draws) for row in residual]
    own = np.array(variance) * np.float64(rows / (rows - 1)) ** 2
    return (own + np.nanmedian(own)) / 2 if np.isfinite(own).any() else own


def _variance_of_medians(row: Table, draws: NDArray[np.int64]) -> float:
    present = row[~np.isnan(row)]
    if len(present) < 2:
        return float("nan")
    return float(np.var(np.median(present[draws[:, : len(present)] % len(present)], axis=1)))


def join(cells: Sequence[str], polished: Sequence[Polished]) -> tuple[Table, Table, Table]:
    """Effect and variance of every cell over all processes, and the level of each process.

    A random-effects meta-analysis (DerSimonian & Laird 1986): a process counts by its precision, so one that
    the machine disturbed throughout counts little, and what differs between processes is in the variance.
    """
    index = {cell: i for i, cell in enumerate(cells)}
    effect = np.full((len(cells), len(polished)), np.nan)
    within, rounds = np.full_like(effect, np.nan), np.zeros_like(effect)
    for p, process in enumerate(polished):
        at = [index[cell] for cell in process.cells]
        effect[at, p], within[at, p], rounds[at, p] = process.effect, process.variance, process.rounds_of(process.cells)
    within = np.maximum(_fill_unknown(within, rounds), NO_NOISE)
    if not np.isfinite(within).any():
        level, joined = _levels(effect, rounds)
        return joined, np.full(len(cells), np.nan), level
    weight = np.where(rounds > 0, 1 / (within + _spread_between_processes(effect, within)), 0.0)
    level, joined = _levels(effect, weight)
    return joined, 1 / weight.sum(axis=1), level


def _fill_unknown(within: Table, weight: Table) -> Table:
    """Variances with those of too few rounds (nan) taken from the others, in proportion to the rounds."""
    of_one_round = within * weight
    if not np.isfinite(of_one_round).any():
        return within
    typical = np.nanmedian(of_one_round)
    return np.where(np.isnan(within) & (weight > 0), typical / np.maximum(weight, 1), within)


def _levels(effect: Table, weight: Table) -> tuple[Table, Table]:
    """Weighted least squares: the level of each process, mean 0, and the effect of each cell.

    With the cell effects eliminated this is a graph Laplacian over processes: tiny, and exact where
    alternating medians would creep.
    """
    known, total = np.nan_to_num(effect), weight.sum(axis=1, keepdims=True)
    laplacian = np.diag(weight.sum(axis=0)) - weight.T @ (weight / total)
    right = np.sum(weight * (known - np.sum(weight * known, axis=1, keepdims=True) / total), axis=0)
    level = np.asarray(np.linalg.pinv(laplacian) @ right)
    return level, np.sum(weight * (known - level), axis=1) / total[:, 0]


def _spread_between_processes(effect: Table, within: Table) -> float:
    """Variance between processes beyond the noise within them, one number for all cells.

    The method of moments for any weights (Kacker 2004), with the weights that its own answer implies.
    """
    present = ~np.isnan(effect)
    shared = present.sum(axis=1) >= 2
    effect, within, present = effect[shared], within[shared], present[shared]
    freedom = present.sum() - shared.sum()
    left = freedom - (present.any(axis=0).sum() - 1)  # once the levels of the processes are estimated
    if not shared.any() or left < 1:
        return 0.0
    spread = 0.0
    for _ in range(5):
        weight = np.where(present, 1 / (within + spread), 0.0)
        level, joined = _levels(effect, weight)
        total = weight.sum(axis=1)
        observed = np.nansum(weight * (effect - level - joined[:, None]) ** 2) * freedom / left
        by_noise = np.nansum(weight * within) - np.sum(np.nansum(weight**2 * within, axis=1) / total)
        scale = np.sum(total - np.sum(weight**2, axis=1) / total)
        spread = max(0.0, float((observed - by_noise) / scale))
    return spread
