"""The worker process, seen from its parent."""

import contextlib
import pickle
import queue
import subprocess
import sys
import threading
from typing import IO, Any, Self

from mnsweep.measure.timing import Timing


class CellError(Exception):
    """One cell could not be opened or run; the text is the reason."""


class WorkerDiedError(Exception):
    """The worker ended without an answer; the text says how."""


class Worker:
    """A worker process as a context manager: leaving it ends the process.

    `open` and `time` block until the answer is there, without spinning: while the worker times, its
    parent writes, draws and computes nothing. Both raise `CellError` when that one cell fails and
    `WorkerDiedError` when the process is gone.
    """

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "mnsweep.measure.worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answers: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._collect, args=(self._process.stdout,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def about(self) -> dict[str, str]:
        """Name and version of the runtime."""
        versions: dict[str, str] = self._ask("about", "")
        return versions

    def open(self, key: str, model: bytes, threads: int) -> None:
        """Make `model` ready to run under `key` with a pool of `threads`."""
        self._ask("open", key, model, threads)

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """Time one block of `key`: at least `min_runs` runs and `min_ms`, after one that is dropped."""
        timing: Timing = self._ask("time", key, min_runs, min_ms)
        return timing

    def _ask(self, *request: object) -> Any:
        try:
            pickle.dump(request, self._process.stdin)  # type: ignore[arg-type]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            raise self._died() from None
        answer = self._answers.get()
        if answer is None:
            raise self._died()
        outcome, value = answer
        if outcome == "failed":
            raise CellError(value)
        return value

    def _died(self) -> WorkerDiedError:
        return WorkerDiedError(f"the worker process ended with exit status {self._process.wait()}")

    def _collect(self, answers: IO[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._answers.put(pickle.load(answers))
        self._answers.put(None)
