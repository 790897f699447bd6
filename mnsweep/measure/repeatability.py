"""How well a sweep would repeat here, and how many threads make sense: measured in a few seconds.

One small network is timed on 1 to N threads, with companions on one thread beside it, by the rounds and in as
many processes as a sweep; what comes out is what `estimate` makes of those blocks.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from mnsweep.cell import Deployment
from mnsweep.errors import UnavailableError
from mnsweep.measure.fit import Estimate, Movement, estimate, speed_movement
from mnsweep.measure.record import Record, Records
from mnsweep.measure.rounds import Rounds, Rules
from mnsweep.worker.proxy import CellError, NewWorker, Worker

PROCESSES, SWEEP_ROUNDS = Rules().least_processes, Rules().least_rounds  # a cell of a sweep has as many at least
PROCESS_S = 4.0 / PROCESSES
FEWEST_ROUNDS, MOST_ROUNDS = 3, 30  # of a process: on a slow machine; on a clock that stands still
WORTHWHILE = 0.7  # speed-up for each thread: below, a second copy of the network makes better use of the cores
RULES = replace(Rules(), warmup_ms=50.0)  # ten keys take their warm-up out of two seconds


@dataclass(frozen=True, slots=True)
class ThreadCount:
    """The small network on so many threads: latency, and how many times as fast as on one.

    `repeatability_pct` is the half width of the 95 % interval against the others after the rounds that a
    sweep takes at least; None where too few rounds were timed.
    """

    threads: int
    latency_ms: float
    speed_up: float
    repeatability_pct: float | None

    @property
    def efficiency(self) -> float:
        """Speed-up for each thread: 1 where every thread counts in full."""
        return self.speed_up / self.threads


@dataclass(frozen=True, slots=True)
class Repeatability:
    """What a sweep can expect here; `by_threads` starts with one thread.

    `movement` is the machine's own speed, which moves milliseconds and not comparisons. `disturbed_blocks`
    are those in which steal, other processes or a jump in speed were seen.
    """

    by_threads: tuple[ThreadCount, ...]
    movement: Movement
    rounds: int
    blocks: int
    disturbed_blocks: int

    @property
    def pct(self) -> float | None:
        """Of a cell on one thread against the others, as `ThreadCount.repeatability_pct`."""
        return self.by_threads[0].repeatability_pct

    @property
    def recommended_threads(self) -> int:
        """The largest count whose efficiency is worthwhile."""
        return max((t.threads for t in self.by_threads if t.efficiency >= WORTHWHILE), default=1)


def measure_repeatability(
    network: bytes,
    companions: Sequence[bytes],
    most_threads: int,
    new_worker: NewWorker,
    clock: Callable[[], float] = time.monotonic,
) -> Repeatability:
    """Time the ONNX models for about four seconds; a lone core needs `companions` to compare with.

    Raises `UnavailableError`, with the reason, when nothing can be timed here.
    """
    models = {_key(threads): (network, threads) for threads in range(1, most_threads + 1)}
    models |= {_companion(i): (model, 1) for i, model in enumerate(companions)}
    records = Records()
    try:
        for process in range(1, PROCESSES + 1):
            with new_worker() as worker:
                worker.pin(most_threads)
                _time(process, worker, models, records.add, clock)
    except CellError as error:
        raise UnavailableError(f"a small network could not be timed: {error}") from None
    return _summary(records, most_threads)


def _key(threads: int) -> str:
    return f"{threads} threads"


def _companion(i: int) -> str:
    return f"companion {i}"


def _time(
    process: int,
    worker: Worker,
    models: Mapping[str, tuple[bytes, int]],
    add: Callable[[Record], None],
    clock: Callable[[], float],
) -> None:
    for key, (model, threads) in models.items():
        worker.open(key, model, Deployment(threads=threads))
    began = clock()

    def visits(done: int) -> list[str]:
        enough = done >= FEWEST_ROUNDS and clock() - began >= PROCESS_S
        return [] if enough or done >= MOST_ROUNDS else list(models)

    canary = _companion(0)  # it gets more blocks than the others: not the network whose interval is reported
    Rounds(process, worker.time, add, RULES, Random(process), clock, canary).run(list(models), visits)


def _summary(records: Records, most_threads: int) -> Repeatability:
    found = estimate(records.blocks)
    if _key(1) not in found:
        raise UnavailableError(f"a small network could not be timed: {records.failures.get(_key(1), 'no block was taken')}")
    one_ms = found[_key(1)].p50_ms
    timed = [(threads, found[_key(threads)]) for threads in range(1, most_threads + 1) if _key(threads) in found]
    return Repeatability(
        tuple(ThreadCount(n, e.p50_ms, one_ms / e.p50_ms, _after_a_sweep_pct(e)) for n, e in timed),
        speed_movement(records.blocks),
        rounds=found[_key(1)].rounds,
        blocks=len(records.blocks),
        disturbed_blocks=sum(bool(block.disturbed) for block in records.blocks),
    )


def _after_a_sweep_pct(found: Estimate) -> float | None:
    """Half widths shrink with the root of the rounds."""
    if found.relative_ci_pct is None:
        return None
    return found.relative_ci_pct * math.sqrt(found.rounds / SWEEP_ROUNDS)
