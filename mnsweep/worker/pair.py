"""Two workers as one: what is asked of a key goes to the worker of its side, so that both sides share every round.

The worker that is not asked waits without taking time from the other.
"""

from typing import Self

from mnsweep.cell import Deployment
from mnsweep.worker.base import Model
from mnsweep.worker.proxy import NewTimer, Timer
from mnsweep.worker.timing import Timing

SIDE_B = "@b"  # ends the keys of the second worker


class Pair:
    """The requests of a campaign, answered by two workers; a context manager that ends both."""

    def __init__(self, new_a: NewTimer, new_b: NewTimer) -> None:
        self._new = new_a, new_b

    def __enter__(self) -> Self:
        self._a: Timer = self._new[0]().__enter__()
        try:
            self._b: Timer = self._new[1]().__enter__()
        except BaseException:
            self._a.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._a.__exit__(*exc)
        self._b.__exit__(*exc)

    def ready(self) -> None:
        """Return when both have started."""
        self._a.ready()
        self._b.ready()

    def pin(self, threads: int) -> None:
        """Pin both to the same CPUs: they take turns."""
        self._a.pin(threads)
        self._b.pin(threads)

    def open(self, key: str, model: Model, deployment: Deployment) -> None:
        """See `Worker`."""
        self._of(key).open(key, model, deployment)

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """See `Worker`."""
        return self._of(key).time(key, min_runs, min_ms)

    def _of(self, key: str) -> Timer:
        return self._b if key.endswith(SIDE_B) else self._a
