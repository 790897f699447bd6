"""How uncertain each prediction is that a few measurements and a model of another machine give, and how far to believe that.

Beforehand, the coefficients of terms and of the correction are Gaussian (`prior.py`). What is measured leaves a covariance
(Bayesian linear regression; Rasmussen and Williams 2006, section 2.1), and with it each prediction has a standard deviation.
An interval is a multiple of it on both sides. The multiple is conformal, for errors in standard deviations (locally weighted,
Lei et al. 2018, section 5.2). Five errors have no 95 % quantile, so those of the other machine's own left-out cells are pooled
with them, and the multiple is never below that of a normal distribution.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mnsweep.prediction.prior import NOISE, Prior

Array = NDArray[np.float64]
BEND = 0.05  # standard deviation of the correction's coefficients; in the reference run, none is larger
NORMAL = 1.96  # standard deviations on each side of 95 % of a normal distribution


def scales(ns: Array, unit: Array, prior: Prior, bends: int) -> Array:
    """(terms + bends,): how far each coefficient may differ beforehand, as a standard deviation.

    `ns` are the expected costs, and `unit` is the work per ns of a typical cell. A term without work there may not differ.
    """
    of_terms = np.divide(prior.widths(ns * unit), unit, out=np.zeros_like(unit), where=unit > 0)
    return np.concatenate([of_terms, np.full(bends, BEND)])


def factor_of(per_ns: Array, shape: Array, prior: Prior) -> Array:
    """A square root of the covariance that measured cells leave, (terms + 6, terms + 6), over the noise of a measurement.

    `per_ns` (cells, terms) is their work over their latency in ns; `shape` (cells, 6) are the terms of the correction.
    """
    scale = scales(prior.scaled(per_ns), per_ns.mean(axis=0), prior, shape.shape[1])
    rows = np.hstack([per_ns, shape]) * scale / NOISE
    covariance = np.linalg.inv(np.eye(len(scale)) + rows.T @ rows)
    factor: Array = np.linalg.cholesky(covariance).T * scale / NOISE
    return factor


def deviations(factor: Array, per_ns: Array, shape: Array) -> Array:
    """(cells,): standard deviations of log latencies: of the prediction and of one measurement together."""
    deviation: Array = NOISE * np.sqrt(1 + ((np.hstack([per_ns, shape]) @ factor.T) ** 2).sum(axis=1))
    return deviation


def reach(here: Sequence[float], there: Sequence[float], confidence: float) -> float:
    """How many standard deviations an interval reaches on each side, from scores: errors in standard deviations."""
    scores = sorted([*here, *there])
    rank = min(len(scores), ceil(confidence * (len(scores) + 1)))
    return max(NORMAL, scores[rank - 1])
