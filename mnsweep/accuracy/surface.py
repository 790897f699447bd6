"""Accuracy prediction: a surface over α and resolution, fitted to the anchors of one source at one precision.

Anchors are the published accuracies. logit(quality) is quadratic in log α and log ρ (ρ = resolution / 224); the mixed term
is dropped where the anchors do not determine it. Residuals are weighted by the slope of the logistic, so that the fit
minimizes the error in points, not in logits. The standard deviation of a prediction covers the uncertainty of the fit and
the scatter of the anchors around it, estimated from their leave-one-out errors: it applies to a new published number.
Published cells keep their published value; the surface need not pass through it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mnsweep.accuracy.published import Quality, RunAccuracies, Source, anchors, is_plain, published
from mnsweep.cell import Cell
from mnsweep.names import PRECISIONS

Array = NDArray[np.float64]
TERMS = ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 5))  # columns of `_rows`: all, or without the mixed term
WIDER_OUTSIDE = 3.0  # times the standard deviation: outside the range of its anchors, a quadratic is a guess
EXTRAPOLATED = "extrapolated"
NEAREST = 0.02  # points from 0 and 100 %: what all pictures of a small set were right about has no logit


@dataclass(frozen=True, slots=True)
class Surface:
    """A fit to the anchors of one source at one precision; qualities in %, errors and standard deviations in points.

    With n anchors and t terms: `coefficients` is (t,), in logits; `covariance` is (t, t). `left_out` (n,) holds the
    leave-one-out errors of the anchors (predicted minus published), `scatter` their root mean square. `alphas` and
    `resolutions` (pixels) are the lowest and the highest value of the anchors.
    """

    metric: str
    terms: tuple[int, ...]
    coefficients: Array
    covariance: Array  # of the coefficients, for a scatter of one point
    scatter: float
    alphas: tuple[float, float]
    resolutions: tuple[int, int]
    left_out: Array

    @property
    def loo_mean(self) -> float:
        """Mean absolute leave-one-out error, in points."""
        return float(np.abs(self.left_out).mean())

    @property
    def loo_worst(self) -> float:
        """Largest absolute leave-one-out error, in points."""
        return float(np.abs(self.left_out).max())

    def covers(self, alpha: float, resolution: int) -> bool:
        """Whether a design lies within the range of the anchors."""
        return self.alphas[0] <= alpha <= self.alphas[1] and self.resolutions[0] <= resolution <= self.resolutions[1]

    def predict(self, alpha: float, resolution: int) -> tuple[float, float]:
        """Quality in % and its standard deviation in points, three times as large outside the range of the anchors."""
        row = _rows([alpha], [resolution])[0, list(self.terms)]
        quality = _percent(row @ self.coefficients)
        slope = _slope(quality)
        deviation = float(self.scatter * np.sqrt(1 + slope**2 * (row @ self.covariance @ row)))
        return float(quality), deviation * (1.0 if self.covers(alpha, resolution) else WIDER_OUTSIDE)


@cache
def surface(source: Source, precision: str) -> Surface | None:
    """The surface of a source at a precision; None with too few anchors for a fit and its leave-one-out errors."""
    qualities = anchors(source, precision)
    alphas, resolutions = [alpha for alpha, _ in qualities], [resolution for _, resolution in qualities]
    terms = next((terms for terms in TERMS if _determined(_rows(alphas, resolutions)[:, list(terms)])), None)
    if terms is None:
        return None
    printed: Array = np.array([q.quality_pct for q in qualities.values()], dtype=np.float64)
    quality = np.clip(printed, NEAREST, 100 - NEAREST)
    rows, slope = _rows(alphas, resolutions)[:, list(terms)], _slope(quality)
    weighted = rows * slope[:, None]  # a residual in logits × slope is one in points
    inverse: Array = np.asarray(np.linalg.inv(weighted.T @ weighted), dtype=np.float64)
    coefficients = inverse @ weighted.T @ (slope * _logit(quality))
    left_out = np.array([_left_out(rows, slope, quality, i) for i in range(len(quality))])
    return Surface(
        metric=next(iter(qualities.values())).metric,
        terms=terms,
        coefficients=coefficients,
        covariance=inverse,
        scatter=float(np.sqrt(np.mean(left_out**2))),
        alphas=(min(alphas), max(alphas)),
        resolutions=(min(resolutions), max(resolutions)),
        left_out=left_out,
    )


def surface_for(cell: Cell, source: Source) -> Surface | None:
    """The surface that predicts the accuracy of a cell at its precision; bf16 uses the surface of fp32."""
    return surface(source, PRECISIONS[cell.deployment.precision].quality_of)


def quality_of(cell: Cell, source: Source, extrapolate: bool = False) -> tuple[Quality, float | None] | None:
    """The published quality of a cell with None, or the predicted quality with its standard deviation in points.

    Returns None where neither is available. Outside the range of the source, a prediction requires `extrapolate`.
    """
    if known := published(cell, source):
        return known, None
    fit = surface_for(cell, source)
    alpha, resolution = cell.design.alpha, cell.design.resolution
    if fit is None or not is_plain(cell, source) or not (extrapolate or fit.covers(alpha, resolution)):
        return None
    quality, deviation = fit.predict(alpha, resolution)
    name = source.name if isinstance(source, RunAccuracies) else source
    words = name if fit.covers(alpha, resolution) else f"{name}, {EXTRAPOLATED}"
    predicted = Quality(
        metric=fit.metric,
        quality_pct=quality,
        top5_pct=None,
        source=words,
        reference="",
        precision=cell.deployment.precision,
        predicted=True,
    )
    return predicted, deviation


def _determined(rows: Array) -> bool:
    """Whether each anchor can be left out and predicted from the others."""
    wanted = rows.shape[1]
    return len(rows) > wanted and all(np.linalg.matrix_rank(np.delete(rows, i, axis=0)) == wanted for i in range(len(rows)))


def _left_out(rows: Array, slope: Array, quality: Array, i: int) -> float:
    kept = np.arange(len(quality)) != i
    weighted, target = rows[kept] * slope[kept, None], (slope * _logit(quality))[kept]
    return float(_percent(rows[i] @ np.linalg.lstsq(weighted, target)[0]) - quality[i])


def _rows(alphas: list[float], resolutions: list[int]) -> Array:
    a, r = np.log(alphas), np.log(np.array(resolutions) / 224)
    return np.stack([np.ones(len(a)), a, r, a * a, a * r, r * r], axis=1)


def _logit(percent: Array) -> Array:
    return np.log(percent / (100 - percent))


def _percent(logit: Array) -> Array:
    return 100 / (1 + np.exp(-logit))


def _slope(percent: Array) -> Array:
    """Slope of the logistic, in points per logit."""
    return percent * (100 - percent) / 100
