"""A made-up machine for the measuring protocol: known latencies, five kinds of noise, no waiting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import Self

import numpy as np

from mnsweep.accuracy.published import DEFAULT_SOURCE, published
from mnsweep.cell import Deployment
from mnsweep.choice.frontier import pareto
from mnsweep.choice.targets import known_places, settling_targets
from mnsweep.comparing.side import Side
from mnsweep.comparing.verdicts import compare
from mnsweep.counting import count
from mnsweep.estimate.fit import fit
from mnsweep.estimate.level import quiet_level
from mnsweep.measure.campaign import Campaign
from mnsweep.measure.plan import groups
from mnsweep.measure.rounds import Rules
from mnsweep.record import Block, Records
from mnsweep.space import Space
from mnsweep.worker.timing import Timing, time_block
from tests.fakes import FakeClock, FakeWorker

CELLS = Space().cells()
RULES = Rules()
_MS = {cell: cost.mult_adds / 5e7 for cell, cost in zip(CELLS, count(cell.design for cell in CELLS), strict=True)}
ONE_THREAD = Deployment()
OFFSET = 0.003  # of each cell in each process: what memory layout does
Noise = Callable[[float], float]  # time in s → log of how much slower the machine is at that moment


def _steady(rng: Random) -> Noise:
    return lambda at_s: rng.gauss(0, 0.01)


def _drifting(rng: Random) -> Noise:
    slope = rng.uniform(-0.1, 0.1) / 10
    return lambda at_s: slope * at_s + rng.gauss(0, 0.01)


def _two_speed(rng: Random) -> Noise:
    """A slower second speed, a quarter of the time, for about a second each time."""
    state = {"until": 0.0, "slow": 0.0}

    def noise(at_s: float) -> float:
        while at_s >= state["until"]:
            state["slow"] = 0.2 if rng.random() < 0.25 else 0.0
            state["until"] += rng.expovariate(1.0)
        return state["slow"] + rng.gauss(0, 0.01)

    return noise


def _spiky(rng: Random) -> Noise:
    return lambda at_s: rng.gauss(0, 0.01) + (rng.expovariate(1.0) if rng.random() < 0.02 else 0.0)


def _autocorrelated(rng: Random) -> Noise:
    """A first-order process with a memory of half a second and a spread of 3 %."""
    state = {"at": 0.0, "now": 0.0}

    def noise(at_s: float) -> float:
        keep = exp(-(at_s - state["at"]) / 0.5)
        state["now"] = keep * state["now"] + 0.03 * (1 - keep**2) ** 0.5 * rng.gauss(0, 1)
        state["at"] = at_s
        return state["now"] + rng.gauss(0, 0.005)

    return noise


NOISES: dict[str, Callable[[Random], Noise]] = {
    "steady": _steady,
    "drifting": _drifting,
    "two-speed": _two_speed,
    "spiky": _spiky,
    "autocorrelated": _autocorrelated,
}


@dataclass(eq=False, kw_only=True)
class SimulatedWorker(FakeWorker):
    """Times cells whose true latency is known, on a clock that does not wait."""

    clock: FakeClock
    noise: Noise
    rng: Random
    keys: Sequence[str]
    offset: dict[str, float] = field(default_factory=dict)  # log, of each cell in this process

    def __enter__(self) -> Self:
        self.offset = {key: self.rng.gauss(0, OFFSET) for key in self.keys}
        self.clock.advance(1.0)
        return self

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        def run() -> None:
            noise = self.offset[key] + self.noise(self.clock.now_s)
            self.clock.advance(self.ms_of(key, ONE_THREAD) / 1e3 * exp(noise))

        return time_block(run, min_runs, min_ms, self.clock.ns)


@dataclass(frozen=True, slots=True)
class Measured:
    """A simulated sweep: true latencies in ms by cell id, the blocks, and how long it took."""

    truth_ms: dict[str, float]
    blocks: list[Block]
    seconds: float


@dataclass(frozen=True, slots=True)
class Swept:
    """One simulated sweep by the whole protocol, stop rule included, against the truth.

    Of its cells: `inside` have a relative interval that holds the truth, `certain` a place on the frontier that is called so,
    and `wrong` a certain place that is not the true one. It took `seconds`, `kept_s` of them in blocks.
    """

    inside: int
    certain: int
    wrong: int
    seconds: float
    kept_s: float


def measured(kind: str, seed: int, rules: Rules = RULES, truth_ms: Mapping[str, float] | None = None) -> Measured:
    """A sweep of the paper's cells on a machine with this kind of noise, until the stop rule ends it."""
    rng, clock, records = Random(seed), FakeClock(), Records()
    true_ms = dict(truth_ms or truth(rng))
    noise = NOISES[kind](rng)
    worker = SimulatedWorker(ms_of=lambda key, _: true_ms[key], clock=clock, noise=noise, rng=rng, keys=list(true_ms))
    campaign = Campaign(
        records=records,
        rules=rules,
        append=lambda record: None,
        model_of=lambda cell: b"",
        targets=lambda found: settling_targets(CELLS, found, rules=rules, quality_source=DEFAULT_SOURCE),
        on_status=lambda status: None,
        new_worker=worker,
        clock=clock.s,
    )
    campaign.measure(groups(CELLS, CELLS, measured=(), memory_bytes=1e12))
    return Measured(true_ms, records.blocks, clock.now_s)


