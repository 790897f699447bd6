"""Estimate latencies with confidence intervals from blocks.

The model, in logarithms: block median = cell + process + round + noise. Within a process, median polish
(Tukey 1977) separates cells from rounds: an effect common to a whole round belongs to the machine, not to a cell.
Between processes, least squares over shared cells brings all processes to one level; groups that never
ran together are compared through their common reference cells.

There are two 95 % intervals. The relative interval compares cells of one sweep: rounds are resampled
(bootstrap, Efron 1979), and the spread between processes adds the effects that are fixed when a process
starts. The absolute interval also includes how much the machine's speed varied. No sample is clipped:
a block is excluded only if evidence other than its samples shows that the machine was disturbed, and
never more than half of a cell's blocks are excluded. Percentiles are over all samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from mnsweep.estimate.circumstances import what_happened
from mnsweep.estimate.join import join
from mnsweep.estimate.local_speed import Array
from mnsweep.estimate.polish import Polished, polish
from mnsweep.record import Block
from mnsweep.wording import DRIFTING, NOISY, STABLE, count_of

NOISY_ABOVE = 0.02  # relative half width: twice the 1 % that tells neighbours on a grid apart
DRIFT_ABOVE = 0.02  # between the halves of a sweep, if it also exceeds the width of the interval
P90_SAMPLES, P99_SAMPLES = 64, 662  # fewest samples that bound these percentiles (MLPerf Inference rules)
DRIFT_ROUNDS = 3  # fewest rounds per half: the median of fewer depends on a single round
LONE_ROUNDS = 6  # fewest rounds for the interval of a single cell: it is the movement of the machine's speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Latency of one cell at the machine's typical speed, per batch, in milliseconds.

    `ci_low_ms` and `ci_high_ms` are None where there are too few rounds for an interval. `relative_ci_pct` is the half width
    against the other cells of the sweep (None for a lone cell or round); percentiles are of the raw samples, None where there
    are too few of them. `stability` is `stable`, `noisy` or `drifting`, with the reason beside it.
    """

    p50_ms: float
    ci_low_ms: float | None
    ci_high_ms: float | None
    relative_ci_pct: float | None
    p90_ms: float | None
    p99_ms: float | None
    samples: int
    rounds: int
    stability: str
    processes: int = 1
    stability_reason: str = ""


@dataclass(frozen=True, slots=True)
class Movement:
    """How much slower and faster than its typical speed the machine was in 95 % of the rounds, in percent."""

    slower_pct: float
    faster_pct: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The estimates by cell id, for every cell with a block, and how much the machine's speed varied."""

    estimates: Mapping[str, Estimate]
    movement: Movement


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effects:
    """Effects joined over all processes. Arrays are float64, in logarithms of nanoseconds, in the order of `cells`."""

    cells: list[str]
    effect: Array  # (cells,) at the typical speed
    half: Array  # (cells,) half width of the 95 % interval; nan if there are too few rounds
    drift: Array  # (cells,) second half of the rounds minus the first half
    slower: float  # deviation from the machine's typical speed in 95 % of the rounds, at least 0
    faster: float


def fit(blocks: Sequence[Block]) -> Fit:
    """Estimate latencies and machine speed from all `blocks` of a sweep; deterministic. No blocks give no estimates."""
    blocks = [block for block in blocks if min(block.samples_ns) > 0]  # else the clock stood still, or jumped back
    if not blocks:
        return Fit({}, Movement(0.0, 0.0))
    effects, cell_blocks = _effects(blocks), _by_cell(blocks)
    estimates = {cell: _estimate(effects, i, cell_blocks[cell]) for i, cell in enumerate(effects.cells)}
    return Fit(estimates, Movement(100 * float(np.expm1(effects.slower)), 100 * float(-np.expm1(-effects.faster))))


def _estimate(effects: _Effects, i: int, blocks: Sequence[Block]) -> Estimate:
    effect, half = effects.effect[i], effects.half[i]
    samples = np.array([ns for b in blocks for ns in b.samples_ns])
    rounds = len({(b.process, b.round) for b in blocks})
    stability, reason = _stability(half, effects.drift[i], rounds)
    if stability != STABLE and (circumstances := what_happened(blocks)):
        reason += f"; {circumstances}"
    low, high = _interval_ms(effects, i, rounds)
    return Estimate(
        p50_ms=_ms(effect),
        ci_low_ms=low,
        ci_high_ms=high,
        relative_ci_pct=None if np.isnan(half) else 100 * float(np.expm1(half)),
        p90_ms=_percentile_ms(samples, 90, P90_SAMPLES),
        p99_ms=_percentile_ms(samples, 99, P99_SAMPLES),
        samples=len(samples),
        rounds=rounds,
        stability=stability,
        processes=len({b.process for b in blocks}),
        stability_reason=reason,
    )


