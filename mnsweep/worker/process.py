"""The process that times, and does nothing else: `python -m mnsweep.worker.process`.

It answers one request at a time over its standard input and output, pickled: `pin` keeps it on some CPUs, `open`
makes a model ready to run, `time` times one block of it. Beside timing it answers what only a runtime knows: what
runs on this machine, what values the feature maps of a network take, where the time of a run goes. When its parent
is gone, in whatever way, its input ends and it leaves at once, even from inside a run that hangs. The parent's side
is `proxy.py`.
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
from dataclasses import replace
from typing import IO, Any

from mnsweep.cell import Deployment
from mnsweep.graph.lowering import Range
from mnsweep.machine.disturbance import Counters, pin
from mnsweep.worker.bandwidth import bandwidth
from mnsweep.worker.base import Array, NodeTime, Offer, Run, random_images, ready
from mnsweep.worker.ranges import ranges
from mnsweep.worker.runtimes import load, offer
from mnsweep.worker.timing import Timing, time_block


def answer_requests(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer (verb, *arguments) with ("done", value) or ("failed", reason), for ever."""
    inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox.put), daemon=True).start()
    bench = _Bench()
    while True:
        verb, *arguments = inbox.get()
        try:
            answer = ("done", getattr(bench, verb)(*arguments))
        except Exception as error:  # whatever a runtime raises is one cell's reason, and no cause to die
            answer = ("failed", f"{type(error).__name__}: {error}".splitlines()[0])
        pickle.dump(answer, answers)
        answers.flush()


def _receive(requests: IO[bytes], put: Callable[[tuple[Any, ...]], None]) -> None:
    try:
        while True:
            put(pickle.load(requests))
    finally:
        os._exit(0)  # the parent is gone


def open_ready(model: bytes, deployment: Deployment) -> Run:
    """What is timed: `model` in its runtime, on one fixed random image batch."""
    return ready(load(deployment.runtime).open(model, deployment.precision, deployment.threads))


class _Bench:
    """The open models, by key; its public methods are the verbs."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.home = Counters.read()

    def pin(self, threads: int) -> None:
        pin(threads)
        self.home = Counters.read()

    def open(self, key: str, model: bytes, deployment: Deployment) -> None:
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

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        before, began = replace(Counters.read(), cpus=self.home.cpus), time.perf_counter()
        timing = time_block(self.runs[key], min_runs, min_ms, time.perf_counter_ns)
        elapsed_ms = 1e3 * (time.perf_counter() - began)
        return replace(timing, disturbed=timing.disturbed + Counters.read().disturbed_since(before, elapsed_ms))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    gc.disable()
    answers_to_parent = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints must not fall among the answers
    answer_requests(sys.stdin.buffer, answers_to_parent)
