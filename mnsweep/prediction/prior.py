"""What other machines say of the cost of each term, before anything is measured on this one.

`data/priors.csv` holds the coefficients that were fitted to the committed reference runs; `python -m tests.bench.prior`
writes it. They are a Gaussian prior for the fit to this machine: scaled to its speed by one factor, and wide, because
machines differ in kind. What a term contributes to the latency, as a share of it, may differ by as much again and by
`FLOOR`: twice the rms difference between the two committed machines (0.10), of which one has AVX-512 and one does not.
A Gaussian prior is a row of least squares for each term (Tikhonov 1963; Hoerl and Kennard 1970).

One sweep of another machine, named by the user (`like`), is a narrower prior, because it has the same deployment: `LIKE_SPREAD`
and `LIKE_FLOOR`. Of the pairs that `python -m tests.bench.transfer widths` tries, they give what was measured on the machine
left out the largest likelihood, for five cells of it and the other machine's model; both ways round, over the eight deployments
that the committed runs of two machines share, and the fine grid of one. A spread of 0.5 is about as likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnsweep.cell import Deployment
from mnsweep.prediction.like import Like
from mnsweep.prediction.prior_table import CURRENT, table
from mnsweep.prediction.terms import TERMS

Array = NDArray[np.float64]
FLOOR = 0.2  # share of the latency by which any term may differ
SPREAD = 1.0  # and by this multiple of its own share
LIKE_FLOOR, LIKE_SPREAD = 0.1, 0.25
NOISE = 0.03  # relative error of one measurement about the model: noise, and what the terms miss


@dataclass(frozen=True, eq=False, slots=True)
class Prior:
    """Coefficients of other machines: `ns` (machines, terms), in ns per unit of each of `TERMS`.

    Terms may differ by `floor` and by `spread` times their share. `scores` are leave-one-out errors there, in standard
    deviations; there are none of the package's prior.
    """

    ns: Array
    floor: float = FLOOR
    spread: float = SPREAD
    scores: tuple[float, ...] = ()

    def scaled(self, per_ns: Array) -> Array:
        """(terms,): the mean coefficients, each machine's brought to the speed of this one.

        `per_ns` (cells, terms) is the work of measured cells over their latency in ns.
        """
        predicted = per_ns @ self.ns.T
        speeds = predicted.sum(axis=0) / (predicted**2).sum(axis=0)  # least squares on the relative error
        mean: Array = (speeds[:, None] * self.ns).mean(axis=0)
        return mean

    def typical(self, amounts: Array) -> Array:
        """(terms,): the mean coefficients of machines that need 1 ns for a cell of `amounts` (cells, terms), on average."""
        speeds = np.exp(np.log(amounts @ self.ns.T).mean(axis=0))
        mean: Array = (self.ns / speeds[:, None]).mean(axis=0)
        return mean

    def rows(self, per_ns: Array) -> tuple[Array, Array]:
        """Rows (terms, terms) and targets (terms,) to put below those of the measured cells `per_ns` (cells, terms)."""
        ns, unit = self.scaled(per_ns), per_ns.mean(axis=0)
        weight = NOISE / self.widths(ns * unit)
        return np.diag(weight * unit), weight * ns * unit

    def widths(self, share: Array) -> Array:
        """Standard deviations of the terms' shares of the latency, given their expected shares."""
        width: Array = self.spread * share + self.floor
        return width


def prior_like(ns: Sequence[float], scores: Sequence[float] = ()) -> Prior:
    """The prior that the model of one deployment on one machine is: its `ns` per unit of each of `TERMS`, and its scores."""
    return Prior(np.array([ns]), LIKE_FLOOR, LIKE_SPREAD, tuple(scores))


def prior_of(deployment: Deployment, name: str, like: Like | None) -> Prior | None:
    """What a fit starts from: the model of the deployment in `like`, or else what the prior `name` has for it."""
    if like and (model := like.model(deployment)):
        return prior_like([model.ns[term] for term in TERMS], model.scores)
    return prior_for(name, deployment)


def prior_for(name: str, deployment: Deployment) -> Prior | None:
    """What the prior `name` has for a deployment: machines with its precision and runtime; None if there are none."""
    wanted = (name, deployment.precision, deployment.runtime)
    return _mean_by_machine([row for row in table() if (row["prior"], row["precision"], row["runtime"]) == wanted])


def any_prior(deployment: Deployment) -> Prior:
    """The prior for a deployment, or else all machines and deployments: to choose what to measure, not to fit."""
    prior = prior_for(CURRENT, deployment) or _mean_by_machine(table())
    assert prior is not None  # noqa: S101 - the table is part of the package
    return prior


def _mean_by_machine(rows: Sequence[dict[str, str]]) -> Prior | None:
    """One row of coefficients for each machine: the mean of its runs."""
    machines = dict.fromkeys(row["machine"] for row in rows)
    ns = [np.mean([_ns(row) for row in rows if row["machine"] == machine], axis=0) for machine in machines]
    return Prior(np.array(ns)) if ns else None


def _ns(row: dict[str, str]) -> list[float]:
    return [float(row[term]) for term in TERMS]
