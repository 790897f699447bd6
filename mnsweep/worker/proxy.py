"""The worker process, seen from its parent."""

import contextlib
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Any, ClassVar, Self

from mnsweep.cell import Deployment
from mnsweep.errors import UnavailableError
from mnsweep.graph.lowering import Range
from mnsweep.worker.base import Array, NodeTime, Offer
from mnsweep.worker.timing import Timing

START_TIMEOUT_S = 120.0  # to import a runtime from a cold disk


class CellError(Exception):
    """One cell could not be opened or run; the text is the reason."""


class WorkerLostError(CellError):
    """The worker died, or was ended because it gave no answer in time; the text says which."""


class Worker:
    """A worker process as a context manager: leaving it ends the process.

    Its methods block until the answer is there, without spinning: while the worker times, its parent writes,
    draws and computes nothing. They raise `CellError` when that one cell fails, and `WorkerLostError` when the
    process is gone; an answer that takes longer than `timeout_s` ends it.
    """

    command: ClassVar = [sys.executable, "-m", "mnsweep.worker.process"]

    def __init__(self, timeout_s: float = START_TIMEOUT_S) -> None:
        self.timeout_s = timeout_s

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._complaints: deque[bytes] = deque(maxlen=1)
        self._answers: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        listeners = {self._collect: self._process.stdout, self._complaints.extend: self._process.stderr}
        self._listeners = [threading.Thread(target=f, args=(pipe,), daemon=True) for f, pipe in listeners.items()]
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        for listener in self._listeners:
            listener.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def pin(self, threads: int) -> None:
        """Keep the worker on as many CPUs as `threads`. Raises `UnavailableError` when the worker did not start."""
        try:
            self._ask(START_TIMEOUT_S, "pin", threads)
        except WorkerLostError as error:
            raise UnavailableError(f"the process that times could not start: {error}; see 'mnsweep doctor'") from None

    def offer(self, runtime: str) -> Offer:
        """What a runtime offers here; it is loaded, which may take a while."""
        offer: Offer = self._ask(START_TIMEOUT_S, "offer", runtime)
        return offer

    def open(self, key: str, model: bytes, how: Deployment) -> None:
        """Make `model` ready to run under `key`, at the precision, in the runtime and on the threads of `how`."""
        self._ask(self.timeout_s, "open", key, model, how)

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, Range]:
        """Least and greatest value of every output of `model`, and of the images, over all `images` (batches of one)."""
        found: dict[str, Range] = self._ask(self.timeout_s, "ranges", model, images)
        return found

    def node_times(self, model: bytes, how: Deployment, runs: int) -> list[NodeTime]:
        """Where the time of a run goes, operator by operator, by the runtime's own account, averaged over `runs`."""
        times: list[NodeTime] = self._ask(self.timeout_s, "node_times", model, how, runs)
        return times

    def bandwidth(self, threads: int) -> float:
        """Bytes per second that so many threads read and write together, from and to memory."""
        found: float = self._ask(self.timeout_s, "bandwidth", threads)
        return found

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """Time one block of `key`: at least `min_runs` runs and `min_ms`, after one that is dropped."""
        timing: Timing = self._ask(self.timeout_s + min_ms / 1e3, "time", key, min_runs, min_ms)
        return timing

    def _ask(self, timeout_s: float, *request: object) -> Any:
        try:
            pickle.dump(request, self._process.stdin)  # type: ignore[arg-type]
            self._process.stdin.flush()  # type: ignore[union-attr]
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self._process.kill()
            raise WorkerLostError(f"no answer within {timeout_s:.3g} s (--cell-timeout-s)") from None
        except OSError:
            answer = None
        if answer is None:
            raise WorkerLostError(self._obituary())
        outcome, value = answer
        if outcome == "failed":
            raise CellError(value)
        return value

    def _obituary(self) -> str:
        """How the worker ended, with the last thing it said on stderr: a native crash says why there."""
        status = self._process.wait()
        self._listeners[1].join()
        last = "".join(f" ({line.decode(errors='replace').strip()})" for line in self._complaints)
        return f"the worker process ended with exit status {status}{last}"

    def _collect(self, answers: IO[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._answers.put(pickle.load(answers))
        self._answers.put(None)
