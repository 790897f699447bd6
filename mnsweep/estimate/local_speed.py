"""How fast the machine was when a block was timed, from the blocks just before and after it.

A machine with busy neighbours changes its speed within tenths of a second, faster than one effect per round can follow. What
such a change does to the blocks of other cells nearby in time tells what it did to this one. The weights of those blocks fall
off exponentially with the distance in time (Nadaraya 1964, Watson 1964), with a ridge: where nothing is near, nothing is
predicted. How far the kernel reaches is chosen by leave-one-out cross-validation (Stone 1974), among several reaches and
none at all: on a machine whose noise has no memory, blocks are left as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnsweep.record import Block

REACHES_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
RIDGES = (0.1, 0.3, 1.0, 3.0)
LEAST_GAIN = 0.02  # of the error of prediction; a smaller gain is chance
OUTLIER = 3.0  # standard deviations: a single spike tells nothing about its neighbours
TOGETHER = 512  # blocks that are compared with each other at most, so that memory is bounded
LEARNT_FROM = 12  # processes at most, evenly spread, that the reach is chosen on
Array: TypeAlias = NDArray[np.float64]
Moved: TypeAlias = tuple[
    Array, Array
]  # of the blocks of a process, in order: residuals (log), and the middle of each in seconds


@dataclass(frozen=True, slots=True)
class Kernel:
    """Weights exp(−distance / `reach_s`), and a weight `ridge` for no change."""

    reach_s: float
    ridge: float

    def speed(self, moved: Moved) -> Array:
        """(blocks,): the log of how much slower the machine was during each block, predicted from the others."""
        residual, at_s = moved
        calm = _without_outliers(residual)
        speed = np.zeros_like(calm)
        for part in _parts(len(calm)):
            speed[part] = self._predict(calm[part], _distances_s(at_s[part]))
        return speed

    def _predict(self, residual: Array, distance_s: Array) -> Array:
        total, weight = _weighed(self.reach_s, residual, distance_s)
        return np.asarray(total / (weight + self.ridge))


def choose_kernel(processes: Sequence[Moved]) -> Kernel | None:
    """The kernel that predicts each block best from its neighbours in time; None where none predicts."""
    sample = processes[:: max(1, -(-len(processes) // LEARNT_FROM))]
    parts = [(_without_outliers(residual)[:TOGETHER], _distances_s(at_s[:TOGETHER])) for residual, at_s in sample]
    error = dict.fromkeys((Kernel(*choice) for choice in product(REACHES_S, RIDGES)), 0.0)
    for reach_s, (residual, distance_s) in product(REACHES_S, parts):
        total, weight = _weighed(reach_s, residual, distance_s)
        for ridge in RIDGES:
            error[Kernel(reach_s, ridge)] += float(np.abs(residual - total / (weight + ridge)).sum())
    best = min(error, key=error.__getitem__)
    unchanged = sum(float(np.abs(residual).sum()) for residual, _ in parts)
    return best if error[best] < (1 - LEAST_GAIN) * unchanged else None


def middle_s(blocks: Sequence[Block]) -> Array:
    """(blocks,): the middle of each block, in seconds since its process began."""
    return np.array([b.at_s + (b.first_ns + sum(b.samples_ns)) / 2e9 for b in blocks])


def _weighed(reach_s: float, residual: Array, distance_s: Array) -> tuple[Array, Array]:
    """Each (blocks,): the sum of the other blocks' residuals, weighed by their distances, and that of the weights."""
    weight = np.exp(-distance_s / reach_s)
    return np.asarray(weight @ residual), np.asarray(weight.sum(axis=1))


def _distances_s(at_s: Array) -> Array:
    """(blocks, blocks); infinite from a block to itself, so that it does not predict itself."""
    distance: Array = np.abs(at_s[:, None] - at_s)
    np.fill_diagonal(distance, np.inf)
    return distance


def _without_outliers(residual: Array) -> Array:
    if not len(residual):
        return residual
    limit = OUTLIER * 1.4826 * float(np.median(np.abs(residual)))
    return np.clip(residual, -limit, limit)


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, start + TOGETHER) for start in range(0, length, TOGETHER))
