"""Duet or interleaved? One network against itself, both ways in turns: how far the ratio of a process pair is off.

Duet (Bulej et al. 2020, arXiv 2001.05811): both sides run at the same moment, each pinned to a CPU of its own, and swap CPUs
in the next block, so that what disturbs the machine disturbs both. Interleaved, as `mnsweep compare --interleave` does: they
take turns on one CPU. Both get the same wall time of blocks.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

import numpy as np

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.prepare.models import Prepared
from mnsweep.worker.proxy import WorkerProcess
from tests.bench.figure import Figures

PAIRS, BLOCKS = 12, 24  # pairs of processes each way; blocks of each side in one pair
BLOCK_MS = 20.0
ONE = Deployment(pad="none")


def ratio_of_pair(model: bytes, duet: bool) -> float:
    """The log ratio of two processes that run the same model, as the median over blocks."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with ExitStack() as kept:
        workers = [kept.enter_context(WorkerProcess()) for _ in range(2)]
        pool = kept.enter_context(ThreadPoolExecutor(2))
        for worker in workers:
            worker.pin(1)
            worker.open("m", model, ONE)
            worker.time("m", 3, 100)
        pids = [worker._process.pid for worker in workers]
        logs = []
        for block in range(BLOCKS):
            places = (cpus if block % 2 else cpus[::-1]) if duet else [cpus[block % 2]] * 2
            for pid, cpu in zip(pids, places, strict=True):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), {cpu})
            logs.append(_block(workers, pool, duet, first=block % 2))
        return median(logs)


def _block(workers: list[WorkerProcess], pool: ThreadPoolExecutor, duet: bool, first: int) -> float:
    times: list[Callable[[], float]] = [lambda w=w: median(w.time("m", 5, BLOCK_MS).samples_ns) for w in workers]  # type: ignore[misc]
    if duet:
        a, b = pool.map(lambda time: time(), times)
    elif first:
        b, a = times[1](), times[0]()
    else:
        a, b = times[0](), times[1]()
    return float(np.log(b / a))


if __name__ == "__main__":
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two CPUs are needed")
    figures = Figures()
    for alpha, resolution in ((0.5, 160), (1.0, 224)):
        cell = Cell(Design.of(alpha, resolution), ONE)
        model = Prepared(weight_bits=8, channels={cell.id: {}}).model_of(cell)
        off: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(PAIRS):
            for duet in (True, False):
                off[duet].append(ratio_of_pair(model, duet))
        for duet, name in ((True, "duet"), (False, "interleaved")):
            spread = 100 * float(np.std(off[duet], ddof=1))
            figures.report(f"({alpha}, {resolution}) {name}: spread of a pair's ratio", spread, "%")
            figures.report(f"({alpha}, {resolution}) {name}: mean ratio", 100 * float(np.mean(off[duet])), "% from 1")
    figures.finish()
