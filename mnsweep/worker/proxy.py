"""A worker as whoever measures sees it, and the real one: a process of its own."""

import contextlib
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol, Self, TypeAlias

from mnsweep.cell import Deployment
from mnsweep.errors import UnavailableError
from mnsweep.graph.lowering import Range
from mnsweep.worker.base import Array, NodeTime, Offer
from mnsweep.worker.timing import Timing

COMMAND = (sys.executable, "-m", "mnsweep.worker.process")
START_TIMEOUT_S = 120.0  # to import a runtime from a cold disk


class CellError(Exception):
    """One cell could not be opened or run; the text is the reason."""


class WorkerLostError(CellError):
    """The worker died, or was ended because it gave no answer in time; the text says which."""


class NotStartedError(UnavailableError):
    """The process that measures could not start."""


class Worker(Protocol):
    """What can be asked of a worker, inside a `with` block. All methods raise `CellError` where one cell fails."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def pin(self, threads: int) -> None:
        """Keep the worker on as many CPUs as `threads`. Raises `NotStartedError` when the worker did not start."""

    def offer(self, runtime: str) -> Offer:
        """The version of a runtime and the precisions that run on this machine; it is loaded, which may take a while."""
        ...

    def open(self, key: str, model: bytes, deployment: Deployment) -> None:
        """Make an ONNX `model` ready to run under `key`, at the precision, in the runtime and on the threads asked for."""

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, Range]:
        """Least and greatest value of every output of `model`, and of the images, over all `images` (1, 3, R, R)."""
        ...

    def node_times(self, model: bytes, deployment: Deployment, runs: int) -> list[NodeTime]:
        """Nanoseconds of each operator by the runtime's own profiler, averaged over `runs`."""
        ...

    def bandwidth(self, threads: int) -> float:
        """Bytes per second that `threads` threads read and write together, from and to memory."""
        ...

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """Time one block of `key`: at least `min_runs` runs and `min_ms`, after one run that is dropped."""
        ...


NewWorker: TypeAlias = Callable[[], Worker]


class WorkerProcess:
    """The `Worker` that really measures, as a context manager: leaving it ends the process.

    Its methods block until the answer is there, without spinning: while the process times, its parent writes,
    draws and computes nothing. They raise `CellError` when that one cell fails, and `WorkerLostError` when the
    process is gone; an answer that takes longer than `timeout_s` ends it.
    """

    def __init__(self, timeout_s: float = START_TIMEOUT_S, command: Sequence[str] = COMMAND) -> None:
        self.timeout_s, self.command = timeout_s, command

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

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def pin(self, threads: int) -> None:
        """See `Worker`."""
        try:
            self._ask(START_TIMEOUT_S, "pin", threads)
        except WorkerLostError as error:
            raise NotStartedError(f"the process that measures could not start: {error}", "see 'mnsweep doctor'") from None

    def offer(self, runtime: str) -> Offer:
        """See `Worker`."""
        offer: Offer = self._ask(START_TIMEOUT_S, "offer", runtime)
        return offer

    def open(self, key: str, model: bytes, deployment: Deployment) -> None:
        """See `Worker`."""
        self._ask(self.timeout_s, "open", key, model, deployment)

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, Range]:
        """See `Worker`."""
        ranges: dict[str, Range] = self._ask(self.timeout_s, "ranges", model, images)
        return ranges

    def node_times(self, model: bytes, deployment: Deployment, runs: int) -> list[NodeTime]:
        """See `Worker`."""
        times: list[NodeTime] = self._ask(self.timeout_s, "node_times", model, deployment, runs)
        return times

    def bandwidth(self, threads: int) -> float:
        """See `Worker`."""
        bytes_per_s: float = self._ask(self.timeout_s, "bandwidth", threads)
        return bytes_per_s

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """See `Worker`."""
        timing: Timing = self._ask(self.timeout_s + min_ms / 1e3, "time", key, min_runs, min_ms)
        return timing

    def _ask(self, timeout_s: float, *request: object) -> Any:
        try:
            pickle.dump(request, self._process.stdin)  # type: ignore[arg-type]
            self._process.stdin.flush()  # type: ignore[union-attr]
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self._process.kill()
            raise WorkerLostError(f"no answer within {timeout_s:.3g} s (`cell_timeout_s`)") from None
        except OSError:
            answer = None
        if answer is None:
            raise WorkerLostError(self._obituary())
        outcome, value = answer
        if outcome == "failed":
            raise CellError(value)
        return value

    def _obituary(self) -> str:
        """How the process ended, with the last thing it said on stderr: a native crash says why there."""
        status = self._process.wait()
        self._listeners[1].join()
        last = "".join(f" ({line.decode(errors='replace').strip()})" for line in self._complaints)
        return f"the worker process ended with exit status {status}{last}"

    def _collect(self, answers: IO[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._answers.put(pickle.load(answers))
        self._answers.put(None)