def truth(rng: Random) -> dict[str, float]:
    """True latencies in ms by cell id: those that mult-adds suggest, moved by some 10 %."""
    return {cell.id: ms * exp(rng.gauss(0, 0.1)) for cell, ms in _MS.items()}


def swept(kind: str, seed: int, rules: Rules = RULES) -> Swept:
    """Sweep the paper's cells on a machine with this kind of noise, until the stop rule ends it."""
    done = measured(kind, seed, rules)
    truth_ms, blocks = done.truth_ms, done.blocks
    found = fit(blocks).estimates
    certain = known_places(CELLS, found, DEFAULT_SOURCE).certain
    true, seen = (_on_frontier(ms) for ms in (truth_ms, {key: estimate.p50_ms for key, estimate in found.items()}))
    return Swept(
        inside=_inside(truth_ms, blocks),
        certain=len(certain),
        wrong=len(certain & (true ^ seen)),
        seconds=done.seconds,
        kept_s=sum(b.first_ns + sum(b.samples_ns) for b in blocks) / 1e9,
    )


def verdicts_of_pair(kind: str, seed: int, rules: Rules = RULES, slower: float = 1.0) -> tuple[list[str], str]:
    """The verdicts of `compare` on each cell, and overall, of two sweeps of one machine, the second so many times slower."""
    true_ms = truth(Random(seed))
    changed_ms = {cell: slower * ms for cell, ms in true_ms.items()}
    runs = [measured(kind, 2 * seed, rules, true_ms), measured(kind, 2 * seed + 1, rules, changed_ms)]
    sides = []
    for run in runs:
        estimates = fit(run.blocks).estimates
        level = quiet_level(run.blocks, estimates)
        sides.append(Side(sweep="s", machine="m", title="t", estimates=estimates, networks={}, level=level))
    found = compare(sides[0], sides[1], same_pct=1.0).verdicts
    return [ratio.verdict for ratio in found.cells], found.overall.verdict


def _on_frontier(ms: dict[str, float]) -> set[str]:
    qualities = [published(cell) for cell in CELLS]
    on = pareto(
        [(ms[cell.id], quality.quality_pct if quality else None) for cell, quality in zip(CELLS, qualities, strict=True)]
    )
    return {cell.id for cell, is_on in zip(CELLS, on, strict=True) if is_on}


def _inside(truth_ms: Mapping[str, float], blocks: list[Block]) -> int:
    found = fit(blocks).estimates
    keys = sorted(truth_ms)
    error = np.log([found[k].p50_ms / truth_ms[k] for k in keys])
    half = np.log1p([(found[k].relative_ci_pct or np.inf) / 100 for k in keys])
    return int(np.sum(np.abs(error - error.mean()) <= half))
