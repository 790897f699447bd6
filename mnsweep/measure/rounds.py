"""Interleaved rounds: every key is timed in short blocks, in a fresh random order each round.

Timed one model after another, a design's latency depends on when its turn came: the machine's speed
moves by more than designs differ. Here each round visits every key once, so that all of them see
the same weather, and what a round had in common can be taken out afterwards (`estimate.py`).

This module knows no networks. Keys are opaque, the clock and the runner are handed in, and each block goes
to a sink; the next block starts when the sink has returned, so writing never disturbs timing.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from random import Random

from mnsweep.measure.proxy import CellError
from mnsweep.measure.record import Block, Failure
from mnsweep.measure.timing import Timing

Time = Callable[[str, int, float], Timing]  # key, least runs, least ms
Sink = Callable[[Block | Failure], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """How much is timed: `rounds` blocks of each cell, spread over `processes` processes in sequence.

    A block has at least `block_runs` runs and `block_ms`, after a run that is dropped. Warm-up is at
    least `warmup_runs` runs and `warmup_ms` for each cell in each process.
    """

    rounds: int = 20
    processes: int = 2
    block_runs: int = 5
    block_ms: float = 20.0
    warmup_runs: int = 3
    warmup_ms: float = 250.0


QUICK = Rules(rounds=8, processes=1, block_runs=12, warmup_ms=100.0)  # about 100 runs of each cell


def run_rounds(
    process: int,
    unsettled: Callable[[], Collection[str]],
    time: Time,
    sink: Sink,
    rules: Rules,
    rng: Random,
    clock: Callable[[], float],
) -> None:
    """Warm up, then time one block of each unsettled key a round until none is unsettled.

    `unsettled` is asked before each round. A key that fails is reported once and not visited again.
    """
    began, failed = clock(), set[str]()

    def attempt(key: str, min_runs: int, min_ms: float) -> Timing | None:
        try:
            return time(key, min_runs, min_ms)
        except CellError as error:
            failed.add(key)
            sink(Failure(key, process, str(error)))
            return None

    for key in unsettled():
        attempt(key, rules.warmup_runs, rules.warmup_ms)
    for number in count(1):
        keys = sorted(set(unsettled()) - failed)
        if not keys:
            return
        rng.shuffle(keys)
        for key in keys:
            at_s = clock() - began
            if timing := attempt(key, rules.block_runs, rules.block_ms):
                sink(Block(key, process, number, round(at_s, 4), timing.first_ns, timing.samples_ns))
