"""From blocks to latencies with intervals.

Model, in logarithms: block = cell + process + round + noise. Within a process, cells and rounds are
separated by median polish (Tukey 1977): what a whole round had in common is the machine's, not the cell's.
Between processes, least squares over the cells that they share puts all on one level: groups that never
ran together are compared through their common reference cells.

Two 95 % intervals come out. The relative one compares cells of one sweep: rounds are resampled
(bootstrap, Efron 1979), and what is fixed when a process starts is added from the spread between
processes. The absolute one adds how much the machine's own speed moved meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from mnsweep.measure.record import Block

Table = NDArray[np.float64]
RESAMPLES = 400
Z95 = 1.96
NOISY_ABOVE = 0.02  # relative half width: twice the 1 % that neighbours on a grid ask for
P90_SAMPLES, P99_SAMPLES = 64, 662  # fewest samples that bound these percentiles (MLPerf Inference rules)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Latency of one cell at the machine's typical speed; per batch, in milliseconds.

    `relative_ci_pct` is the half width against the other cells of the sweep (None for a lone cell);
    `stability` is `stable` or `noisy`;
    percentiles are of the raw samples, None where there are too few of them.
    """

    p50_ms: float
    ci_low_ms: float
    ci_high_ms: float
    relative_ci_pct: float | None
    p90_ms: float | None
    p99_ms: float | None
    samples: int
    rounds: int
    stability: str


@dataclass(frozen=True, slots=True)
class _Polished:
    """One process: effects of its cells and rounds, and how uncertain each cell's effect is."""

    cells: list[str]
    effect: Table  # (cells,) log ns
    variance: Table  # (cells,) of the effect, from resampled rounds
    rounds: Table  # (rounds,) log, median 0
    weight: Table  # (cells,) rounds in which the cell was timed


def estimate(blocks: Sequence[Block]) -> dict[str, Estimate]:
    """An estimate of every cell that has a block, by cell id. Deterministic."""
    if not blocks:
        return {}
    by_process = sorted(blocks, key=attrgetter("process"))
    polished = [_polish_process(list(group)) for _, group in groupby(by_process, key=attrgetter("process"))]
    cells = sorted({b.cell for b in blocks})
    effect, variance, level = _join(cells, polished)
    slow, fast = _level_movement(polished, level)
    samples: dict[str, list[int]] = {cell: [] for cell in cells}
    rounds = dict.fromkeys(cells, 0)
    for b in blocks:
        samples[b.cell].extend(b.samples_ns)
        rounds[b.cell] += 1
    half = Z95 * np.sqrt(variance)
    return {cell: _estimate(effect[i], half[i], slow, fast, samples[cell], rounds[cell]) for i, cell in enumerate(cells)}


def _estimate(effect: float, half: float, slow: float, fast: float, samples: list[int], rounds: int) -> Estimate:
    known_half = 0.0 if np.isnan(half) else half
    return Estimate(
        p50_ms=_ms(effect),
        ci_low_ms=_ms(effect - np.hypot(known_half, fast)),
        ci_high_ms=_ms(effect + np.hypot(known_half, slow)),
        relative_ci_pct=None if np.isnan(half) else 100 * float(np.expm1(half)),
        p90_ms=_percentile_ms(samples, 90, P90_SAMPLES),
        p99_ms=_percentile_ms(samples, 99, P99_SAMPLES),
        samples=len(samples),
        rounds=rounds,
        stability="stable" if half <= NOISY_ABOVE else "noisy",
    )


def _ms(log_ns: float) -> float:
    return float(np.exp(log_ns)) / 1e6


def _percentile_ms(samples: list[int], percent: int, fewest: int) -> float | None:
    return float(np.percentile(samples, percent)) / 1e6 if len(samples) >= fewest else None


def _polish_process(blocks: Sequence[Block]) -> _Polished:
    cells = sorted({b.cell for b in blocks})
    rounds = sorted({b.round for b in blocks})
    row, column = {c: i for i, c in enumerate(cells)}, {r: i for i, r in enumerate(rounds)}
    table = np.full((len(cells), len(rounds)), np.nan)
    for b in blocks:
        table[row[b.cell], column[b.round]] = np.log(np.mean(b.samples_ns))
    effect, round_effect = median_polish(table)
    residual = table - effect[:, None] - round_effect
    variance = _resampled_variance(residual)
    return _Polished(cells, effect, variance, round_effect, np.sum(~np.isnan(table), axis=1).astype(float))


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

    The column effect of n rows holds 1/n of each row's own noise: the factor makes up for it.
    """
    rows, columns = residual.shape
    if rows < 2 or columns < 2:
        return np.full(rows, np.nan)
    draws = np.random.default_rng(0).integers(columns, size=(RESAMPLES, columns))
    variance = [_variance_of_medians(row, draws) for row in residual]
    return np.array(variance) * np.float64(rows / (rows - 1)) ** 2


def _variance_of_medians(row: Table, draws: NDArray[np.int64]) -> float:
    present = row[~np.isnan(row)]
    if len(present) < 2:
        return float("nan")
    return float(np.var(np.median(present[draws[:, : len(present)] % len(present)], axis=1)))


def _join(cells: Sequence[str], polished: Sequence[_Polished]) -> tuple[Table, Table, Table]:
    """Effect and variance of every cell over all processes, and the level of each process."""
    index = {cell: i for i, cell in enumerate(cells)}
    effect = np.full((len(cells), len(polished)), np.nan)
    within, weight = np.full_like(effect, np.nan), np.zeros_like(effect)
    for p, process in enumerate(polished):
        at = [index[cell] for cell in process.cells]
        effect[at, p], within[at, p], weight[at, p] = process.effect, process.variance, process.weight
    level = _levels(effect, weight)
    share = weight / weight.sum(axis=1, keepdims=True)
    joined = np.nansum(share * (effect - level), axis=1)
    spread = _spread_between_processes(effect - level - joined[:, None], within, weight)
    variance = np.sum(np.where(weight > 0, share**2 * (within + spread), 0.0), axis=1)
    return joined, variance, level


def _levels(effect: Table, weight: Table) -> Table:
    """Least-squares level of each process, mean 0, from the cells that processes share.

    With the cell effects eliminated this is a graph Laplacian over processes: tiny, and exact where
    alternating medians would creep.
    """
    known = np.nan_to_num(effect)
    total = weight.sum(axis=1, keepdims=True)
    laplacian = np.diag(weight.sum(axis=0)) - weight.T @ (weight / total)
    right = np.sum(weight * (known - np.sum(weight * known, axis=1, keepdims=True) / total), axis=0)
    return np.asarray(np.linalg.pinv(laplacian) @ right)


def _spread_between_processes(residual: Table, within: Table, weight: Table) -> float:
    """Variance between processes beyond the noise within them, one number for all cells."""
    shared = (weight > 0).sum(axis=1) >= 2
    present = weight[shared] > 0
    freedom = present.sum() - shared.sum() - (present.any(axis=0).sum() - 1)
    if freedom < 1:
        return 0.0
    between = np.nansum(residual[shared] ** 2) / freedom
    noise = within[shared][np.isfinite(within[shared])]
    return max(0.0, float(between - (noise.mean() if noise.size else 0.0)))


def _level_movement(polished: Sequence[_Polished], level: Table) -> tuple[float, float]:
    """How far above and below its typical speed the machine was in 95 % of the rounds, log."""
    moved = np.concatenate([process.rounds + level[p] for p, process in enumerate(polished)])
    moved -= np.median(moved)
    fast, slow = np.percentile(moved, [2.5, 97.5])
    return float(slow), float(-fast)
