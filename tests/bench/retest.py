"""Does a second sweep say the same? The 16-cell sweep and one-after-another timing, alternating, five times each.

Deviation is a cell's latency relative to the geometric mean of its repeat, against that cell's mean over
repeats. Also: how long a sweep takes to settle, and the share of its time that is spent running networks.
With `--disturbed` two noisy neighbours take the CPUs in bursts, the same for both ways of timing.
"""

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mnsweep.measure.record import Block
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.store import CELLS, SweepFolder
from tests.bench.figure import Figures

REPEATS = 5
Latencies = dict[str, float]


def sweep(folder: Path) -> tuple[Latencies, float, SweepFolder]:
    """Latency of each cell by `mnsweep grid`, its wall time in s, and where it is."""
    began = time.perf_counter()
    program = str(Path(sys.executable).with_name("mnsweep"))
    command = [program, "grid", "--sweep", "paper", "--time-budget-s", "60", "-q"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - began
    (cells,) = folder.glob(f"results/*/*/{CELLS}")
    results = from_csv(cells.read_text(), cells)
    return {r.cell: r.latency_p50_ms or 0 for r in results}, wall_s, SweepFolder(cells.parent)


def one_after_another(seconds: float) -> Latencies:
    """The usual script in a fresh process: 10 warm-ups, then the median of what fits into its share of `seconds`."""
    command = [sys.executable, "-m", "tests.bench.one_after_another", str(seconds)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(lines[::2], map(float, lines[1::2]), strict=True))


def deviations_pct(repeats: list[Latencies]) -> np.ndarray:
    """(repeats, cells) in percent."""
    logs = np.log([[latencies[cell] for cell in sorted(repeats[0])] for latencies in repeats])
    relative = logs - logs.mean(axis=1, keepdims=True)
    return np.asarray(100 * np.abs(relative - relative.mean(axis=0)))


def share_running(folder: SweepFolder) -> float:
    """Share of the time from the first block to the last, over all processes, that was spent in the runtime."""
    spans: dict[int, list[Block]] = defaultdict(list)
    for block in folder.read().blocks:
        spans[block.process].append(block)
    running_s = sum(b.first_ns + sum(b.samples_ns) for its in spans.values() for b in its) / 1e9
    wall_s = sum(its[-1].at_s - its[0].at_s + (its[-1].first_ns + sum(its[-1].samples_ns)) / 1e9 for its in spans.values())
    return running_s / wall_s


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many noisy neighbours while the body runs."""
    command = [sys.executable, "-m", "tests.bench.neighbour"]
    processes = [subprocess.Popen([*command, str(seed)]) for seed in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(figures: Figures, disturbed: bool) -> None:
    """Both ways of timing in turn, `REPEATS` times."""
    ours, theirs = list[Latencies](), list[Latencies]()
    walls, shares = list[float](), list[float]()
    for repeat in range(REPEATS):
        with tempfile.TemporaryDirectory() as scratch:
            latencies, wall_s, folder = sweep(Path(scratch))
            shares.append(share_running(folder))
        ours.append(latencies)
        walls.append(wall_s)
        theirs.append(one_after_another(wall_s))
        print(f"repeat {repeat + 1}: sweep in {wall_s:.1f} s, {100 * shares[-1]:.0f} % of it running networks", flush=True)
    sweep_pct, baseline_pct = deviations_pct(ours), deviations_pct(theirs)
    figures.report("one after another: mean deviation", baseline_pct.mean(), "%")
    figures.report("one after another: worst cell", baseline_pct.mean(axis=0).max(), "%")
    if disturbed:
        figures.report("sweep: mean deviation", sweep_pct.mean(), "%")
        figures.report("sweep: worst cell", sweep_pct.mean(axis=0).max(), "%")
    else:
        figures.at_most("sweep: mean deviation", sweep_pct.mean(), 0.5, "%")
        figures.at_most("sweep: worst cell", sweep_pct.mean(axis=0).max(), 1.2, "%")
    if baseline_pct.mean() <= 0.5:
        print("           the machine is so quiet that one after another does as well")
    else:
        figures.at_most("sweep's mean against one after another's", sweep_pct.mean() / baseline_pct.mean(), 1 / 3, "×")
    if not disturbed:
        figures.at_most("wall time until 16 cells settle at 1 %", float(np.median(walls)), 60, "s")
        figures.at_least("share of the time spent inside session.run", 100 * float(np.median(shares)), 85, "%")


if __name__ == "__main__":
    found = Figures()
    disturbed_too = "--disturbed" in sys.argv
    with neighbours(2 if disturbed_too else 0):
        compare(found, disturbed_too)
    found.finish()
