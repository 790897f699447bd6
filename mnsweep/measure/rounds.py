"""Interleaved rounds: every key is timed in short blocks, in a new random order each round.

If models were timed one after another, a design's latency would depend on when it was timed: the machine's speed
varies by more than designs differ. The protocol, with sources:

- Rounds. Each round visits every key once, in random order (randomized complete blocks, Fisher 1935). All
  keys see the same conditions, and effects common to a round can be removed afterwards (`estimate/polish.py`).
- Blocks. A block is a series of back-to-back runs, at least 5 runs and 20 ms, each timed. The first run is dropped,
  because the caches held another key's data. Every raw sample is kept.
- Warm-up. The machine is warmed up once in each process: the canary runs until its speed is steady (a steady state, as in
  Georges et al., OOPSLA 2007). A key then needs only the few runs in which memory is allocated and caches fill: a run and
  3 ms after the two that opening it takes. Where that was not enough, the data tell (`cold.py`): first blocks that are slower
  than later ones beyond noise are marked, and left out.
- Canary. One key is timed repeatedly throughout the round. If the canary before or after a segment of the round is more
  than 5 % off the round's typical speed, the blocks of that segment are marked as disturbed. So is a block that
  lost its CPU (steal, involuntary switches, narrowed affinity). A marked block is kept, and repeated once.
- Processes. Memory layout is fixed when a process starts, and changes latencies by about a percent (Mytkowicz et al.,
  ASPLOS 2009). It is averaged over several successive processes. With interleaved rounds it is most of the
  remaining error, so a few rounds in many processes are better than many rounds in a few.

This module does not depend on networks: keys are opaque, the clock and the runner are injected, and each block goes
to a sink. The next block starts after the sink returns, so writing never disturbs timing.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, pairwise
from random import Random
from statistics import median
from typing import TypeVar

from mnsweep.measure.cold import cold
from mnsweep.record import Block, Failure, Mark
from mnsweep.worker.proxy import CellError, WorkerLostError
from mnsweep.worker.timing import Timing

Time = Callable[[str, int, float], Timing]  # key, minimum runs, minimum ms
T = TypeVar("T")
Sink = Callable[[Block | Failure | Mark], None]

CANARY_EVERY = 6  # keys between two canary blocks
CANARY_OFF = 0.05
STEADY_WITHIN = 0.02  # of each other, so many canary blocks in a row
STEADY_BLOCKS = 3
STEADY_BLOCK_MS = 10.0
STEADY_MOST = 50  # canary blocks: a machine with busy neighbours never gets steady


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How much is timed for each cell.

    A cell has settled when its relative half width is at most its target, after at least `least_rounds` rounds in
    `least_processes` processes, or after `most_rounds`. The target is `ci_pct` while its place on the frontier or its side of
    the latency budget is open, and `known_pct` from then on. Without a `known_pct` it is `ci_pct` near the budget or the
    frontier, and twice that elsewhere.
    A process times at most `process_rounds` rounds. A block takes at least `block_runs` runs and `block_ms`, the warm-up of a
    cell at least `warmup_runs` and `warmup_ms`. A cell that does not answer within `cell_timeout_s` has failed. No block
    starts after `time_budget_s`. Each process first keeps its cores busy for `sustain_s`.
    """

    ci_pct: float = 1.0
    known_pct: float | None = 5.0
    least_rounds: int = 8
    most_rounds: int = 60
    process_rounds: int = 4
    least_processes: int = 2
    time_budget_s: float = float("inf")
    cell_timeout_s: float = 60.0
    sustain_s: float = 0.0
    block_runs: int = 5
    block_ms: float = 20.0
    warmup_runs: int = 1
    warmup_ms: float = 3.0


def narrow(rules: Rules, ci_pct: float) -> Rules:
    """The same rules, but a cell settles by the width of its interval alone, after 16 rounds in four processes."""
    return replace(rules, ci_pct=ci_pct, known_pct=None, least_rounds=16, least_processes=4)


def quick(rules: Rules) -> Rules:
    """The same rules with 8 rounds in one process: about 100 runs of each cell."""
    return replace(rules, least_rounds=8, most_rounds=8, process_rounds=8, least_processes=1, block_runs=12)


