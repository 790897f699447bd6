"""Measure in a few seconds how well a sweep would repeat on this machine, and how many threads make sense.

A small network is timed on 1 to N threads, together with companion networks on one thread. Rounds, number of
processes and estimation are the same as in a sweep.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from mnsweep.cell import Deployment
from mnsweep.errors import UnavailableError
from mnsweep.estimate.fit import Estimate, Movement, fit
from mnsweep.measure.rounds import Rounds, Rules, narrow
from mnsweep.record import Record, Records
from mnsweep.worker.proxy import CellError, NewWorker, Worker

RULES = narrow(Rules(), 1.0)
PROCESSES, SWEEP_ROUNDS = RULES.least_processes, RULES.least_rounds  # of a cell that settles by its width
PROCESS_S = 4.0 / PROCESSES
FEWEST_ROUNDS, MOST_ROUNDS = 3, 30  # per process: on a slow machine; if the clock stands still
WORTHWHILE = 0.7  # speed-up per thread; below it, a second copy of the network uses the cores better


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadCount:
    """The small network on `threads` threads: its latency, and its speed-up over one thread.

    `repeatability_pct` is the expected half width of the relative 95 % interval after the minimum number of rounds
    of a sweep, in percent; None if too few rounds were timed.
    """

    threads: int
    latency_ms: float
    speed_up: float
    repeatability_pct: float | None

    @property
    def efficiency(self) -> float:
        """Speed-up per thread; 1 is linear speed-up."""
        return self.speed_up / self.threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """What to expect of a sweep on this machine; `by_threads` starts with one thread.

    `movement` is how much the machine's speed varied, which affects milliseconds but not comparisons. `disturbed_blocks`
    counts the blocks with steal, switches to other processes, or a jump in speed.
    """

    by_threads: tuple[ThreadCount, ...]
    movement: Movement
    rounds: int
    blocks: int
    disturbed_blocks: int

    @property
    def pct(self) -> float | None:
        """`ThreadCount.repeatability_pct` of the small network on one thread."""
        return self.by_threads[0].repeatability_pct

    @property
    def recommended_threads(self) -> int:
        """The largest number of threads with an efficiency of at least `WORTHWHILE`."""
        return max((t.threads for t in self.by_threads if t.efficiency >= WORTHWHILE), default=1)


def measure_repeatability(
    network: bytes,
    companions: Sequence[bytes],
    *,
    most_threads: int,
    new_worker: NewWorker,
    clock: Callable[[], float] = time.monotonic,
) -> Repeatability:
    """Time the ONNX models for about four seconds; on a single core, `companions` are the only networks to compare with.

    Raises `UnavailableError` with the reason if nothing can be timed.
    """
    models = {_key(threads): (network, threads) for threads in range(1, most_threads + 1)}
    models |= {_companion(i): (model, 1) for i, model in enumerate(companions)}
    records = Records()
    try:
        for process in range(1, PROCESSES + 1):
            with new_worker() as worker:
                worker.pin(most_threads)
                _open(worker, models)
                _time(_rounds(process, worker, records.add, clock), list(models))
    except CellError as error:
        raise _not_timed(str(error)) from None
    return _summary(records, most_threads)


def _key(threads: int) -> str:
    return f"{threads} threads"


def _companion(i: int) -> str:
    return f"companion {i}"


def _open(worker: Worker, models: Mapping[str, tuple[bytes, int]]) -> None:
    for key, (model, threads) in models.items():
        worker.open(key, model, Deployment(threads=threads))


def _rounds(process: int, worker: Worker, add: Callable[[Record], None], clock: Callable[[], float]) -> Rounds:
    """A companion is the canary: the canary gets extra blocks, so it must not be the network that is reported."""
    return Rounds(
        process=process,
        time=worker.time,
        sink=add,
        rules=RULES,
        rng=Random(process),
        clock=clock,
        canary=_companion(0),
    )


def _time(rounds: Rounds, keys: Sequence[str]) -> None:
    def visits(done: int) -> Sequence[str]:
        enough = done >= FEWEST_ROUNDS and rounds.clock() - rounds.began >= PROCESS_S
        return [] if enough or done >= MOST_ROUNDS else keys

    rounds.run(keys, visits)


def _summary(records: Records, most_threads: int) -> Repeatability:
    fitted = fit(records.blocks)
    of_threads = {n: fitted.estimates[_key(n)] for n in range(1, most_threads + 1) if _key(n) in fitted.estimates}
    if 1 not in of_threads:
        raise _not_timed(records.failures.get(_key(1), "no block was taken"))
    return Repeatability(
        by_threads=tuple(_thread_count(n, estimate, of_threads[1]) for n, estimate in of_threads.items()),
        movement=fitted.movement,
        rounds=of_threads[1].rounds,
        blocks=len(records.blocks),
        disturbed_blocks=sum(bool(block.disturbed) for block in records.blocks),
    )


def _not_timed(reason: str) -> UnavailableError:
    return UnavailableError(f"a small network could not be timed: {reason}")


def _thread_count(threads: int, estimate: Estimate, one_thread: Estimate) -> ThreadCount:
    return ThreadCount(
        threads=threads,
        latency_ms=estimate.p50_ms,
        speed_up=one_thread.p50_ms / estimate.p50_ms,
        repeatability_pct=_after_a_sweep_pct(estimate),
    )


def _after_a_sweep_pct(estimate: Estimate) -> float | None:
    """Scale the half width to the rounds of a sweep: half widths shrink with the square root of the rounds."""
    if estimate.relative_ci_pct is None:
        return None
    return estimate.relative_ci_pct * math.sqrt(estimate.rounds / SWEEP_ROUNDS)
