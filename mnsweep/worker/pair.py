"""Two workers as one: what is asked of a key goes to the worker of its side, so that both sides share every round.

The worker that is not asked waits without taking time from the other.
"""

from contextlib import ExitStack
from typing import Self

from mnsweep.cell import Deployment
from mnsweep.worker.base import Model
from mnsweep.worker.proxy import NewTimer, Timer
from mnsweep.worker.timing import Timing

SIDES = SIDE_A, SIDE_B = "@a", "@b"  # ends of keys


class Pair:
    """The requests of a campaign, answered by a worker for each side and a third for all other keys: the canary.

    Were the canary in a worker of one side, that side would look up to 1 % slower: its models would share a process. A context
    manager that ends all of them.
    """

    def __init__(self, new_a: NewTimer, new_b: NewTimer) -> None:
        self._new = {SIDE_A: new_a, SIDE_B: new_b, "": new_a}
        self._workers: dict[str, Timer] = {}

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._workers = {side: started.enter_context(new()) for side, new in self._new.items()}
            self._started = started.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._started.close()

    def ready(self) -> None:
        """Return when all have started."""
        for worker in self._workers.values():
            worker.ready()

    def pin(self, threads: int) -> None:
        """Pin all to the same CPUs: they take turns."""
        for worker in self._workers.values():
            worker.pin(threads)

    def open(self, key: str, model: Model, deployment: Deployment) -> None:
        """See `Worker`."""
        self._of(key).open(key, model, deployment)

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """See `Worker`."""
        return self._of(key).time(key, min_runs, min_ms)

    def _of(self, key: str) -> Timer:
        return self._workers[next((side for side in SIDES if key.endswith(side)), "")]