@dataclass(slots=True, kw_only=True)
class Rounds:
    """The rounds of one process; its state is the set of failed keys. No block starts once `out_of_time` returns true.

    When `time` raises `CellError`, the key has failed: it is reported to the sink and not timed again.
    `WorkerLostError` is also reported, then raised, because the worker process is gone.
    """

    process: int
    time: Time
    sink: Sink
    rules: Rules
    rng: Random
    clock: Callable[[], float]
    canary: str
    failed: set[str] = field(default_factory=set)
    out_of_time: Callable[[], bool] = lambda: False
    taken: list[Block] = field(init=False, default_factory=list)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def run(self, keys: Sequence[str], visits: Callable[[int], Collection[str]], warm_s: float = float("inf")) -> None:
        """Warm up the machine and `keys`; time rounds of the keys that `visits(rounds done)` returns, until it returns none.

        After `warm_s` seconds no further key is warmed up; those left cold are not timed.
        """
        warm, until = set[str](), self.clock() + warm_s
        self._warm_up_machine(until)
        for key in keys:
            if not warm or self.clock() < until:
                self._timed(key, self.rules.warmup_runs, self.rules.warmup_ms)
                warm.add(key)
        for number in count(1):
            visited = sorted(warm.intersection(visits(number - 1)) - self.failed)
            if not visited:
                break
            self._round(number, visited)
        self._mark_cold()

    def _warm_up_machine(self, until: float) -> None:
        """Run the canary until its last blocks agree: the clock has risen, and the first heat is over."""
        medians: list[float] = []
        while len(medians) < STEADY_MOST and self.clock() < until:
            timing = self._timed(self.canary, 1, STEADY_BLOCK_MS)
            if timing is None:
                return
            medians.append(median(timing.samples_ns))
            last = medians[-STEADY_BLOCKS:]
            if len(last) == STEADY_BLOCKS and max(last) <= min(last) * (1 + STEADY_WITHIN):
                return

    def _mark_cold(self) -> None:
        """Mark the first blocks that were slower than later ones beyond noise."""
        for key, slower in cold(self.taken).items():
            reason = f"cold: {slower:+.0%} against its later rounds"
            self.sink(Mark(process=self.process, round=1, cells=(key,), disturbed=reason))

    def _round(self, number: int, keys: list[str]) -> None:
        again, typical_ns = self._pass(number, keys, None)
        if again:
            self._pass(number, again, typical_ns)

    def _pass(self, number: int, keys: Sequence[str], typical_ns: float | None) -> tuple[list[str], float | None]:
        """Time a block of each key with canaries between; return the disturbed keys, and the canary's typical time in ns."""
        order = self.rng.sample(keys, len(keys))
        segments = [order[i : i + CANARY_EVERY] for i in range(0, len(order), CANARY_EVERY)]
        canaries, disturbed = [self._canary(number)], set[str]()
        for segment in segments:
            blocks = [self._block(key, number) for key in segment]
            disturbed |= {block.cell for block in blocks if block and block.disturbed}
            canaries.append(self._canary(number))
        typical_ns = typical_ns or median([ns for ns in canaries if ns is not None] or [1.0])
        for segment, off in zip(segments, _off(canaries, typical_ns), strict=True):
            if off and (cells := [key for key in segment if key not in self.failed]):
                self.sink(Mark(process=self.process, round=number, cells=tuple(cells), disturbed=f"canary {off:+.0%}"))
                disturbed |= set(cells)
        return sorted(disturbed - self.failed), typical_ns

    def _canary(self, number: int) -> float | None:
        block = self._block(self.canary, number, canary=True)
        return None if block is None else median(block.samples_ns)

    def _block(self, key: str, number: int, canary: bool = False) -> Block | None:
        at_s = self.clock() - self.began
        timing = self._timed(key, self.rules.block_runs, self.rules.block_ms)
        if timing is None:
            return None
        block = Block(
            cell=key,
            process=self.process,
            round=number,
            at_s=round(at_s, 4),
            first_ns=timing.first_ns,
            samples_ns=timing.samples_ns,
            disturbed=timing.disturbed,
            canary=canary,
            machine=timing.machine,
        )
        self.sink(block)
        self.taken.append(block)
        return block

    def _timed(self, key: str, min_runs: int, min_ms: float) -> Timing | None:
        if key in self.failed or self.out_of_time():
            return None
        return self.attempt(key, partial(self.time, key, min_runs, min_ms))

    def attempt(self, key: str, work: Callable[[], T]) -> T | None:
        """The result of `work` for a key; if it fails, report the failure and return None. Raises `WorkerLostError`."""
        try:
            return work()
        except CellError as error:
            self.failed.add(key)
            self.sink(Failure(key, self.process, str(error)))
            if isinstance(error, WorkerLostError):
                raise
            return None


def _off(canaries: Sequence[float | None], typical_ns: float) -> Iterator[float]:
    """For each segment between two canaries, the larger relative deviation of the two from `typical_ns`; 0 if within 5 %."""
    off = [0.0 if ns is None else ns / typical_ns - 1 for ns in canaries]
    for before, after in pairwise(off):
        worse = max(before, after, key=abs)
        yield worse if abs(worse) > CANARY_OFF else 0.0
