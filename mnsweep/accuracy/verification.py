"""Verification: are two pictures of the same person? By the distance of their embeddings, at a rate of false accepts.

Source: Schroff et al. 2015 (FaceNet, arXiv 1503.03832), section 4.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
Pairs = NDArray[np.int64]  # (pairs, 2) of places
RATES = (1e-1, 1e-2, 1e-3, 1e-4)  # of false accepts
QUALITY_RATE = 1e-2  # the one whose true accepts are the quality


def pairs_of(identities: NDArray[np.int64]) -> tuple[Pairs, NDArray[np.bool_]]:
    """All pairs of pictures, and whether both are of one identity."""
    first, second = np.triu_indices(len(identities), 1)
    return np.stack([first, second], 1), identities[first] == identities[second]


def squared_distances(embeddings: Numbers, pairs: Pairs) -> Numbers:
    """(pairs,) squared Euclidean distances of embeddings (pictures, dimensions)."""
    products = embeddings.astype(np.float64) @ embeddings.T.astype(np.float64)
    own = np.diag(products)
    first, second = pairs.T
    found: Numbers = np.maximum(own[first] + own[second] - 2 * products[first, second], 0.0)
    return found


def threshold_at(different: Numbers, rate: float) -> float:
    """The distance below which pairs are accepted, so that at most this share of the `different` pairs is accepted.

    Infinite where even all of them may be.
    """
    allowed = int(np.floor(rate * len(different) + 1e-9))
    if allowed >= len(different):
        return float("inf")
    return float(np.partition(different, allowed)[allowed])


def true_accepts(same: Numbers, different: Numbers, rates: Sequence[float] = RATES) -> list[float]:
    """The share of `same` pairs that is accepted, at each rate of false accepts."""
    return [float((same < threshold_at(different, rate)).mean()) for rate in rates]
