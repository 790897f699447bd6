"""Time one block: a few back-to-back runs, each timed separately."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one block in nanoseconds: the first run, which is not a sample, and the samples.

    `disturbed` describes what disturbed the machine during the block; empty if no disturbance is known. `machine` is what it
    was doing, by the names in `machine/telemetry.py`.
    """

    first_ns: int
    samples_ns: tuple[int, ...]
    disturbed: tuple[str, ...] = ()
    machine: Mapping[str, float] = field(default_factory=dict)


def time_block(run: Callable[[], None], min_runs: int, min_ms: float, clock: Callable[[], int]) -> Timing:
    """Run once, then back to back for at least `min_runs` runs and `min_ms`.

    `clock` is monotonic and returns nanoseconds; a run that takes no time on it marks the block as disturbed.
    """
    first_ns = _time(run, clock)
    samples: list[int] = []
    spent_ns = 0
    while len(samples) < min_runs or spent_ns < min_ms * 1e6:
        samples.append(_time(run, clock))
        spent_ns += max(samples[-1], 1)
        if samples[-1] <= 0 and len(samples) >= min_runs:
            break
    return Timing(first_ns, tuple(samples), ("the clock stood still or jumped back",) if min(samples) <= 0 else ())


def _time(run: Callable[[], None], clock: Callable[[], int]) -> int:
    before = clock()
    run()
    return clock() - before
