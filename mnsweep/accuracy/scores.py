"""Scores of a network on labelled pictures, with the intervals that their number allows. Statistics are scipy's."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

CONFIDENCE = 0.95
TOP = 5
Probabilities = NDArray[np.float32]  # (pictures, classes)
Labels = NDArray[np.int64]  # (pictures,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares of pictures in %, with the ends of the Wilson interval of the first; `top5_pct` is None for 5 classes or fewer."""

    images: int
    top1_pct: float
    top1_ci_low_pct: float
    top1_ci_high_pct: float
    top5_pct: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two networks differ on the same pictures.

    `agreement_pct` is the share of pictures with the same first answer, `max_probability_difference` the largest of any class
    and picture. `mcnemar_p` is the exact two-sided p-value of McNemar's test that both are right equally often; None without
    labels.
    """

    agreement_pct: float
    max_probability_difference: float
    mcnemar_p: float | None


def top_classes(probabilities: Probabilities, count: int = TOP) -> NDArray[np.int64]:
    """The classes with the largest probabilities, the largest first: (pictures, count); of equal ones the first class."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :count]


def score(probabilities: Probabilities, labels: Labels) -> Score:
    """Top-1 and top-5 of at least one picture."""
    best = top_classes(probabilities)
    right = int((best[:, 0] == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(CONFIDENCE, method="wilson")
    among = float((best == labels[:, None]).any(axis=1).mean()) if probabilities.shape[1] > TOP else None
    return Score(
        images=len(labels),
        top1_pct=100 * right / len(labels),
        top1_ci_low_pct=100 * float(interval.low),
        top1_ci_high_pct=100 * float(interval.high),
        top5_pct=None if among is None else 100 * among,
    )


def compare(probabilities: Probabilities, others: Probabilities, labels: Labels | None) -> Comparison:
    """Compare the probabilities (pictures, classes) of two networks with the same classes on the same pictures."""
    first, second = probabilities.argmax(axis=1), others.argmax(axis=1)
    p_value = None
    if labels is not None:
        only_first = int(((first == labels) & (second != labels)).sum())
        only_second = int(((first != labels) & (second == labels)).sum())
        p_value = binomtest(only_first, only_first + only_second).pvalue if only_first + only_second else 1.0
    return Comparison(
        agreement_pct=100 * float((first == second).mean()),
        max_probability_difference=float(np.abs(probabilities - others).max()),
        mcnemar_p=None if p_value is None else float(p_value),
    )


def by_class(probabilities: Probabilities, labels: Labels) -> dict[int, tuple[int, int]]:
    """By class that occurs: how many pictures it has, and how many of them were recognized."""
    answers = top_classes(probabilities, 1)[:, 0]
    return {int(c): (int((labels == c).sum()), int(((labels == c) & (answers == c)).sum())) for c in np.unique(labels)}


def confusions(probabilities: Probabilities, labels: Labels, shown: int) -> Sequence[tuple[tuple[int, int], int]]:
    """The most frequent mistakes: ((class, answer), number of pictures), the most frequent first."""
    answers = top_classes(probabilities, 1)[:, 0]
    wrong = Counter((int(c), int(a)) for c, a in zip(labels, answers, strict=True) if c != a)
    return wrong.most_common(shown)
