"""Latency predicted from work: a few terms with units, fitted to a score of measurements of one deployment.

A cell's latency is a sum of non-negative terms (`work.py`), by least squares on the relative error (Lawson and Hanson's
NNLS). A smooth correction, quadratic in log α and log resolution and shrunk, is added where it lowers the leave-one-out
error. Intervals are conformal (jackknife+, Barber et al. 2021, arXiv 1905.02928): they need no
assumption on the errors but that new cells are like the measured ones.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell, Deployment
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.prediction.features import TERMS, UNITS, work

Array = NDArray[np.float64]
SCHEMA_VERSION = 1
FEWEST = 8  # measured cells: fewer leave no room to tell how wrong the fit is
CONFIDENCE = 0.95
SHRINKAGES = (None, 1.0, 0.1, 0.01)  # of the correction, none first: it must earn its place
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of predictions, in percent of what was measured."""

    mean_pct: float
    p95_pct: float
    worst_pct: float

    @classmethod
    def of(cls, errors: Array) -> "Errors":
        """Of signed relative errors, at least one."""
        pct = 100 * np.abs(errors)
        return cls(float(pct.mean()), float(np.percentile(pct, 95)), float(pct.max()))


@dataclass(frozen=True, slots=True)
class _Terms:
    """One least-squares fit: ns for each term of work, and the smooth correction in logarithms (zeros: none)."""

    ns: tuple[float, ...]
    correction: tuple[float, ...]

    def log_ms(self, done: Array, shape: Array) -> Array:
        """Logarithm of the milliseconds that so much work takes."""
        ms: Array = np.log(done @ np.array(self.ns) / NS_PER_MS) + shape @ np.array(self.correction)
        return ms


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """A fit to all measured `cells` (ids), and `without` each of them; how much longer each took than the others say (log)."""

    cells: tuple[str, ...]
    left_out_ms: tuple[float, ...]  # each cell, predicted from the others
    missed: tuple[float, ...]
    fit: _Terms
    without: tuple[_Terms, ...]

    @property
    def errors(self) -> Errors:
        """How far off the model is on cells that it has not seen: each measured one predicted from the others."""
        return Errors.of(np.expm1(-np.array(self.missed)))

    @property
    def coefficients(self) -> dict[str, str]:
        """What each term costs, in words; terms that cost nothing are left out."""
        return {name: f"{ns:.4g} {UNITS[name]}" for name, ns in zip(TERMS, self.fit.ns, strict=True) if ns > 0}

    def predict(self, cells: Sequence[Cell], channels: Sequence[Channels]) -> tuple[Array, Array, Array]:
        """Milliseconds of each cell with the lower and upper end of its 95 % interval."""
        done, shape = work(cells, channels), _shape(cells)
        others = np.array([terms.log_ms(done, shape) for terms in self.without])
        missed = np.abs(np.array(self.missed))[:, None]
        n = len(missed)
        rank = min(n, ceil(CONFIDENCE * (n + 1))) - 1
        low = np.partition(others - missed, n - 1 - rank, axis=0)[n - 1 - rank]
        high = np.partition(others + missed, rank, axis=0)[rank]
        middle = self.fit.log_ms(done, shape)
        return np.exp(middle), np.exp(np.minimum(low, middle)), np.exp(np.maximum(high, middle))


def fit_latency(cells: Sequence[Cell], channels: Sequence[Channels], latency_ms: Sequence[float]) -> LatencyModel:
    """The model of one deployment from its measured cells. Raises `MnsweepError` when there are fewer than `FEWEST`."""
    if len(cells) < FEWEST:
        raise MnsweepError(f"{len(cells)} measured cells are too few to predict others from: at least {FEWEST} (--measure)")
    done, shape, log_ms = work(cells, channels), _shape(cells), np.log(latency_ms)
    ids = tuple(cell.id for cell in cells)
    models = [_leave_one_out(ids, done, shape, log_ms, shrinkage) for shrinkage in SHRINKAGES]
    return min(models, key=lambda model: model.errors.mean_pct)


def _leave_one_out(ids: tuple[str, ...], done: Array, shape: Array, log_ms: Array, shrinkage: float | None) -> LatencyModel:
    without = []
    for i in range(len(log_ms)):
        kept = np.arange(len(log_ms)) != i
        without.append(_fit(done[kept], shape[kept], log_ms[kept], shrinkage))
    predicted = np.array([terms.log_ms(done[i], shape[i]) for i, terms in enumerate(without)])
    fit = _fit(done, shape, log_ms, shrinkage)
    return LatencyModel(ids, tuple(np.exp(predicted).tolist()), tuple((log_ms - predicted).tolist()), fit, tuple(without))


def _fit(done: Array, shape: Array, log_ms: Array, shrinkage: float | None) -> _Terms:
    ns = np.exp(log_ms) * NS_PER_MS
    scale = np.maximum((done / ns[:, None]).max(axis=0), np.finfo(float).tiny)  # terms differ by nine orders of magnitude
    coefficients = nnls(done / ns[:, None] / scale, np.ones(len(ns)))[0] / scale
    if shrinkage is None:
        return _Terms(tuple(coefficients), (0.0,) * shape.shape[1])
    left = log_ms - np.log(done @ coefficients / NS_PER_MS)
    correction = np.linalg.solve(shape.T @ shape + shrinkage * np.eye(shape.shape[1]), shape.T @ left)
    return _Terms(tuple(coefficients), tuple(correction))


def _shape(cells: Sequence[Cell]) -> Array:
    """(cells, 6): what the smooth correction is made of."""
    a = np.log([cell.design.alpha for cell in cells])
    r = np.log([cell.design.rho for cell in cells])
    return np.stack([np.ones(len(cells)), a, r, a * a, a * r, r * r], axis=1)


def to_json(models: Mapping[Deployment, LatencyModel]) -> str:
    """Models by deployment, as one JSON document with what each term costs in words."""
    content = [{"deployment": asdict(how), "coefficients": m.coefficients, **asdict(m)} for how, m in models.items()]
    return json.dumps({"schema_version": SCHEMA_VERSION, "terms": UNITS, "models": content}, indent=1, allow_nan=False) + "\n"


def from_json(text: str, source: object) -> dict[Deployment, LatencyModel]:
    """The models that `to_json` wrote; raises `StoreError`, naming `source`, on any others."""
    try:
        content = json.loads(text)
        if content["schema_version"] != SCHEMA_VERSION or content["terms"] != UNITS:
            raise StoreError(f"{source}: is a model of another version of mnsweep; recreate it with 'mnsweep rebuild'")
        return {Deployment(**model["deployment"]): _model(model) for model in content["models"]}
    except StoreError:
        raise
    except (ValueError, KeyError, TypeError, MnsweepError):
        raise StoreError(f"{source}: is not a latency model; recreate it with 'mnsweep rebuild'") from None


def _model(content: Mapping[str, Any]) -> LatencyModel:
    fit, *without = (_Terms(tuple(t["ns"]), tuple(t["correction"])) for t in [content["fit"], *content["without"]])
    cells, left_out_ms, missed = (tuple(content[name]) for name in ("cells", "left_out_ms", "missed"))
    return LatencyModel(cells, left_out_ms, missed, fit, tuple(without))