def _interval_ms(effects: _Effects, i: int, rounds: int) -> tuple[float | None, float | None]:
    """The absolute 95 % interval of cell `i`; (None, None) where its rounds are too few for one."""
    effect, half = effects.effect[i], effects.half[i]
    if np.isnan(half) and (len(effects.cells) > 1 or rounds < LONE_ROUNDS):
        return None, None
    half = np.nan_to_num(half)  # a lone cell has the movement of the machine alone
    return _ms(effect - np.hypot(half, effects.faster)), _ms(effect + np.hypot(half, effects.slower))


def _stability(half: float, drift: float, rounds: int) -> tuple[str, str]:
    if np.isnan(half):
        return NOISY, f"{count_of(rounds, 'round')} of a lone cell, or a lone round: too few for an interval"
    if abs(drift) > max(DRIFT_ABOVE, 2 * half):
        direction = "slower" if drift > 0 else "faster"
        return DRIFTING, f"{100 * abs(drift):.1f} % {direction} in the second half of the rounds than in the first"
    width = f"± {100 * half:.2f} % after {count_of(rounds, 'round')}"
    return (STABLE if half <= NOISY_ABOVE else NOISY), width


def _ms(log_ns: float) -> float:
    return float(np.exp(log_ns)) / 1e6


def _percentile_ms(samples: NDArray[np.int64], percent: int, fewest: int) -> float | None:
    return float(np.percentile(samples, percent)) / 1e6 if len(samples) >= fewest else None


def _effects(blocks: Sequence[Block]) -> _Effects:
    from scipy.special import stdtrit  # takes a tenth of a second to load

    by_process = sorted(_undisturbed(blocks), key=attrgetter("process"))
    polished = polish([list(group) for _, group in groupby(by_process, key=attrgetter("process"))])
    cells = sorted({b.cell for b in blocks})
    effect, variance, level = join(cells, polished)
    rounds = sum((p.rounds_of(cells) for p in polished), start=np.zeros(len(cells)))
    movement = np.concatenate([process.rounds + level[p] for p, process in enumerate(polished)])
    typical = np.median(movement)
    fastest, slowest = np.percentile(movement - typical, [2.5, 97.5])
    return _Effects(
        cells=cells,
        effect=effect + typical,
        half=np.asarray(stdtrit(freedom(rounds), 0.975) * np.sqrt(variance), dtype=np.float64),
        drift=_drift(cells, polished, effect, level),
        slower=max(0.0, float(slowest)),
        faster=max(0.0, float(-fastest)),
    )


def freedom(rounds: Array) -> Array:
    """Degrees of freedom of the noise of cells with so many rounds.

    Half of a cell's variance is its own, half is shared by all cells (`join.py`), so it is known as from twice the rounds.
    """
    return 2 * np.maximum(rounds - 1, 1)


def _undisturbed(blocks: Sequence[Block]) -> list[Block]:
    """The blocks to estimate from: the undisturbed ones or, if most blocks of a cell are disturbed, all with positive times."""
    kept = _by_cell(blocks)
    for cell, cell_blocks in kept.items():
        calm = [b for b in cell_blocks if not b.disturbed]
        kept[cell] = calm if 2 * len(calm) >= len(cell_blocks) else cell_blocks
    return [b for cell_blocks in kept.values() for b in cell_blocks]


def _by_cell(blocks: Sequence[Block]) -> dict[str, list[Block]]:
    by_cell: dict[str, list[Block]] = {}
    for b in blocks:
        by_cell.setdefault(b.cell, []).append(b)
    return by_cell


def _drift(cells: Sequence[str], polished: Sequence[Polished], effect: Array, level: Array) -> Array:
    """(cells,): median residual of the later half of each cell's rounds minus that of the earlier half."""
    residuals: dict[str, list[float]] = {cell: [] for cell in cells}
    index = {cell: i for i, cell in enumerate(cells)}
    for process, process_level in zip(polished, level, strict=True):
        for cell, residual, cell_effect in zip(process.cells, process.residual, process.effect, strict=True):
            shifted = residual[~np.isnan(residual)] + cell_effect - process_level - effect[index[cell]]
            residuals[cell].extend(shifted.tolist())
    return np.array([_second_half_less_first(residuals[cell]) for cell in cells])


def _second_half_less_first(values: Sequence[float]) -> float:
    half = len(values) // 2
    return float(np.median(values[half:]) - np.median(values[:half])) if half >= DRIFT_ROUNDS else 0.0
