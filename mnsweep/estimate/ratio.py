"""Is B slower than A? Ratios of latencies with joint intervals, and one of four verdicts for each.

In logarithms, a ratio is the difference of two estimates. Its errors are of two kinds: each cell has its own, and all cells
share that of the machine's level, which was another in each of the two runs. So the covariance of the differences is
diag(own) + level · 11ᵀ. A cell is the same where its 95 % interval lies within a margin (a test of equivalence, Schuirmann
1987). Else it is slower or faster where its ratio is not 1, with a false discovery rate over all cells below 5 % (Benjamini &
Hochberg 1995; it holds under such shared errors: Benjamini & Yekutieli 2001). Otherwise nobody knows yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnsweep.estimate.local_speed import Array

FASTER, SLOWER, SAME, UNSURE = "faster", "slower", "same", "unsure"
ERROR = 0.05  # of false discoveries, and of each interval


@dataclass(frozen=True, slots=True)
class Ratio:
    """B's time over A's of one cell, with its 95 % interval (None where one side has none) and the verdict on B."""

    cell: str
    ratio: float
    ci_low: float | None
    ci_high: float | None
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Log ratios of cells; arrays are (cells,), float64.

    `variance` is each cell's own, nan where a side has no interval; `freedom` are its degrees of freedom. `level` is the
    variance that all cells share, known as from `level_freedom`. With `in_step`, cells may be off together though nothing is
    known of a level: their mean is then known no better than a typical cell.
    """

    cells: Sequence[str]
    log_ratio: Array
    variance: Array
    freedom: Array
    level: float = 0.0
    level_freedom: float = float("inf")
    in_step: bool = False


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The ratio of each cell, and the geometric mean of them all with its own interval and verdict."""

    cells: tuple[Ratio, ...]
    overall: Ratio


def judge(differences: Differences, same_pct: float) -> Verdicts:
    """A verdict on every cell and on their geometric mean; differences of at most `same_pct` % count as none."""
    d, margin = differences, float(np.log1p(same_pct / 100))
    freedom = _joint_freedom(d.variance, d.freedom, d)
    verdicts = _verdicts(d.log_ratio, np.sqrt(d.variance + d.level), freedom, margin)
    cells = tuple(
        _ratio(cell, log_ratio, half, verdict)
        for cell, log_ratio, (half, verdict) in zip(d.cells, d.log_ratio.tolist(), verdicts, strict=True)
    )
    known = np.isfinite(d.variance)  # cells without an interval are no part of the mean
    number = max(1, int(known.sum()))
    alike = 1 if d.in_step else number
    own = np.array([_mean(d.variance[known]) / alike])
    each = np.array([_mean(d.freedom[known]) * number / alike])
    mean, of_mean = np.array([_mean(d.log_ratio[known])]), _joint_freedom(own, each, d)
    ((half, verdict),) = _verdicts(mean, np.sqrt(own + d.level), of_mean, margin)
    overall = float(mean[0]) if known.any() else _mean(d.log_ratio)
    return Verdicts(cells, _ratio("overall", overall, half, verdict))


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _joint_freedom(own: Array, freedom: Array, differences: Differences) -> Array:
    """Degrees of freedom of the sum of two estimated variances (Welch 1947, Satterthwaite 1946)."""
    level = differences.level
    spread = own**2 / freedom + level**2 / differences.level_freedom
    return np.where(spread > 0, (own + level) ** 2 / np.maximum(spread, 1e-300), np.inf)


def _verdicts(log_ratio: Array, error: Array, freedom: Array, margin: float) -> list[tuple[float, str]]:
    """For each cell the half width of its 95 % interval, in logarithms (nan if unknown), and its verdict."""
    from scipy.special import stdtr, stdtrit  # takes a tenth of a second to load
    from scipy.stats import false_discovery_control

    known, beyond = np.isfinite(error), np.zeros(len(error), np.bool_)
    size, at_least = np.abs(log_ratio[known]), np.maximum(error[known], 1e-12)
    if known.any():
        beyond[known] = false_discovery_control(2 * stdtr(freedom[known], -size / at_least)) <= ERROR
    half = np.where(known, stdtrit(freedom, 1 - ERROR / 2) * error, np.nan)
    names = _names(log_ratio, half, beyond, margin)
    return list(zip(half.tolist(), names, strict=True))


def _names(log_ratio: Array, half: Array, beyond: NDArray[np.bool_], margin: float) -> list[str]:
    within = np.abs(log_ratio) + half <= margin
    return np.select([within, beyond & (log_ratio > 0), beyond], [SAME, SLOWER, FASTER], UNSURE).tolist()  # type: ignore[no-any-return]


def _ratio(cell: str, log_ratio: float, half: float, verdict: str) -> Ratio:
    known = np.isfinite(half)
    low, high = (float(np.exp(log_ratio + sign * half)) if known else None for sign in (-1, 1))
    return Ratio(cell, float(np.exp(log_ratio)), low, high, verdict)
