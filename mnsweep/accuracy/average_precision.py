"""Average precision of answers that rank pictures: the area under precision against recall, as a sum of steps."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]


def average_precision(truths: Numbers, scores: Numbers) -> float:
    """Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores, the highest first; nan where nothing is true.

    `truths` (n,) are 1, 0, or nan where unknown: those do not count. `scores` are (n,). Equal scores are one step, since no
    threshold separates them.
    """
    known = ~np.isnan(truths)
    truths, scores = truths[known], scores[known]
    total = truths.sum()
    if not total:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, ordered = truths[order], scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # the last picture of each distinct score
    found = np.cumsum(ranked)[ends]
    precision, recall = found / (ends + 1), found / total
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def mean_average_precision(truths: Numbers, scores: Numbers) -> tuple[float, Numbers]:
    """The mean over the columns of (pictures, attributes) that have a true one, and each column's own; nan without any."""
    each = np.array([average_precision(truths[:, i], scores[:, i]) for i in range(truths.shape[1])])
    known = each[~np.isnan(each)]
    return float(known.mean()) if len(known) else float("nan"), each
