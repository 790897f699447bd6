"""What the latency models of another machine's sweep say: kept in `sweep.toml`, untrusted when it is read. Needs no numpy."""

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from mnsweep.cell import Deployment
from mnsweep.prediction.terms import OF_ALL, TERMS

LEAST_NS, MOST_NS = 1e-12, 1e12  # per unit of a term that costs anything; no machine is near either end
MOST_DEVIATIONS = 1e6
SCORES = 19  # the fewest errors whose 95 % quantile has a finite-sample rank, ⌈0.95 (19 + 1)⌉, among them
FEWEST_LIKE = 5  # measured cells here: fewer tell little more than the speed of the machine
FEWEST_THERE = SCORES - FEWEST_LIKE
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class LikeModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One deployment's model there: `ns` per unit of each term, and `scores`, one for each cell that it was fitted to.

    A score is the absolute leave-one-out error of a cell, in standard deviations (`uncertainty.py`).
    """

    deployment: Deployment
    ns: dict[str, float]
    scores: Annotated[tuple[float, ...], Meta(min_length=FEWEST_THERE)]

    def __post_init__(self) -> None:
        if {*self.ns} != {*TERMS}:
            raise ValueError("ns is not of the terms of this version")
        if not all(ns == 0 or LEAST_NS <= ns <= MOST_NS for ns in self.ns.values()):
            raise ValueError(f"ns is neither 0 nor from {LEAST_NS:g} to {MOST_NS:g}")
        if not any(self.ns[term] for term in (*OF_ALL, "constant")):
            raise ValueError("ns lets nothing cost time")
        if not all(math.isfinite(score) and 0 <= score <= MOST_DEVIATIONS for score in self.scores):
            raise ValueError(f"a score is not from 0 to {MOST_DEVIATIONS:g}")


class Like(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The models of `sweep` on `machine` (a key), for the deployments that were asked for here."""

    machine: _Name
    sweep: _Name
    models: tuple[LikeModel, ...]

    def __post_init__(self) -> None:
        if len({model.deployment for model in self.models}) < len(self.models):
            raise ValueError("two models for one deployment")

    def model(self, deployment: Deployment) -> LikeModel | None:
        """The model of a deployment; None if there is none."""
        return next((model for model in self.models if model.deployment == deployment), None)
