"""Latency predicted from work: a few terms with units, fitted to about a dozen measurements of one deployment.

A cell's latency is a sum of non-negative terms (`features.py`). They are fitted by non-negative least squares on the relative
error (NNLS, Lawson and Hanson 1974), with a wide prior from other machines (`prior.py`) unless the measurements contradict it.
A smooth correction, quadratic in log α and log resolution with a ridge penalty, is added if it lowers the leave-one-out error.
Intervals are conformal (jackknife+, Barber et al. 2021, arXiv 1905.02928): they assume nothing about the errors except that new
cells are like the measured ones. With the model of another machine as the prior, a handful of measurements is enough, for which
jackknife+ has no 95 % interval: `uncertainty.py` has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell
from mnsweep.errors import MnsweepError
from mnsweep.prediction.features import work
from mnsweep.prediction.like import FEWEST_LIKE
from mnsweep.prediction.prior import Prior
from mnsweep.prediction.terms import TERMS, UNITS
from mnsweep.prediction.uncertainty import deviations, factor_of, reach

Array = NDArray[np.float64]
FEWEST = 8  # measured cells; with fewer, the error of the fit is unknown
CONFIDENCE = 0.95
SHRINKAGES = (None, 1.0, 0.1, 0.01)  # ridge penalties; None is no correction, and comes first to win ties
CONTRADICTED = 1.25  # times the leave-one-out error without the prior: below, the difference is chance for so few cells
NO_PRIOR, USED, DROPPED = "none", "used", "dropped"
SHAPE_TERMS = 6  # in the correction: 1, log α, log ρ, and their products
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Errors:
    """Absolute relative errors of predictions, in percent of the measured latency."""

    mean_pct: float
    p95_pct: float
    worst_pct: float

    @classmethod
    def of(cls, errors: Array) -> "Errors":
        """Summarize signed relative errors (n,), n ≥ 1, given as fractions, not percent."""
        pct = 100 * np.abs(errors)
        return cls(float(pct.mean()), float(np.percentile(pct, 95)), float(pct.max()))


@dataclass(frozen=True, slots=True)
class Terms:
    """One fit: ns per unit of each of `TERMS`, and the six coefficients of the log-scale correction (all 0 for none)."""

    ns: tuple[float, ...]
    correction: tuple[float, ...]

    def log_ms(self, amounts: Array, shape: Array) -> Array:
        """Log of milliseconds (cells,), from `amounts` of work (cells, terms) and correction terms `shape` (cells, 6)."""
        ms: Array = np.log(amounts @ np.array(self.ns) / NS_PER_MS) + shape @ np.array(self.correction)
        return ms


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What makes an interval of a few cells: a `factor` of the covariance, (terms + 6, terms + 6), and its `reach`."""

    factor: tuple[tuple[float, ...], ...]
    reach: float

    def half_widths(self, per_ns: Array, shape: Array) -> Array:
        """(cells,): of the intervals, in log milliseconds."""
        return self.reach * deviations(np.array(self.factor), per_ns, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """The `fit` to all measured `cells` (ids), and for each cell the leave-one-out fit `without` it.

    `left_out_ms` is the leave-one-out prediction for each cell, and `missed` is log(measured / predicted). `prior` says whether
    a prior from other machines was `used`, `dropped` because the measurements contradict it, or there was `none`. A model with
    an `uncertainty` has its intervals from it, others those of jackknife+.
    """

    cells: tuple[str, ...]
    left_out_ms: tuple[float, ...]
    missed: tuple[float, ...]
    fit: Terms
    without: tuple[Terms, ...]
    prior: str = NO_PRIOR
    uncertainty: Uncertainty | None = None

    @property
    def errors(self) -> Errors:
        """Leave-one-out errors: each measured cell is predicted from the others."""
        return Errors.of(np.expm1(-np.array(self.missed)))

    @property
    def coefficients(self) -> dict[str, str]:
        """The cost of each term with its unit, e.g. `0.02 ns per mult-add`; terms with a coefficient of 0 are left out."""
        return {name: f"{ns:.4g} {UNITS[name]}" for name, ns in zip(TERMS, self.fit.ns, strict=True) if ns > 0}

    def predict(self, cells: Sequence[Cell], channels: Sequence[Channels]) -> tuple[Array, Array, Array]:
        """(middle, low, high), each (cells,): predicted milliseconds per batch, and the ends of the 95 % interval."""
        amounts, bends = work(cells, channels), shape(cells)
        middle = self.fit.log_ms(amounts, bends)
        if self.uncertainty:
            half = self.uncertainty.half_widths(_per_ns(amounts, middle), bends)
            return np.exp(middle), np.exp(middle - half), np.exp(middle + half)
        others = np.array([terms.log_ms(amounts, bends) for terms in self.without])
        missed = np.abs(np.array(self.missed))[:, None]
        n = len(missed)
        rank = min(n, ceil(CONFIDENCE * (n + 1))) - 1
        low = np.partition(others - missed, n - 1 - rank, axis=0)[n - 1 - rank]
        high = np.partition(others + missed, rank, axis=0)[rank]
        return np.exp(middle), np.exp(np.minimum(low, middle)), np.exp(np.maximum(high, middle))


def fewest(prior: Prior | None) -> int:
    """The fewest measured cells that a model can be fitted to: fewer with a prior whose errors are known."""
    return FEWEST_LIKE if prior is not None and prior.scores else FEWEST


def fit_latency(
    cells: Sequence[Cell], channels: Sequence[Channels], latency_ms: Sequence[float], prior: Prior | None = None
) -> LatencyModel:
    """Fit the model of one deployment to its measured cells.

    `channels` and `latency_ms` (milliseconds per batch) are in the order of `cells`. The `prior` from other machines is dropped
    if the leave-one-out error with it is more than `CONTRADICTED` times that without. Raises `MnsweepError` if there are fewer
    than `fewest` cells; of fewer than `FEWEST`, nothing could contradict the prior.
    """
    if len(cells) < (least := fewest(prior)):
        raise MnsweepError(
            f"{len(cells)} measured cells are too few to predict others from", f"measure at least {least} (`measure`)"
        )
    ids, samples = tuple(cell.id for cell in cells), _samples(cells, channels, latency_ms)
    if prior is None:
        return _best(ids, samples, None)
    informed = _informed(_best(ids, samples, prior), samples, prior)
    if len(cells) < FEWEST:
        return informed
    alone = _best(ids, samples, None)
    contradicted = informed.errors.mean_pct > CONTRADICTED * alone.errors.mean_pct
    return replace(alone, prior=DROPPED) if contradicted else informed


def scores(
    model: LatencyModel, cells: Sequence[Cell], channels: Sequence[Channels], latency_ms: Sequence[float], prior: Prior
) -> tuple[float, ...]:
    """The absolute leave-one-out errors of a model in standard deviations, for the cells that it was fitted to, in order."""
    return _scores(model, _samples(cells, channels, latency_ms), prior)


def shape(cells: Sequence[Cell]) -> Array:
    """(cells, 6): the terms of the smooth correction."""
    a = np.log([cell.design.alpha for cell in cells])
    r = np.log([cell.design.rho for cell in cells])
    return np.stack([np.ones(len(cells)), a, r, a * a, a * r, r * r], axis=1)


@dataclass(frozen=True, slots=True)
class _Samples:
    """Data that a model is fitted to: `amounts` (cells, terms), `shape` (cells, 6), and `log_ms` (cells,)."""

    amounts: Array
    shape: Array
    log_ms: Array

    @property
    def per_ns(self) -> Array:
        """(cells, terms): the work over the latency in ns."""
        return _per_ns(self.amounts, self.log_ms)

    def without(self, index: int) -> "_Samples":
        kept = np.arange(len(self.log_ms)) != index
        return _Samples(self.amounts[kept], self.shape[kept], self.log_ms[kept])


def _samples(cells: Sequence[Cell], channels: Sequence[Channels], latency_ms: Sequence[float]) -> _Samples:
    return _Samples(work(cells, channels), shape(cells), np.log(latency_ms))


def _per_ns(amounts: Array, log_ms: Array) -> Array:
    per_ns: Array = amounts / (np.exp(log_ms) * NS_PER_MS)[:, None]
    return per_ns


def _informed(model: LatencyModel, samples: _Samples, prior: Prior) -> LatencyModel:
    """A model fitted with the prior, with what its intervals need if the prior's errors are known."""
    if not prior.scores:
        return replace(model, prior=USED)
    factor = factor_of(samples.per_ns, samples.shape, prior)
    furthest = reach(_scores(model, samples, prior), prior.scores, CONFIDENCE)
    return replace(model, prior=USED, uncertainty=Uncertainty(tuple(map(tuple, factor.tolist())), furthest))


def _scores(model: LatencyModel, samples: _Samples, prior: Prior) -> tuple[float, ...]:
    per_ns = _per_ns(samples.amounts, np.log(model.left_out_ms))
    others = [samples.without(i) for i in range(len(model.cells))]
    factors = [factor_of(each.per_ns, each.shape, prior) for each in others]
    deviation = [deviations(f, per_ns[[i]], samples.shape[[i]])[0] for i, f in enumerate(factors)]
    return tuple((np.abs(model.missed) / deviation).tolist())


def _best(ids: tuple[str, ...], samples: _Samples, prior: Prior | None) -> LatencyModel:
    """The model whose correction has the lowest leave-one-out error."""
    models = [_leave_one_out(ids, samples, shrinkage, prior) for shrinkage in SHRINKAGES]
    return min(models, key=lambda model: model.errors.mean_pct)


def _leave_one_out(ids: tuple[str, ...], samples: _Samples, shrinkage: float | None, prior: Prior | None) -> LatencyModel:
    without = [_fit(samples.without(i), shrinkage, prior) for i in range(len(ids))]
    predicted = np.array([terms.log_ms(samples.amounts[i], samples.shape[i]) for i, terms in enumerate(without)])
    return LatencyModel(
        cells=ids,
        left_out_ms=tuple(np.exp(predicted).tolist()),
        missed=tuple((samples.log_ms - predicted).tolist()),
        fit=_fit(samples, shrinkage, prior),
        without=tuple(without),
    )


def _fit(samples: _Samples, shrinkage: float | None, prior: Prior | None) -> Terms:
    amounts, shape = samples.amounts, samples.shape
    coefficients = _costs(samples.per_ns, prior)
    if shrinkage is None:
        return Terms(tuple(coefficients), (0.0,) * SHAPE_TERMS)
    left = samples.log_ms - np.log(amounts @ coefficients / NS_PER_MS)
    correction = np.linalg.solve(shape.T @ shape + shrinkage * np.eye(SHAPE_TERMS), shape.T @ left)
    return Terms(tuple(coefficients), tuple(correction))


def _costs(per_ns: Array, prior: Prior | None) -> Array:
    """(terms,): ns per unit of each term, by non-negative least squares on the relative error."""
    from scipy.optimize import nnls  # takes a third of a second to load

    rows, targets = per_ns, np.ones(len(per_ns))
    if prior is not None:
        more, expected = prior.rows(per_ns)
        rows, targets = np.vstack([rows, more]), np.concatenate([targets, expected])
    scale = np.maximum(rows.max(axis=0), np.finfo(float).tiny)  # terms differ by nine orders of magnitude
    coefficients: Array = nnls(rows / scale, targets)[0] / scale
    return coefficients
