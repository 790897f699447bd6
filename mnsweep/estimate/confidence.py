"""Confidence sequences: bounds that hold at every look together, so that one may look after each round and stop.

A 95 % interval is wrong once in twenty looks, not once in twenty sweeps. The bound of Robbins (1970) for sums with normal
increments, a mixture over all effects that the mean might have (Howard et al., Annals of Statistics 2021, section 3), holds for
all numbers of rounds at once, and costs about a quarter of the width. Noise that was estimated from few rounds
widens it further, as in Student's t.
"""

from math import log

import numpy as np

from mnsweep.estimate.fit import Estimate, freedom
from mnsweep.estimate.local_speed import Array

TUNED_FOR = 1.0  # rounds: the prior information of the mixture; the bound is narrowest at some twenty times as many


def standard_errors(error: float, rounds: Array, freedom: Array) -> Array:
    """How many standard errors a mean may be off, at any number of rounds, with probability `error`.

    `rounds` and `freedom` (the degrees of freedom of the noise, at least 1) have one shape, which is that of the result.
    """
    from scipy.special import ndtr, stdtrit  # takes a tenth of a second to load

    widths = np.sqrt((1 + TUNED_FOR / rounds) * (-2 * log(error) + np.log1p(rounds / TUNED_FOR)))
    few, which = np.unique(np.stack([widths.ravel(), freedom.ravel()]), axis=1, return_inverse=True)  # quantiles are slow
    return np.asarray(-stdtrit(few[1], ndtr(-few[0])))[which].reshape(rounds.shape)


def standard_error(estimate: Estimate) -> float:
    """The standard error of the log latency against the other cells; nan if there is no interval."""
    from scipy.special import stdtrit

    if estimate.relative_ci_pct is None:
        return float("nan")
    return float(np.log1p(estimate.relative_ci_pct / 100) / stdtrit(freedom(np.array(float(estimate.rounds))), 0.975))
