"""The interface of a worker, and its implementation as a separate process."""

import contextlib
import errno
import pickle
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol, Self, TypeAlias

from mnsweep.cell import Deployment
from mnsweep.errors import UnavailableError
from mnsweep.graph.lowering import Range
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.base import Array, Fed, Input, Model, NodeTime, Offer
from mnsweep.worker.classify import Answers
from mnsweep.worker.isolated import isolated, origin
from mnsweep.worker.timing import Timing

COMMAND = isolated("mnsweep.worker.process")
PIPE_BYTES = 1 << 20  # what Linux lets every user have
START_TIMEOUT_S = 120.0  # to import a runtime from a cold disk


class CellError(Exception):
    """One cell could not be opened or run; the text is the reason."""


class WorkerLostError(CellError):
    """The worker process died, or was killed because it did not answer in time; the text says which."""


class NotStartedError(UnavailableError):
    """The worker process could not start."""


class Timer(Protocol):
    """A worker as far as a campaign needs it, within a `with` block. All methods raise `CellError` when a cell fails."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def ready(self) -> None:
        """Return when the worker has started and loaded its runtimes, or could not: from then on it waits."""

    def pin(self, threads: int) -> None:
        """Pin the worker to `threads` CPUs; the first request that it works on.

        Raises `NotStartedError` if the worker did not start, `UnavailableError` if it runs another mnsweep than this one.
        """

    def open(self, key: str, model: Model, deployment: Deployment) -> None:
        """Prepare a `model`, or that in a file, under `key`, with the precision, runtime and threads of `deployment`."""

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """Time one block of `key`: one run that is dropped, then at least `min_runs` runs and `min_ms`."""
        ...


class Worker(Timer, Protocol):
    """All requests that a worker answers, within a `with` block. All methods raise `CellError` when a cell fails."""

    def offer(self, runtime: str) -> Offer:
        """The version of a runtime and the precisions that run on this machine; loads the runtime, which may be slow."""
        ...

    def inputs(self, path: Path, runtime: str) -> list[Input]:
        """What a model file takes, as the runtime reads it."""
        ...

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, Range]:
        """(minimum, maximum) of every output of `model`, and of `image`, over all `images` (1, 3, R, R) float32."""
        ...

    def node_times(self, model: bytes, deployment: Deployment, runs: int) -> list[NodeTime]:
        """Nanoseconds per run of each operator, from the runtime's profiler, averaged over `runs`."""
        ...

    def bandwidth(self, threads: int) -> float:
        """Memory bandwidth in bytes per second, read plus written, of `threads` threads together."""
        ...

    def classifier(self, key: str, content: bytes, runtime: str, precision: str, threads: int) -> None:
        """Prepare a file that classifies under `key`; `runtime` may also be `litert`, for a TensorFlow Lite file."""

    def classify(self, key: str, pixels: Pixels, preprocessing: Preprocessing, *, has_softmax: bool) -> Answers:
        """The probabilities for pictures (n, R, R, 3), which are run one at a time; softmax is applied if the file has none."""
        ...


NewTimer: TypeAlias = Callable[[], Timer]
NewWorker: TypeAlias = Callable[[], Worker]


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold a megabyte where the system allows it: models of many megabytes are sent through it."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        fcntl = import_module("fcntl")
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class WorkerProcess:
    """The `Worker` that runs in a separate process; a context manager that ends the process on exit.

    Methods block, without spinning, until the answer arrives: the parent does nothing while the process times.
    They raise `CellError` when one cell fails, and `WorkerLostError` when the process is gone. The process is killed
    if an answer takes longer than `timeout_s`. It loads `runtimes` as it starts, and others with their first model.
    """

    def __init__(
        self, timeout_s: float = START_TIMEOUT_S, command: Sequence[str] = COMMAND, runtimes: Sequence[str] = ()
    ) -> None:
        self.timeout_s, self.command = timeout_s, (*command, *runtimes)

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            fix = "allow more of them: ulimit -n 1024" if error.errno == errno.EMFILE else "see 'mnsweep doctor'"
            raise NotStartedError(f"the process that measures could not start: {error.strerror}", fix) from None
        _widen(self._process.stdin)
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

    def ready(self) -> None:
        """See `Worker`."""
        with contextlib.suppress(CellError):
            self._ask(START_TIMEOUT_S, "origin")

    def pin(self, threads: int) -> None:
        """See `Worker`."""
        try:
            self._check_origin()
            self._ask(START_TIMEOUT_S, "pin", threads)
        except WorkerLostError as error:
            raise NotStartedError(f"the process that measures could not start: {error}", "see 'mnsweep doctor'") from None

    def _check_origin(self) -> None:
        """Raise `UnavailableError` unless the worker runs the mnsweep of this process: the same version in the same folder."""
        here = origin()
        try:
            there = self._ask(START_TIMEOUT_S, "origin")
        except WorkerLostError:
            raise
        except CellError:  # it does not know the request
            there = ("(an older version)", here[1])
        if there != here:
            (version, folder), (ours, our_folder) = there, here
            what = f"the process that measures runs mnsweep {version} in {folder}, this program mnsweep {ours} in {our_folder}"
            raise UnavailableError(what, "restart Python if mnsweep was updated meanwhile, or reinstall it: pip install .")

    def offer(self, runtime: str) -> Offer:
        """See `Worker`."""
        offer: Offer = self._ask(START_TIMEOUT_S, "offer", runtime)
        return offer

    def inputs(self, path: Path, runtime: str) -> list[Input]:
        """See `Worker`."""
        inputs: list[Input] = self._ask(START_TIMEOUT_S, "inputs", path, runtime)
        return inputs

    def open(self, key: str, model: Model, deployment: Deployment) -> None:
        """See `Worker`. A file that the worker process may not read is sent to it."""
        try:
            self._ask(self.timeout_s, "open", key, model, deployment)
        except WorkerLostError:
            raise
        except CellError:
            if isinstance(model, bytes | Fed):
                raise
            self._ask(self.timeout_s, "open", key, model.read_bytes(), deployment)

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

    def classifier(self, key: str, content: bytes, runtime: str, precision: str, threads: int) -> None:
        """See `Worker`."""
        self._ask(START_TIMEOUT_S, "classifier", key, content, runtime, precision, threads)

    def classify(self, key: str, pixels: Pixels, preprocessing: Preprocessing, *, has_softmax: bool) -> Answers:
        """See `Worker`."""
        answered: Answers = self._ask(START_TIMEOUT_S, "classify", key, pixels, preprocessing, has_softmax)
        return answered

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        """See `Worker`."""
        timing: Timing = self._ask(self.timeout_s + min_ms / 1e3, "time", key, min_runs, min_ms)
        return timing

    def _ask(self, timeout_s: float, *request: object) -> Any:
        try:
            self._send(request)
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

    def _send(self, request: tuple[object, ...]) -> None:
        try:
            pickle.dump(request, self._process.stdin)  # type: ignore[arg-type]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except MemoryError:  # half of the request may have been sent
            self._process.kill()
            raise WorkerLostError("there is too little memory to send the model to the worker process") from None

    def _obituary(self) -> str:
        """The exit status of the process and its last line on stderr, which explains a native crash."""
        status = self._process.wait()
        self._listeners[1].join()
        last = "".join(f" ({line.decode(errors='replace').strip()})" for line in self._complaints)
        return f"the worker process ended with exit status {status}{last}"

    def _collect(self, answers: IO[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._answers.put(pickle.load(answers))
        self._answers.put(None)
