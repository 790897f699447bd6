"""Fit a two-way table in logarithms, cells × rounds, within each process."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnsweep.estimate.local_speed import Array, Moved, choose_kernel, middle_s
from mnsweep.record import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Polished:
    """Cell effects, round effects and residuals of one process; float64, in logarithms of nanoseconds."""

    cells: list[str]
    effect: Array  # (cells,)
    rounds: Array  # (rounds,) median 0
    residual: Array  # (cells, rounds) nan if the cell was not timed

    def rounds_of(self, cells: Sequence[str]) -> Array:
        """(cells,): the number of rounds in which each of `cells` was timed."""
        number = dict(zip(self.cells, np.sum(~np.isnan(self.residual), axis=1), strict=True))
        return np.array([float(number.get(cell, 0)) for cell in cells])


@dataclass(frozen=True, slots=True)
class _Timed:
    """The blocks of one process as a table: `value` (blocks,) are logarithms, `place` (blocks,) are the fields of the table."""

    cells: list[str]
    rounds: list[int]
    place: NDArray[np.intp]
    value: Array
    middle_s: Array

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> Self:
        cells, rounds = sorted({b.cell for b in blocks}), sorted({b.round for b in blocks})
        row, column = {c: i for i, c in enumerate(cells)}, {r: i for i, r in enumerate(rounds)}
        place = np.array([row[b.cell] * len(rounds) + column[b.round] for b in blocks])
        return cls(cells, rounds, place, np.log(np.maximum(1.0, _medians(blocks))), middle_s(blocks))

    def without(self, speed: Array) -> Self:
        """The same blocks as if the machine had not been slower by `speed` (blocks,) during each."""
        return replace(self, value=self.value - speed)

    def moved(self, polished: Polished) -> Moved:
        expected = (polished.effect[:, None] + polished.rounds).ravel()[self.place]
        return self.value - expected, self.middle_s

    def polished(self) -> Polished:
        table = self._table()
        effect, round_effect = median_polish(table)
        residual = table - effect[:, None] - round_effect
        return Polished(cells=self.cells, effect=effect, rounds=round_effect, residual=residual)

    def _table(self) -> Array:
        """(cells, rounds): several blocks of a cell in the same round are averaged."""
        shape = len(self.cells), len(self.rounds)
        total, number = (np.bincount(self.place, w, shape[0] * shape[1]).reshape(shape) for w in (self.value, None))
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def polish(processes: Sequence[Sequence[Block]]) -> list[Polished]:
    """Median polish of the logarithms of the block medians, in each process by itself.

    First the speed of the machine around each block is taken out, where its neighbours in time tell (`local_speed.py`).
    """
    timed = [_Timed.of(blocks) for blocks in processes]
    polished = [process.polished() for process in timed]
    moved = [process.moved(its) for process, its in zip(timed, polished, strict=True)]
    if kernel := choose_kernel(moved):
        polished = [process.without(kernel.speed(its)).polished() for process, its in zip(timed, moved, strict=True)]
    return polished


def _medians(blocks: Sequence[Block]) -> Array:
    """(blocks,): the median sample of each block; blocks with the same number of samples at once."""
    lengths = np.array([len(b.samples_ns) for b in blocks])
    medians = np.empty(len(blocks))
    for length in np.unique(lengths):
        at = np.flatnonzero(lengths == length)
        medians[at] = median_of_rows(np.array([blocks[i].samples_ns for i in at.tolist()]))
    return medians


def median_of_rows(values: NDArray[Any]) -> Array:
    """(rows,): what `np.median` finds in each row, in a third of its time where rows are short."""
    ordered, length = np.sort(values, axis=1), values.shape[1]
    middle: Array = (ordered[:, (length - 1) // 2] + ordered[:, length // 2]) / 2
    return middle


def median_polish(table: Array, sweeps: int = 10) -> tuple[Array, Array]:
    """Row effects (rows,) and column effects (columns,) of a table (rows, columns); nan marks missing values.

    Column effects have median 0 (Tukey, Exploratory Data Analysis, 1977).
    """
    columns = np.zeros(table.shape[1])
    for _ in range(sweeps):
        rows = _medians_of_known(table - columns)
        columns = _medians_of_known((table - rows[:, None]).T)
        columns -= np.median(columns)
    return _medians_of_known(table - columns), columns


def _medians_of_known(table: Array) -> Array:
    """(rows,): what `np.nanmedian` finds in each row, in a tenth of its time for small tables; nan for a row of nan."""
    ordered, known = np.sort(table, axis=1), np.sum(~np.isnan(table), axis=1)  # nan comes last
    row, last = np.arange(len(table)), np.maximum(known - 1, 0)
    return np.asarray((ordered[row, last // 2] + ordered[row, (last + 1) // 2]) / 2)
