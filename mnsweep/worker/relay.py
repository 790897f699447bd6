"""Worker processes in turn: the next one starts and loads its runtimes while the current one opens its models.

Starting a process and loading a runtime take some tenths of a second of CPU time. That is spent while nothing is timed, and on
another CPU where there is one; then the process waits until its turn, and takes no time from what is measured.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from mnsweep.errors import UnavailableError
from mnsweep.worker.proxy import NewTimer, Timer


class Relay:
    """One worker at its turn, and at most one that waits; a context manager that ends the latter."""

    def __init__(self, new_worker: NewTimer) -> None:
        self.new_worker = new_worker
        self._waiting: Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._waiting is not None:
            self._waiting.__exit__(kind, error, trace)
            self._waiting = None

    @contextmanager
    def turn(self) -> Iterator[Timer]:
        """The worker that waits, or a new one; it ends with the body. Raises `NotStartedError`."""
        worker, self._waiting = self._waiting or self.new_worker().__enter__(), None
        try:
            yield worker
        finally:
            worker.__exit__(None, None, None)

    def start_next(self) -> None:
        """Start the worker of the next turn; where that fails, the next turn says so."""
        if self._waiting is None:
            with suppress(UnavailableError):
                self._waiting = self.new_worker().__enter__()

    def await_next(self) -> None:
        """Return when the worker of the next turn, if it was started, does nothing any more."""
        if self._waiting is not None:
            self._waiting.ready()
