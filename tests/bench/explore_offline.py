"""How well few measurements predict the others, without timing anything: committed measurements and simulated machines.

    python -m tests.bench.explore_offline [committed] [simulated] [speed]

Compares exploring as before (a set that fills the space, then the widest intervals of cells that may be on the frontier, no
prior) with now (D-optimal with corners, then what tells most about the open frontier, a prior from other machines). The prior
is always that of a machine that is not the one predicted. Six minutes, most of it in `simulated`.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnsweep.accuracy.published import DEFAULT_SOURCE
from mnsweep.accuracy.surface import quality_of
from mnsweep.app.exploration import FIRST_SHARE, STEP, Aims
from mnsweep.arch.channel_padding import Channels
from mnsweep.cell import Cell, Deployment
from mnsweep.choice.frontier import pareto
from mnsweep.choice.optimal import most_telling
from mnsweep.choice.search import informative, representatives, space_filling, undecided
from mnsweep.prediction.deployments import Predicted
from mnsweep.prediction.features import work
from mnsweep.prediction.information import information_rows
from mnsweep.prediction.latency_model import FEWEST, LatencyModel, fit_latency, shape
from mnsweep.prediction.prior import Prior, any_prior
from mnsweep.space import Space
from mnsweep.sweep.derive import read
from mnsweep.sweep.knowledge import Knowledge
from mnsweep.sweep.store import SweepFolder
from tests.bench.figure import Figures

Array = NDArray[np.float64]
REFERENCE = Path(__file__).parents[2] / "results/reference"
AVX2, AVX512 = (Prior(any_prior(Deployment()).ns[[i]]) for i in range(2))  # in the order of priors.csv
SPLITS, VERIFY = 60, 10
SEEDS = range(1000, 1040)  # not those that the prior's width and the number of first designs were chosen with: 0 to 59
AS_GOOD = 1.0  # times the mean error
NOISE, WIDTHS, BEND = 0.02, 0.01, 0.02  # of a measurement, of each α, of a smooth misfit: relative standard deviations
Choose = Callable[[int], list[int]]
Tested = tuple[Array, NDArray[np.bool_]]


@cache
def known_of(run: str) -> Knowledge:
    return read(SweepFolder(REFERENCE / run))


@dataclass(frozen=True, eq=False)
class Machine:
    """Cells of one deployment with latencies `ms`, as a measurement finds them, and `truth_ms`."""

    cells: Sequence[Cell]
    channels: Sequence[Channels]
    ms: Array
    truth_ms: Array

    def fit(self, chosen: Sequence[int], prior: Prior | None) -> LatencyModel:
        cells, channels = [self.cells[i] for i in chosen], [self.channels[i] for i in chosen]
        return fit_latency(cells, channels, self.ms[list(chosen)].tolist(), prior)

    def errors(self, model: LatencyModel, tested: Sequence[int]) -> Tested:
        """Relative errors on the tested cells, and whether their intervals hold what was measured."""
        ms, low, high = model.predict([self.cells[i] for i in tested], [self.channels[i] for i in tested])
        measured = self.ms[list(tested)]
        return np.abs(ms / measured - 1), (low <= measured) & (measured <= high)


@dataclass(frozen=True)
class Way:
    """A way to explore: `measure` cells to learn from, chosen as before or now, with a prior or none."""

    name: str
    measure: int
    now: bool = True
    prior: bool = True


WAYS = (
    Way("before, 20", 20, now=False, prior=False),
    Way("before, 10", 10, now=False, prior=False),
    Way("now, 10", 10),
    Way("now, 10, no prior", 10, prior=False),
    Way("now, 12", 12),
    Way("now, 20", 20),
)


def report(name: str, found: dict[str, list[Tested]]) -> dict[str, float]:
    """Print mean, 95th percentile and worst error, each the mean over machines or splits; return the means."""
    means = {}
    for way, each in found.items():
        pct = 100 * np.array([(e.mean(), np.percentile(e, 95), e.max(), held.mean()) for e, held in each])
        mean, p95, worst, inside = pct.mean(axis=0)
        error = pct[:, 0].std() / len(pct) ** 0.5
        more = f"95 % within {p95:.1f}, worst {worst:.1f}; {inside:.1f} % in their interval"
        print(f"           {name}: {way:17} {mean:.2f} ± {error:.2f} %, {more}")
        means[way] = float(mean)
    return means


def committed(figures: Figures) -> None:
    """Designs of the committed runs, many random splits into candidates and tests; what is chosen is chosen at once."""
    for run, deployment, prior, before, now in (
        ("explore/amd-epyc-2c-e7fd23df", Deployment(), AVX2, 20, 10),
        ("deploy/amd-epyc-2c-156cc3b9", Deployment(), AVX512, 10, 8),
        ("deploy/amd-epyc-2c-156cc3b9", Deployment(runtime="openvino"), None, 10, 8),
        ("deploy/amd-epyc-2c-156cc3b9", Deployment("int8"), None, 10, 8),
        ("paper/amd-epyc-2c-e7fd23df", Deployment(), AVX2, 10, 8),
    ):
        known = known_of(run)
        cells = [c for c in known.sweep.cells if c.deployment == deployment and c.id in known.latency_ms]
        ms = np.array([known.latency_ms[c.id] for c in cells])
        machine = Machine(cells, [known.channels[c.id] for c in cells], ms, ms)
        found: dict[str, list[Tested]] = {}
        guess = prior or AVX512  # of another machine, and for want of one, of other deployments
        for seed in range(SPLITS):
            order = np.random.default_rng(seed).permutation(len(cells)).tolist()
            tested, pool = order[: len(cells) // 4], order[len(cells) // 4 :]
            for way, count, choose, told in (
                (f"before, {before}", before, filling(machine, pool), None),
                (f"before, {now}", now, filling(machine, pool), None),
                (f"now, {now}", now, telling(machine, pool, guess), prior),
                (f"now, {now}, no prior", now, telling(machine, pool, guess), None),
                (f"now, {before}", before, telling(machine, pool, guess), prior),
            ):
                found.setdefault(way, []).append(machine.errors(machine.fit(choose(count), told), tested))
        name = f"{run.split('/')[0]} {deployment.precision} {deployment.runtime}"
        means = report(name, found)
        figures.at_most(
            f"{name}: mean error now with {now} / before with {before}",
            means[f"now, {now}"] / means[f"before, {before}"],
            1.0,
            "×",
        )


def filling(machine: Machine, pool: Sequence[int]) -> Choose:
    places = {machine.cells[i].design: i for i in pool}
    return lambda count: [places[design] for design in space_filling(list(places), count)]


def telling(machine: Machine, pool: Sequence[int], prior: Prior) -> Choose:
    places = {machine.cells[i].design: i for i in pool}
    rows = information_rows([machine.cells[i] for i in pool], [machine.channels[i] for i in pool], prior)
    return lambda count: [places[design] for design in informative(list(places), rows, count)]


KINDS = {  # coefficients of the truth, the prior, and the factor within which each coefficient differs
    "AVX2, prior of AVX-512": (AVX2, AVX512, 1.25),
    "AVX-512, prior of AVX2": (AVX512, AVX2, 1.25),
    "own kind": (AVX2, AVX2, 1.25),
    "coefficients within × 3": (AVX2, AVX2, 3.0),
}


@cache
def space() -> tuple[tuple[Cell, ...], list[Channels]]:
    """The default space, padded as on the machine of the reference run."""
    known = known_of("explore/amd-epyc-2c-e7fd23df")
    cells = known.sweep.cells
    return cells, [known.channels[cell.id] for cell in cells]


@cache
def qualities() -> tuple[float, ...]:
    return tuple(q[0].quality_pct for cell in space()[0] if (q := quality_of(cell, DEFAULT_SOURCE, extrapolate=False)))


def simulated_machine(truth: Prior, factor: float, seed: int) -> Machine:
    """A sum of terms with other coefficients, a smooth misfit, one for each α, and noise; terms that were free may cost."""
    cells, channels = space()
    rng, amounts = np.random.default_rng(seed), work(cells, channels)
    unit = (amounts / (amounts @ truth.ns[0])[:, None]).mean(axis=0)
    share = truth.ns[0] * unit + (0.02 * (rng.random(unit.size) < 0.3) if factor > 2 else 0)
    share *= np.exp(rng.uniform(-np.log(factor), np.log(factor), unit.size))
    costs = np.divide(share, unit, out=np.zeros_like(unit), where=unit > 0)
    bends = shape(cells)[:, 1:] - shape(cells)[:, 1:].mean(axis=0)
    bend = bends @ (rng.normal(size=5) / bends.std(axis=0))
    bend *= BEND * abs(rng.normal()) / bend.std()
    widths = {alpha: rng.normal(0, WIDTHS) for alpha in dict.fromkeys(cell.design.alpha for cell in cells)}
    steps = np.array([widths[cell.design.alpha] for cell in cells])
    true_ms = amounts @ costs * np.exp(rng.normal(0, 0.5) + bend + steps) / 1e6
    return Machine(cells, channels, true_ms * np.exp(rng.normal(0, NOISE, len(cells))), true_ms)


def explored(machine: Machine, way: Way, guess: Prior) -> tuple[list[int], LatencyModel]:
    """Measured cells and the model after a whole exploration: to learn from in steps, then the predicted frontier."""
    everything = range(len(machine.cells))
    prior = guess if way.prior else None
    if way.now:
        chosen = telling(machine, everything, guess)(Aims(measure=way.measure).first)
    else:
        chosen = filling(machine, everything)(max(FEWEST, ceil(FIRST_SHARE * way.measure)))
    rows = information_rows(machine.cells, machine.channels, guess)
    while len(chosen) < way.measure:
        beliefs = believed(machine, chosen, machine.fit(chosen, prior))
        count = min(STEP, way.measure - len(chosen))
        ids = [key for key in beliefs if machine.cells[int(key)].id not in {machine.cells[i].id for i in chosen}]
        about = [int(key) for key in undecided(ids, beliefs, quality_by_id(), None)]
        chosen = chosen + (most_telling(rows, about, count, chosen) if way.now else widest(beliefs, about, count))
    beliefs = believed(machine, chosen, machine.fit(chosen, prior))
    on = pareto([(beliefs[key].ms, quality) for key, quality in quality_by_id().items()])
    frontier = [key for key, there in zip(beliefs, on, strict=True) if there and int(key) not in chosen]
    chosen = chosen + [int(key) for key in representatives(frontier, {key: beliefs[key].ms for key in frontier}, VERIFY)]
    return chosen, machine.fit(chosen, prior)


@cache
def quality_by_id() -> dict[str, float]:
    """By the number of the cell, as text."""
    return {str(i): quality for i, quality in enumerate(qualities())}


def believed(machine: Machine, chosen: Sequence[int], model: LatencyModel) -> dict[str, Predicted]:
    ends = np.array(model.predict(machine.cells, machine.channels))
    ends[:, list(chosen)] = machine.ms[list(chosen)]
    return {str(i): Predicted(*map(float, each)) for i, each in enumerate(ends.T)}


def widest(beliefs: dict[str, Predicted], about: Sequence[int], count: int) -> list[int]:
    """As before this bench was written: wide intervals, far from each other in the logarithm of latency."""
    picked: list[int] = []
    place = {i: float(np.log(beliefs[str(i)].ms)) for i in about}
    width = {i: float(np.log(beliefs[str(i)].high_ms / beliefs[str(i)].low_ms)) for i in about}
    while len(picked) < min(count, len(about)):
        free = [i for i in about if i not in picked]
        reach = {i: min((abs(place[i] - place[j]) for j in picked), default=1.0) for i in free}
        picked.append(max(free, key=lambda i: width[i] * reach[i]))
    return picked


def lost(machine: Machine, chosen: Sequence[int], model: LatencyModel) -> float:
    """Quality that a verified pick loses against knowing all, in points: mean over 25 budgets over the space."""
    quality, ms = np.array(qualities()), model.predict(machine.cells, machine.channels)[0]
    ms[list(chosen)] = machine.ms[list(chosen)]
    losses = []
    low, high = np.percentile(machine.truth_ms, [5, 90]).tolist()
    for budget in np.geomspace(low, high, 25):
        tried = [i for i in np.argsort(-quality, kind="stable") if ms[i] <= budget and machine.truth_ms[i] <= budget]
        losses.append(quality[machine.truth_ms <= budget].max() - (quality[tried[0]] if tried else 0.0))
    return float(np.mean(losses))


def simulated(figures: Figures) -> None:
    """Whole explorations of the default space on made-up machines."""
    for kind, (truth, prior, factor) in KINDS.items():
        found: dict[str, list[Tested]] = {}
        losses: dict[str, list[float]] = {}
        for seed in SEEDS:
            machine = simulated_machine(truth, factor, seed)
            for way in WAYS:
                chosen, model = explored(machine, way, prior)
                unseen = [i for i in range(len(machine.cells)) if i not in chosen]
                found.setdefault(way.name, []).append(machine.errors(model, unseen))
                losses.setdefault(way.name, []).append(lost(machine, chosen, model))
        means = report(kind, found)
        print("           quality lost, points: " + ", ".join(f"{way} {np.mean(each):.3f}" for way, each in losses.items()))
        for few in ("now, 10", "now, 12"):
            figures.at_most(f"{kind}: mean error {few} / before, 20", means[few] / means["before, 20"], AS_GOOD, "×")
            inside = 100 * float(np.mean([held.mean() for _, held in found[few]]))
            figures.at_least(f"{kind}: {few}: interval coverage", inside, 92.0, "%")
            figures.at_most(f"{kind}: {few}: interval coverage", inside, 98.0, "%")
        figures.at_most(f"{kind}: with 10, with the prior / without", means["now, 10"] / means["now, 10, no prior"], 1.01, "×")


def speed(figures: Figures) -> None:
    """Choosing 12 of 10,000 designs."""
    cells = Space("0.25:1.0:0.0075", "128:224:1", pad="8", max_designs=10_000).cells()
    rows = information_rows(cells, [{}] * len(cells))
    start = time.perf_counter()
    informative([cell.design for cell in cells], rows, 12)
    figures.at_most("choosing 12 of 10,000 designs", time.perf_counter() - start, 0.3, "s")


PARTS = {"committed": committed, "simulated": simulated, "speed": speed}

if __name__ == "__main__":
    figures = Figures()
    for word in sys.argv[1:] or PARTS:
        PARTS[word](figures)
    figures.finish()
