"""Scale: counting 100,000 designs as CSV; rebuilding and resuming a folder of 500,000 blocks of 1,900 cells.

    python -m tests.bench.scale [FOLDER]     FOLDER keeps the made-up sweep for another run

Seconds are of processor time, in one process that does nothing else; memory is that process's peak.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from mnsweep.cell import Cell
from mnsweep.machine.fingerprint import read_machine
from mnsweep.record import Block, Process, Record, to_line
from mnsweep.space import Space
from mnsweep.sweep.file import Sweep, write_sweep
from mnsweep.sweep.store import BLOCKS, SWEEP, SweepFolder
from tests.bench.figure import Figures

CELLS, BLOCKS_IN_ALL, PROCESSES, RUNS = 1_900, 500_000, 6, 5
COUNT = ("count", "--alpha", "0.25:1.2475:0.0025", "--res", "128:378:1", "--max-designs", "200000", "--csv")
RESUME = """
import sys
from pathlib import Path
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.session import Session
from mnsweep.sweep.file import read_sweep
from mnsweep.sweep.store import SWEEP, SweepFolder

folder = SweepFolder(Path(sys.argv[1]))
session = Session(sweep=read_sweep(folder.path / SWEEP), folder=folder, machine=read_machine(), rules=Rules())
assert session.plan(session.asked).kept > 0
"""


def cells() -> tuple[Cell, ...]:
    return Space(alpha="0.25:1.0:0.01", res="104:224:5").cells()[:CELLS]


def records() -> Iterator[Record]:
    """Processes whose rounds move by 2 %, processes by 1 %, and runs by 3 %; deterministic."""
    random, ids = np.random.default_rng(0), [cell.id for cell in cells()]
    ns = np.exp(random.uniform(np.log(4e5), np.log(2e7), len(ids)))
    rounds = -(-BLOCKS_IN_ALL // (len(ids) * PROCESSES))
    for process in range(1, PROCESSES + 1):
        shared: dict[str, str | int | float] = {"onnxruntime": "made-up 1", "seed": 0}
        yield Process(number=process, started_at=f"2025-01-0{process}T12:00:00+00:00", settings=shared, cells=tuple(ids))
        ns_here, at_s = ns * np.exp(random.normal(0, 0.01, len(ids))), 0.0
        for number in range(1, rounds + 1):
            speed = np.exp(random.normal(0, 0.02))
            for i in random.permutation(len(ids)):
                first, *samples = map(int, ns_here[i] * speed * np.exp(random.normal(0, 0.03, 1 + RUNS)))
                at_s += (first + sum(samples)) / 1e9
                yield Block(cell=ids[i], process=process, round=number, at_s=at_s, first_ns=first, samples_ns=tuple(samples))


def write_folder(folder: SweepFolder) -> None:
    """Records by thousands: a line at a time, each on disk before the next, would take an hour."""
    folder.write_machine(read_machine())
    folder.replace(SWEEP, write_sweep(Sweep(folder.sweep, cells())))
    blocks_left = islice(records(), BLOCKS_IN_ALL + PROCESSES)
    with (folder.path / BLOCKS).open("w") as file:
        while lines := [to_line(record) for record in islice(blocks_left, 1_000)]:
            file.writelines(lines)


def cost_of(*arguments: str) -> tuple[float, float]:
    """Processor seconds and peak MB of one Python process; its output is thrown away."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, (arguments, status)
    unit = 1 if sys.platform == "darwin" else 1024
    return used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6


def measure(folder: SweepFolder, figures: Figures) -> None:
    counting_s, _ = cost_of("-m", "mnsweep", *COUNT)
    figures.at_most("mnsweep count --csv of 100,000 designs", counting_s, 3.0, "s")
    rebuild_s, rebuild_mb = cost_of("-m", "mnsweep", "rebuild", str(folder.path))
    figures.at_most("mnsweep rebuild of 500,000 blocks of 1,900 cells", rebuild_s, 20.0, "s")
    figures.at_most("its peak memory", rebuild_mb, 400.0, "MB")
    resume_s, resume_mb = cost_of("-c", RESUME, str(folder.path))
    figures.at_most("opening it as a session, and planning", resume_s, 20.0, "s")
    figures.at_most("its peak memory", resume_mb, 400.0, "MB")


if __name__ == "__main__":
    figures = Figures()
    with tempfile.TemporaryDirectory() as temporary:
        folder = SweepFolder(Path(*sys.argv[1:2] or [temporary]) / "scale" / read_machine().key)
        if not folder.has(BLOCKS):
            write_folder(folder)
        measure(folder, figures)
    figures.finish()
