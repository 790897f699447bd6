"""Probe which channel counts are fast in a runtime: time chains of layers in interleaved rounds.

`arch/channel_padding.py` defines the chains; this module receives them as ONNX files and returns milliseconds.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from statistics import median

from mnsweep.cell import Deployment
from mnsweep.measure.rounds import Rounds, Rules
from mnsweep.record import Block, Failure
from mnsweep.worker.proxy import CellError, Worker

ROUNDS = 9
RULES = replace(Rules(), block_ms=4.0, warmup_ms=10.0)  # a chain takes about a millisecond


def probe(
    worker: Worker, models: Mapping[int, bytes], deployment: Deployment, *, clock: Callable[[], float] = time.monotonic
) -> dict[int, float]:
    """Time `models` (ONNX files by channel count) as `deployment` specifies; returns milliseconds by channel count.

    Takes about a second. Raises `CellError` if a model does not run.
    """
    names = {f"{deployment.runtime} {deployment.precision} chain of {count}": count for count in models}
    for name, count in names.items():
        worker.open(name, models[count], deployment)
    medians: dict[str, list[float]] = {name: [] for name in names}

    def take(record: object) -> None:
        if isinstance(record, Failure):
            raise CellError(record.reason)
        if isinstance(record, Block) and not record.canary:
            medians[record.cell].append(median(record.samples_ns))

    canary = next(iter(names))
    rounds = Rounds(process=0, time=worker.time, sink=take, rules=RULES, rng=Random(0), clock=clock, canary=canary)
    rounds.run(list(names), lambda done: list(names) if done < ROUNDS else [])
    return {count: median(medians[name]) / 1e6 for name, count in names.items()}
