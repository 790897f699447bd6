"""What latency models of other machines say before anything is measured: typical coefficients, by runtime and precision.

They are those of the explorations under results/reference, without their smooth correction. Machines differ in speed, so only
the proportions count: whoever uses them scales them to what was measured. `python -m tests.bench.priors` writes the file.
"""

import csv
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from math import exp, log
from statistics import mean

from mnsweep.cell import Deployment
from mnsweep.prediction.features import TERMS

FILE = "priors.csv"
_FALLBACK = ("onnxruntime", "fp32")


def typical_ns(deployment: Deployment) -> tuple[float, ...]:
    """Nanoseconds per unit of each of `TERMS`: the geometric mean over machines, 0 where most have none.

    A runtime or precision without an exploration has the coefficients of onnxruntime at fp32.
    """
    known = _by_deployment()
    return known.get((deployment.runtime, deployment.precision)) or known[_FALLBACK]


@lru_cache
def _by_deployment() -> dict[tuple[str, str], tuple[float, ...]]:
    with (files(__package__) / FILE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = dict.fromkeys((row["runtime"], row["precision"]) for row in rows)
    return {
        key: tuple(
            _typical([float(r["ns"]) for r in rows if (r["runtime"], r["precision"], r["term"]) == (*key, term)])
            for term in TERMS
        )
        for key in keys
    }


def _typical(values: Sequence[float]) -> float:
    positive = [value for value in values if value > 0]
    return exp(mean(map(log, positive))) if 2 * len(positive) > len(values) else 0.0
