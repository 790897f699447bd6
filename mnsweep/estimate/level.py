"""The level of a run: how fast the machine was when nothing slowed it down, against its typical speed.

Two runs of one sweep differ most by what the machine did meanwhile. Neighbours only ever make it slower, so its quiet speed
comes back, and its typical speed does not: in 21 runs of one sweep on a shared 2-CPU machine, the level of the medians moved
by 1.9 % (standard deviation) and that of the quiet quarter of blocks by 1.1 %. The error of a level is that of drawing other
processes (a cluster bootstrap), the wander of the quiet speed from run to run, which one run can't show, and a steady drift
through the run: the next one may be anywhere on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnsweep.estimate.fit import Estimate
from mnsweep.estimate.local_speed import Array
from mnsweep.record import Block

QUIET_RUNS, QUIET_BLOCKS = 10, 25  # percentiles: of the runs in a block, and of the blocks of a sweep
WANDER = 0.007  # standard deviation from run to run, measured as above
FEWEST_PROCESSES = 3  # to draw from; rounds stand in for fewer
RESAMPLES = 200
FEWEST_ROUNDS, BY_CHANCE = 6, 0.7  # to see a drift in; of the variance of rounds, a line explains so much now and then


@dataclass(frozen=True, slots=True)
class Level:
    """What is added to the logarithms of latencies for those at the quiet speed, its variance, and the latter's freedom."""

    shift: float = 0.0
    variance: float = 0.0
    freedom: float = float("inf")


def quiet_level(blocks: Sequence[Block], estimates: Mapping[str, Estimate]) -> Level:
    """The quiet level of a run, relative to its estimates at typical speed; deterministic. At least one block is timed."""
    timed = [block for block in blocks if block.cell in estimates and min(block.samples_ns) > 0]
    off = np.array([_log_quiet_ms(b) - np.log(estimates[b.cell].p50_ms) for b in timed])
    processes = {block.process for block in timed}
    by_round = len(processes) < FEWEST_PROCESSES
    clusters: dict[tuple[int, int], list[int]] = {}
    for i, block in enumerate(timed):
        clusters.setdefault((block.process, block.round if by_round else 0), []).append(i)
    drawn = float(np.var(_resampled([off[at] for at in clusters.values()])))
    total = drawn + _drift(timed, off) + WANDER**2
    freedom = total**2 / (drawn**2 / max(1, len(clusters) - 1)) if drawn > 0 else float("inf")
    return Level(float(np.percentile(off, QUIET_BLOCKS)), total, freedom)


def _drift(blocks: Sequence[Block], off: Array) -> float:
    """The variance of a level that moves steadily through the run; 0 where a line explains little of the rounds' levels."""
    rounds: dict[tuple[int, int], list[int]] = {}
    for i, block in enumerate(blocks):
        rounds.setdefault((block.process, block.round), []).append(i)
    levels = np.array([np.median(off[at]) for at in rounds.values()])
    if len(levels) < FEWEST_ROUNDS or np.ptp(levels) == 0:
        return 0.0
    slope, _ = np.polyfit(np.arange(len(levels)), levels, 1)
    share = float(np.corrcoef(np.arange(len(levels)), levels)[0, 1] ** 2)
    steady = max(0.0, (share - BY_CHANCE) / (1 - BY_CHANCE))
    return steady * float(slope * len(levels) / 2) ** 2


def _log_quiet_ms(block: Block) -> float:
    return float(np.log(np.percentile(block.samples_ns, QUIET_RUNS) / 1e6))


def _resampled(clusters: Sequence[Array]) -> Array:
    """(RESAMPLES,): the quiet level of as many clusters, drawn again and again."""
    draws = np.random.default_rng(0).integers(len(clusters), size=(RESAMPLES, len(clusters)))
    return np.array([np.percentile(np.concatenate([clusters[k] for k in drawn]), QUIET_BLOCKS) for drawn in draws.tolist()])
