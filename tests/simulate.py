"""A made-up machine for the measuring protocol: known latencies, five kinds of noise, no waiting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import Self

import numpy as np

from mnsweep.cell import Deployment
from mnsweep.measure.campaign import Campaign
from mnsweep.measure.fit import fit
from mnsweep.measure.plan import groups
from mnsweep.measure.record import Block, Records
from mnsweep.measure.rounds import Rules
from mnsweep.space import Space
from mnsweep.worker.timing import Timing, time_block
from tests.fakes import FakeClock, FakeWorker

CELLS = Space().cells()
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


def covered(kind: str, seed: int) -> int:
    """In one simulated sweep by the whole protocol, stop rule included: cells whose relative interval holds the truth."""
    rng, clock, records = Random(seed), FakeClock(), Records()
    truth_ms = {cell.id: 0.4 * 1.25**i for i, cell in enumerate(CELLS)}
    noise = NOISES[kind](rng)
    worker = SimulatedWorker(ms_of=lambda key, _: truth_ms[key], clock=clock, noise=noise, rng=rng, keys=list(truth_ms))
    campaign = Campaign(
        records=records,
        rules=Rules(),
        append=lambda record: None,
        model_of=lambda cell: b"",
        targets=lambda found: {key: 1.0 + (i % 3 == 0) for i, key in enumerate(truth_ms)},
        on_status=lambda status: None,
        new_worker=worker,
        clock=clock.s,
    )
    campaign.measure(groups(CELLS, CELLS, measured=(), memory_bytes=1e12))
    return _inside(truth_ms, records.blocks)


def _inside(truth_ms: dict[str, float], blocks: list[Block]) -> int:
    found = fit(blocks).estimates
    keys = sorted(truth_ms)
    error = np.log([found[k].p50_ms / truth_ms[k] for k in keys])
    half = np.log1p([(found[k].relative_ci_pct or np.inf) / 100 for k in keys])
    return int(np.sum(np.abs(error - error.mean()) <= half))


def coverage(kind: str, sweeps: int) -> float:
    """Share of cells, over many simulated sweeps, whose relative interval holds the truth."""
    return sum(covered(kind, seed) for seed in range(sweeps)) / (sweeps * len(CELLS))
