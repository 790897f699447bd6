"""What runs on the workers of a Dask cluster: functions of modules, with arguments that are texts."""

import contextlib
import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from mnsweep.decoding import from_json
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.fleet.agent import COMMAND, LONGEST_TEXT, RESULTS, converse, hello
from mnsweep.fleet.messages import encoded
from mnsweep.fleet.trouble import PARTIAL

FIRST_WORD_S = 60.0
SILENCE_S = 600.0  # far more than an agent itself waits for
INSTALL = "pip install 'mnsweep[fleet]'"
OF_THE_NANNY = ("MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CPUS = "MNSWEEP_CPUS"  # environment variable of a worker: its share of the CPUs, e.g. 0,1


class Errand(msgspec.Struct, frozen=True):
    """A command for a worker: its `words`, on `threads` of the worker's CPUs; the files that it `needs` to reach there."""

    name: str
    words: tuple[str, ...]
    threads: int
    needs: tuple[str, ...] = ()


def greet() -> str:
    """What machine the worker runs on, as a message."""
    return encoded(hello(Path(RESULTS).expanduser())).decode()


def own_cpus() -> str:
    """The CPUs that the worker may use, e.g. 0,1: its share, or else those of its process."""
    share = os.environ.get(CPUS)
    return share or ",".join(map(str, sorted(os.sched_getaffinity(0))))


def forget_the_nanny() -> None:
    """Drop what Dask's nanny puts into the environment: its setting of the allocator alone doubles the time of a training."""
    for name in OF_THE_NANNY:
        os.environ.pop(name, None)


def serve(requests: str, answers: str) -> None:
    """Serve one client as an agent, through two queues of the scheduler by their names."""
    forget_the_nanny()
    incoming, outgoing = _queue(requests), _queue(answers)
    heard = False

    def read() -> bytes:
        nonlocal heard
        try:
            line = str(incoming.get(timeout=SILENCE_S if heard else FIRST_WORD_S)).encode()
        except (TimeoutError, OSError):
            return b""
        heard = True
        return line

    converse(read, lambda line: outgoing.put(line.decode(), timeout=SILENCE_S), lambda: None)


def run(text: str, said: str) -> str:
    """Run an `Errand`, as a process of its own, and pass on what it says through the queue `said`.

    Raises `MnsweepError`, with what the command said last, where it fails.
    """
    forget_the_nanny()
    errand = from_json(text, Errand)
    if lacking := [path for path in errand.needs if not Path(path).exists()]:
        raise MnsweepError(f"{lacking[0]}: is not there", "put it there, or on a disk that all workers share")
    cpus = [int(cpu) for cpu in own_cpus().split(",")][: errand.threads]
    told, last = _queue(said), ""
    with subprocess.Popen(
        [*COMMAND, *errand.words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    ) as process:
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        for line in process.stderr:
            if line := line[:LONGEST_TEXT].strip().removeprefix(f"{errand.name}: "):
                last = line
                with contextlib.suppress(TimeoutError, OSError):
                    told.put(f"{errand.name}\t{line}", timeout=1.0)
    if process.returncode not in (0, PARTIAL):
        raise MnsweepError(last.removeprefix("mnsweep: ") or f"ended with status {process.returncode}")
    return str(process.returncode)


def dask() -> Any:
    """The library. Raises `UnavailableError` where it is not installed."""
    try:
        return import_module("distributed")
    except ImportError:
        raise UnavailableError("`fleet` needs dask.distributed, which is not installed", INSTALL) from None


def _queue(name: str) -> Any:
    return dask().Queue(name, client=dask().get_client())
