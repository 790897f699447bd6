"""One block: a few back-to-back runs, timed one by one."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """What one block gave: the first run, which is dropped, and the samples, in nanoseconds."""

    first_ns: int
    samples_ns: tuple[int, ...]


def time_block(run: Callable[[], None], min_runs: int, min_ms: float, clock: Callable[[], int]) -> Timing:
    """Run once, then back to back until at least `min_runs` runs and `min_ms` have passed.

    `clock` is monotonic, in nanoseconds.
    """
    first_ns = _time(run, clock)
    samples: list[int] = []
    spent_ns = 0
    while len(samples) < min_runs or spent_ns < min_ms * 1e6:
        samples.append(_time(run, clock))
        spent_ns += samples[-1]
    return Timing(first_ns, tuple(samples))


def _time(run: Callable[[], None], clock: Callable[[], int]) -> int:
    before = clock()
    run()
    return clock() - before
