"""The worker process, which only times models; `isolated.py` starts it, and its arguments are runtimes to load at once.

It answers one pickled request at a time over standard input and output. `origin` says which mnsweep it runs, `pin` pins it
to CPUs, `open` prepares a model, `time` times one block. Other requests need a loaded runtime: what runs on this machine
(`offer`), the ranges of feature maps (`ranges`), the time of each operator (`node_times`), answers about pictures
(`classifier`, `classify`); `bandwidth` measures memory bandwidth.
When the parent exits for any reason, the input ends and the worker exits at once, even during a run that hangs.
`proxy.py` is the parent's side.
"""

import gc
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from mnsweep.cell import Deployment
from mnsweep.graph.lowering import Range
from mnsweep.machine.cycles import CycleCounter
from mnsweep.machine.disturbance import Counters, pin
from mnsweep.machine.telemetry import Telemetry
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.bandwidth import bandwidth
from mnsweep.worker.base import Array, Fed, FileRuntime, Input, Model, NodeTime, Offer, Run, random_images, ready
from mnsweep.worker.classify import Answers, Runner, answers, runner
from mnsweep.worker.isolated import Origin, origin
from mnsweep.worker.ranges import ranges
from mnsweep.worker.runtimes import load, offer
from mnsweep.worker.timing import Timing, time_block


def answer_requests(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer each request (verb, *arguments) with ("done", value) or ("failed", reason), until the input ends."""
    inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox.put), daemon=True).start()
    bench = _Bench()
    while True:
        verb, *arguments = inbox.get()
        try:
            answer = ("done", getattr(bench, verb)(*arguments))
        except Exception as error:  # an error in a runtime fails only one cell; the worker goes on
            answer = ("failed", f"{type(error).__name__}: {error}".splitlines()[0])
        pickle.dump(answer, answers)
        answers.flush()


def _receive(requests: IO[bytes], put: Callable[[tuple[Any, ...]], None]) -> None:
    try:
        while True:
            put(pickle.load(requests))
    finally:
        os._exit(0)  # the parent is gone


def open_ready(model: Model, deployment: Deployment) -> Run:
    """The callable to be timed: runs `model` as `deployment` specifies, on its feeds or one fixed random batch of images."""
    if isinstance(model, Fed):
        return fed_ready(file_runtime(deployment.runtime), model, deployment)
    return ready(load(deployment.runtime).open(model, deployment.precision, deployment.threads))


def file_runtime(name: str) -> FileRuntime:
    """The runtime, where it times files of anyone's. Raises `ValueError` where it does not."""
    runtime = load(name)
    if not isinstance(runtime, FileRuntime):
        raise ValueError(f"{name} times only networks that mnsweep builds")
    return runtime


def fed_ready(runtime: FileRuntime, fed: Fed, deployment: Deployment) -> Run:
    """The callable to be timed. Raises `ValueError` where an output is not a number: special values have special speeds."""
    run, outputs = runtime.open_fed(fed, deployment.precision, deployment.threads)
    if any(output.dtype.kind == "f" and np.isnan(output).any() for output in outputs()):
        raise ValueError("an output is not a number: give an input like the real ones")
    return run


class _Bench:
    """The open models by key; its public methods are the verbs of requests."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.classifiers: dict[str, Runner] = {}
        self.home = Counters.read()
        self.cycles = _cycle_counter()  # before any runtime starts its threads
        self.telemetry = Telemetry(self.home.cpus, cycles=self.cycles)

    def origin(self) -> Origin:
        return origin()

    def pin(self, threads: int) -> None:
        pin(threads)
        self.home = Counters.read()
        self.telemetry.close()
        self.telemetry = Telemetry(self.home.cpus, cycles=self.cycles)

    def inputs(self, path: Path, runtime: str) -> list[Input]:
        return file_runtime(runtime).inputs(path)

    def open(self, key: str, model: Model, deployment: Deployment) -> None:
        self.runs[key] = open_ready(model, deployment)
        gc.freeze()

    def offer(self, runtime: str) -> Offer:
        return offer(runtime)

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, Range]:
        return ranges(model, images)

    def node_times(self, model: bytes, deployment: Deployment, runs: int) -> list[NodeTime]:
        runtime = load(deployment.runtime)
        session = runtime.open(model, deployment.precision, deployment.threads, profiled=True)
        return session.node_times(random_images(session.shape), runs)

    def bandwidth(self, threads: int) -> float:
        return bandwidth(threads)

    def classifier(self, key: str, content: bytes, runtime: str, precision: str, threads: int) -> None:
        self.classifiers[key] = runner(content, runtime, precision, threads)

    def classify(self, key: str, pixels: Pixels, preprocessing: Preprocessing, has_softmax: bool) -> Answers:
        return answers(self.classifiers[key], pixels, preprocessing, has_softmax=has_softmax)

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        snapshot, before = self.telemetry.read(), replace(Counters.read(), cpus=self.home.cpus)
        began = time.perf_counter()
        timing = time_block(self.runs[key], min_runs, min_ms, time.perf_counter_ns)
        elapsed_ms = 1e3 * (time.perf_counter() - began)
        disturbed = timing.disturbed + Counters.read().disturbed_since(before, elapsed_ms)
        machine = self.telemetry.told(1 + len(timing.samples_ns), snapshot, self.telemetry.read())
        return replace(timing, disturbed=disturbed, machine=machine)


def _cycle_counter() -> CycleCounter | None:
    try:
        return CycleCounter()
    except OSError:
        return None  # doctor says why


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    gc.disable()
    answers_to_parent = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output printed by a runtime must not mix with the answers
    for name in sys.argv[2:]:
        with suppress(Exception):  # whoever opens a model with it is told why
            load(name)
    answer_requests(sys.stdin.buffer, answers_to_parent)
