"""Does a second sweep say the same, and how long does it take? The 16-cell sweep several ways, alternating, five times each.

The ways: until the frontier is decided (the default), until each interval is ± 1 % (`--ci-pct 1`), and the usual script, one
model after another, in the time of the latter. With `--against PROGRAM`, the `mnsweep` of another checkout joins in: then the
same intervals must take at most 0.45 times its time. Deviation is a cell's latency relative to the geometric mean of its
repeat, against that cell's mean over repeats. With `--disturbed`, two noisy neighbours take the CPUs in bursts,
the same for all ways.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from mnsweep.record import Block
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.store import CELLS, SweepFolder
from tests.bench.figure import Figures

PROGRAM = str(Path(sys.executable).with_name("mnsweep"))
DECIDED, NARROW, USUAL, OTHER = "until decided", "until ± 1 %", "one after another", "the other version"
Latencies = dict[str, float]


@dataclass
class Way:
    """The repeats of one way of timing: latencies by cell, wall times in s, half widths in %, shares of the workers' lives."""

    latencies: list[Latencies] = field(default_factory=list)
    walls_s: list[float] = field(default_factory=list)
    halves_pct: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        return median(self.walls_s)

    def deviations_pct(self) -> np.ndarray:
        """(repeats, cells) in percent."""
        logs = np.log([[latencies[cell] for cell in sorted(self.latencies[0])] for latencies in self.latencies])
        relative = logs - logs.mean(axis=1, keepdims=True)
        return np.asarray(100 * np.abs(relative - relative.mean(axis=0)))


def sweep(way: Way, program: str, options: Sequence[str]) -> float:
    """Add a repeat by `mnsweep grid` in a fresh folder; return its wall time in s."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [program, "grid", "--sweep", "paper", *options, "-q"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        way.walls_s.append(time.perf_counter() - began)
        (cells,) = Path(folder).glob(f"results/*/*/{CELLS}")
        results = from_csv(cells.read_text(), cells)
        way.latencies.append({r.cell: r.latency_p50_ms or 0 for r in results})
        way.halves_pct.append(median(r.relative_ci_pct or 100 for r in results))
        way.shares.append(share_of_life(SweepFolder(cells.parent)))
    return way.walls_s[-1]


def one_after_another(way: Way, seconds: float) -> None:
    """The usual script in a fresh process: 10 warm-ups, then the median of what fits into its share of `seconds`."""
    command = [sys.executable, "-m", "tests.bench.one_after_another", str(seconds)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    way.latencies.append(dict(zip(lines[::2], map(float, lines[1::2]), strict=True)))
    way.walls_s.append(seconds)


def share_of_life(folder: SweepFolder) -> float:
    """Share of the workers' lives, from the first model that is opened to the last run, that was spent in kept blocks."""
    blocks: dict[int, list[Block]] = defaultdict(list)
    for block in folder.read().blocks:
        blocks[block.process].append(block)
    kept_s = sum(_seconds(b) for its in blocks.values() for b in its)
    return kept_s / sum(its[-1].at_s + _seconds(its[-1]) for its in blocks.values())


def _seconds(block: Block) -> float:
    return (block.first_ns + sum(block.samples_ns)) / 1e9


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


def measure(repeats: int, other: str | None) -> dict[str, Way]:
    """All ways in turn."""
    ways = {name: Way() for name in (DECIDED, NARROW, USUAL, *([OTHER] if other else []))}
    for repeat in range(repeats):
        sweep(ways[DECIDED], PROGRAM, ())
        wall_s = sweep(ways[NARROW], PROGRAM, ("--ci-pct", "1"))
        one_after_another(ways[USUAL], wall_s)
        if other:
            sweep(ways[OTHER], other, ("--time-budget-s", "180"))
        print(f"repeat {repeat + 1}: {', '.join(f'{name} {way.walls_s[-1]:.1f} s' for name, way in ways.items())}", flush=True)
    return ways


def report(ways: dict[str, Way], disturbed: bool) -> None:
    """Print the figures beside their targets."""
    figures = Figures()
    for name, way in ways.items():
        deviations = way.deviations_pct()
        figures.report(f"{name}: wall time", way.wall_s, "s")
        figures.report(f"{name}: mean deviation", deviations.mean(), "%")
        figures.report(f"{name}: worst cell", deviations.mean(axis=0).max(), "%")
        if way.shares:
            figures.report(f"{name}: median half width", median(way.halves_pct), "%")
            figures.report(f"{name}: share of the workers' lives in kept blocks", 100 * median(way.shares), "%")
    decided, narrow, usual = ways[DECIDED], ways[NARROW], ways[USUAL]
    figures.at_most("16 cells, default settings", decided.wall_s, 60 if disturbed else 20, "s")
    figures.at_least("share of the workers' lives in kept blocks, ± 1 %", 100 * median(narrow.shares), 75, "%")
    spread_pct, usual_pct = narrow.deviations_pct().mean(), usual.deviations_pct().mean()
    if usual_pct <= 0.5:
        print("           the machine is so quiet that one after another does as well")
    else:
        figures.at_most("mean deviation, ± 1 % against one after another", spread_pct / usual_pct, 1 / 3, "×")
    if OTHER in ways:
        other = ways[OTHER]
        figures.at_most("time, ± 1 % against the other version", narrow.wall_s / other.wall_s, 0.45, "×")
        figures.at_most(
            "half widths against the other version's", median(narrow.halves_pct) / median(other.halves_pct), 1.1, "×"
        )
        figures.at_most("mean deviation against the other version's", spread_pct / other.deviations_pct().mean(), 1.1, "×")
    figures.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disturbed", action="store_true")
    parser.add_argument("--against", metavar="PROGRAM")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with neighbours(2 if asked.disturbed else 0):
        measured = measure(asked.repeats, asked.against)
    report(measured, asked.disturbed)
