"""Which channel counts a runtime likes: chains of layers, timed in interleaved rounds.

The chains are `arch/channel_padding.py`'s; this module gets them as ONNX files and gives their milliseconds back.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from statistics import median

from mnsweep.cell import Deployment
from mnsweep.measure.record import Block, Failure
from mnsweep.measure.rounds import Rounds, Rules
from mnsweep.worker.proxy import CellError, Worker

ROUNDS = 9
RULES = replace(Rules(), block_ms=4.0, warmup_ms=10.0)  # a chain takes about a millisecond


def probe(
    worker: Worker, models: Mapping[int, bytes], how: Deployment, clock: Callable[[], float] = time.monotonic
) -> dict[int, float]:
    """Milliseconds of each model, by its channel count, in the runtime and at the precision of `how`.

    About a second. Raises `CellError` when one does not run.
    """
    names = {f"{how.runtime} {how.precision} chain of {count}": count for count in models}
    for name, count in names.items():
        worker.open(name, models[count], how)
    medians: dict[str, list[float]] = {name: [] for name in names}

    def take(record: object) -> None:
        if isinstance(record, Failure):
            raise CellError(record.reason)
        if isinstance(record, Block) and not record.canary:
            medians[record.cell].append(median(record.samples_ns))

    rounds = Rounds(0, worker.time, take, RULES, Random(0), clock, canary=next(iter(names)))
    rounds.run(list(names), lambda done: list(names) if done < ROUNDS else [])
    return {count: median(medians[name]) / 1e6 for name, count in names.items()}
