"""How well 5 measurements and another machine's models predict the other cells, without timing anything.

    python -m tests.bench.transfer [errors] [widths]

The committed runs of two machines, both ways round, in every deployment that both have. Five cells are measured, chosen as
`explore` does with `like`, or at random; all others are predicted. Beside it what 20 measurements predict without any prior,
chosen as `explore` does or at random, or where only 16 cells were measured, 15: each is predicted from all others. `widths`
shows where the width of the prior comes from: the log likelihood of the cells not measured, a cell, for each pair that was
tried. Two minutes.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mnsweep.cell import Deployment
from mnsweep.choice.search import about_all
from mnsweep.prediction.deployments import like_models
from mnsweep.prediction.features import work
from mnsweep.prediction.information import information_rows
from mnsweep.prediction.latency_model import NS_PER_MS, LatencyModel, Uncertainty, shape
from mnsweep.prediction.like import FEWEST_LIKE, Like, LikeModel
from mnsweep.prediction.prior import LIKE_FLOOR, LIKE_SPREAD, Prior, prior_of
from mnsweep.prediction.uncertainty import deviations
from tests.bench.explore_offline import Machine, known_of, telling
from tests.bench.figure import Figures

Array = NDArray[np.float64]
AVX2, AVX512 = "deploy/amd-epyc-2c-156cc3b9", "deploy/amd-epyc-2c-e7fd23df"
FINE, FINE_DEPLOYMENT = "explore/amd-epyc-2c-e7fd23df", Deployment(pad="auto")
DRAWS = 40  # random choices of what is measured
WITHOUT_PRIOR = 20  # cells measured without a prior, where there are more
WIDTHS = tuple(product((0.025, 0.05, 0.1, 0.2, 0.4), (0.25, 0.5, 1.0)))  # floor, spread
MOST_ERROR = 1.5  # times: a quarter to a third of the measurements
LEAST_INSIDE = 93.0  # %: a few hundred cells, of which those of one machine err together


@dataclass(frozen=True, eq=False)
class Pair:
    """One deployment on a machine `there` that is known, and `here`, where little is measured."""

    name: str
    machine: Machine
    prior: Prior

    def chosen(self) -> list[int]:
        """What `explore` measures first."""
        designs = [cell.design for cell in self.machine.cells]
        rows = information_rows(self.machine.cells, self.machine.channels, self.prior)
        return [designs.index(design) for design in about_all(designs, rows, FEWEST_LIKE)]

    def draws(self, count: int) -> list[list[int]]:
        """Random choices, the same for every caller."""
        return [np.random.default_rng(seed).permutation(len(self.machine.cells))[:count].tolist() for seed in range(DRAWS)]


@dataclass(frozen=True, eq=False)
class Found:
    """Errors in % of the cells not measured, and whether their intervals hold what was measured, over one or more choices."""

    errors_pct: Array
    inside: Array
    half_pct: Array

    @property
    def mean_pct(self) -> float:
        return float(self.errors_pct.mean())

    def __str__(self) -> str:
        share, half = 100 * self.inside.mean(), np.median(self.half_pct)
        p95 = np.percentile(self.errors_pct, 95)
        return f"mean {self.mean_pct:.2f} %, 95 % within {p95:.1f} %; {share:.0f} % in their interval, ± {half:.0f} %"


@cache
def pairs() -> tuple[Pair, ...]:
    return tuple(_pairs())


def _pairs() -> Iterator[Pair]:
    shared = [deployment for deployment in _told(AVX2) if deployment in _told(AVX512)]
    for there, here in ((AVX2, AVX512), (AVX512, AVX2)):
        yield from (_pair(there, here, deployment) for deployment in shared)
    yield _pair(AVX2, FINE, FINE_DEPLOYMENT)
    yield _pair(FINE, AVX2, FINE_DEPLOYMENT)


@cache
def _told(run: str) -> dict[Deployment, LikeModel]:
    known = known_of(run)
    return like_models(known.sweep.cells, known.latency_ms, known.channels)


def _pair(there: str, here: str, deployment: Deployment) -> Pair:
    known = known_of(here)
    cells = [cell for cell in known.sweep.cells if cell.deployment == deployment and cell.id in known.latency_ms]
    ms = np.array([known.latency_ms[cell.id] for cell in cells])
    prior = prior_of(deployment, "", Like("there", "there", (_told(there)[deployment],)))
    assert prior is not None
    what = f"{deployment.precision} {deployment.runtime} {deployment.pad}"
    runs = [f"{run.split('/')[0]} {run[-4:]}" for run in (there, here)]
    return Pair(f"{' → '.join(runs)} {what}", Machine(cells, [known.channels[c.id] for c in cells], ms, ms), prior)


def found(machine: Machine, choices: Sequence[Sequence[int]], prior: Prior | None) -> Found:
    """What is found where each of the choices is measured."""
    parts = []
    for chosen in choices:
        unseen = [i for i in range(len(machine.cells)) if i not in chosen]
        ms, low, high = machine.fit(chosen, prior).predict(
            [machine.cells[i] for i in unseen], [machine.channels[i] for i in unseen]
        )
        measured = machine.ms[unseen]
        parts.append((100 * np.abs(ms / measured - 1), (low <= measured) & (measured <= high), 50 * (high - low) / ms))
    return Found(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def without_prior(pair: Pair) -> tuple[int, Found]:
    """How many cells were measured without a prior, and what was found."""
    count, size = WITHOUT_PRIOR, len(pair.machine.cells)
    if size > count + 1:
        chosen = telling(pair.machine, range(size), pair.prior)(count)
        return count, found(pair.machine, [chosen], None)
    return size - 1, found(pair.machine, [[i for i in range(size) if i != left] for left in range(size)], None)


def errors(figures: Figures) -> None:
    """Five chosen, five at random, and many without a prior."""
    of_five, of_random, of_many = list[Found](), list[Found](), list[Found]()
    for pair in pairs():
        of_five.append(found(pair.machine, [pair.chosen()], pair.prior))
        of_random.append(found(pair.machine, pair.draws(FEWEST_LIKE), pair.prior))
        count, many = without_prior(pair)
        of_many.append(many)
        print(f"           {pair.name}: {FEWEST_LIKE} chosen: {of_five[-1]}")
        print(f"           {'':{len(pair.name)}}  {FEWEST_LIKE} random: {of_random[-1]}")
        print(f"           {'':{len(pair.name)}}  {count} without a prior: {many}")
        if count == WITHOUT_PRIOR:
            print(f"           {'':{len(pair.name)}}  {count} random without: {found(pair.machine, pair.draws(count), None)}")
    for name, some in (("5 chosen", of_five), ("5 random", of_random), ("15 or 20 without a prior", of_many)):
        figures.report(f"{name}: mean of the mean errors", float(np.mean([each.mean_pct for each in some])), "%")
        figures.report(f"{name}: 95th percentile of all errors", _p95(some), "%")
    ratio = np.mean([each.mean_pct for each in of_five]) / np.mean([each.mean_pct for each in of_many])
    figures.at_most("mean error of 5 chosen / of 15 or 20 without a prior", float(ratio), MOST_ERROR, "×")
    for name, some in (("chosen", of_five), ("random", of_random)):
        inside = 100 * float(np.mean([each.inside.mean() for each in some]))
        figures.at_least(f"5 {name}: share in their 95 % interval", inside, LEAST_INSIDE, "%")


def _p95(some: Sequence[Found]) -> float:
    return float(np.percentile(np.concatenate([each.errors_pct for each in some]), 95))


def widths(figures: Figures) -> None:
    """The log likelihood of what was not measured, a cell, for each width of the prior, by which machine is left out."""
    best = {}
    for run in (AVX512, AVX2, ""):
        some = [pair for pair in pairs() if run[-4:] in pair.name.split(" → ")[1]]
        likelihood = {width: float(np.mean([_likelihood(pair, *width) for pair in some])) for width in WIDTHS}
        best[run] = max(likelihood, key=lambda width: likelihood[width])
        said = ", ".join(f"{floor} {spread}: {value:.2f}" for (floor, spread), value in likelihood.items())
        print(f"           {run or 'both'}: {said}")
    figures.at_least("floor and spread are the likeliest over both", float(best[""] == (LIKE_FLOOR, LIKE_SPREAD)), 1, "")


def _likelihood(pair: Pair, floor: float, spread: float) -> float:
    prior, machine = replace(pair.prior, floor=floor, spread=spread), pair.machine
    return float(np.mean([_log_likelihood(machine, chosen, prior) for chosen in [pair.chosen(), *pair.draws(FEWEST_LIKE)[:8]]]))


def _log_likelihood(machine: Machine, chosen: Sequence[int], prior: Prior) -> float:
    model = machine.fit(chosen, prior)
    unseen = [i for i in range(len(machine.cells)) if i not in chosen]
    cells = [machine.cells[i] for i in unseen]
    amounts, bends = work(cells, [machine.channels[i] for i in unseen]), shape(cells)
    middle = model.fit.log_ms(amounts, bends)
    deviation = deviations(_factor(model), amounts / (np.exp(middle) * NS_PER_MS)[:, None], bends)
    missed = (np.log(machine.ms[unseen]) - middle) / deviation
    return float((-(missed**2) / 2 - np.log(deviation)).mean())


def _factor(model: LatencyModel) -> Array:
    assert isinstance(model.uncertainty, Uncertainty)
    return np.array(model.uncertainty.factor)


PARTS = {"errors": errors, "widths": widths}

if __name__ == "__main__":
    figures = Figures()
    for word in sys.argv[1:] or PARTS:
        PARTS[word](figures)
    figures.finish()
