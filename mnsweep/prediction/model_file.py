"""`model.json`: latency models by deployment, saved with the cost of each term as text."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mnsweep.cell import Deployment
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.prediction.latency_model import (
    DROPPED,
    FEWEST,
    NO_PRIOR,
    SHAPE_TERMS,
    USED,
    LatencyModel,
    Terms,
    Uncertainty,
)
from mnsweep.prediction.like import FEWEST_LIKE
from mnsweep.prediction.terms import TERMS, UNITS

SCHEMA_VERSION = 1
_COEFFICIENTS = len(TERMS) + SHAPE_TERMS
_REBUILD = "recreate it with 'mnsweep rebuild'"


def to_json(models: Mapping[Deployment, LatencyModel]) -> str:
    """One JSON document, with the unit of each term and, for human readers, the coefficients as text.

    Numbers have nine digits: further digits differ between processors and are far below measurement noise.
    """
    content = _rounded(
        [
            {"deployment": asdict(deployment), "coefficients": model.coefficients, **_content(model)}
            for deployment, model in models.items()
        ]
    )
    return json.dumps({"schema_version": SCHEMA_VERSION, "terms": UNITS, "models": content}, indent=1, allow_nan=False) + "\n"


def from_json(text: str, source: object) -> dict[Deployment, LatencyModel]:
    """Read the models that `to_json` wrote. Raises `StoreError`, which names `source` and the fault, for anything else."""
    try:
        version = msgspec.json.decode(text, type=_Version)
        if version != _Version(schema_version=SCHEMA_VERSION, terms=UNITS):
            raise StoreError(f"{source}: is a model of another version of mnsweep", _REBUILD)
        saved = msgspec.json.decode(text, type=_Saved).models
        models = {model.deployment: _model(model) for model in saved}
        if len(models) < len(saved):
            raise MnsweepError("two models for one deployment")
    except StoreError:
        raise
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError, MnsweepError) as error:
        reason = str(error).replace("`", "")  # backticks are for names of settings
        raise StoreError(f"{source}: is not a latency model ({reason})", _REBUILD) from None
    return models


def _content(model: LatencyModel) -> dict[str, Any]:
    """All fields; `prior` and `uncertainty` only if there are any, so that earlier files are rebuilt byte for byte."""
    content = asdict(model)
    return {name: value for name, value in content.items() if (name, value) not in (("prior", NO_PRIOR), ("uncertainty", None))}


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.9g}")
        case dict():
            return {name: _rounded(part) for name, part in value.items()}
        case list() | tuple():
            return [_rounded(part) for part in value]
        case _:
            return value


class _Version(msgspec.Struct, kw_only=True):
    schema_version: int
    terms: dict[str, str]


class _Terms(msgspec.Struct):
    ns: Annotated[tuple[Annotated[float, Meta(ge=0)], ...], Meta(min_length=len(TERMS), max_length=len(TERMS))]
    correction: Annotated[tuple[float, ...], Meta(min_length=SHAPE_TERMS, max_length=SHAPE_TERMS)]


_Row = Annotated[tuple[float, ...], Meta(min_length=_COEFFICIENTS, max_length=_COEFFICIENTS)]


class _Uncertainty(msgspec.Struct):
    factor: Annotated[tuple[_Row, ...], Meta(min_length=_COEFFICIENTS, max_length=_COEFFICIENTS)]
    reach: Annotated[float, Meta(gt=0)]


class _Model(msgspec.Struct, kw_only=True):
    deployment: Deployment
    cells: Annotated[tuple[str, ...], Meta(min_length=FEWEST_LIKE)]
    left_out_ms: tuple[Annotated[float, Meta(gt=0)], ...]
    missed: tuple[float, ...]
    fit: _Terms
    without: tuple[_Terms, ...]
    prior: str = NO_PRIOR
    uncertainty: _Uncertainty | None = None


class _Saved(msgspec.Struct):
    models: list[_Model]


def _model(saved: _Model) -> LatencyModel:
    if saved.prior not in (words := (NO_PRIOR, USED, DROPPED)):
        raise MnsweepError(f"prior {saved.prior!r:.40} is not one of {', '.join(words)}")
    if len(saved.cells) < FEWEST and saved.uncertainty is None:
        raise MnsweepError(f"{len(saved.cells)} cells and no uncertainty")
    for name in ("left_out_ms", "missed", "without"):
        if (count := len(getattr(saved, name))) != len(saved.cells):
            raise MnsweepError(f"{name} has {count} entries for {len(saved.cells)} cells")
    return LatencyModel(
        cells=saved.cells,
        left_out_ms=saved.left_out_ms,
        missed=saved.missed,
        fit=_terms(saved.fit),
        without=tuple(map(_terms, saved.without)),
        prior=saved.prior,
        uncertainty=Uncertainty(saved.uncertainty.factor, saved.uncertainty.reach) if saved.uncertainty else None,
    )


def _terms(saved: _Terms) -> Terms:
    if not any(saved.ns):
        raise MnsweepError("a fit in which nothing costs time")
    return Terms(saved.ns, saved.correction)
