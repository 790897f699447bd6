"""Verdicts: false ones, missed ones, and how long a certain one takes.

python -m tests.bench.compare simulated            five kinds of noise, 500 pairs of sweeps each
python -m tests.bench.compare repeats [PAIRS]      sweeps of 16 cells here, each against the one before (--ci-pct 1)
python -m tests.bench.compare itself               `--interleave` of one network with itself
python -m tests.bench.compare files                `time` on four exported designs against a loop that shares no code
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import median

from mnsweep.app.compare import side_of
from mnsweep.comparing.side import Side
from mnsweep.comparing.verdicts import compare
from mnsweep.measure.rounds import narrow
from tests.bench.figure import Figures
from tests.bench.truth import CELLS, by_loop, export
from tests.simulate import NOISES, RULES, verdicts_of_pair

PROGRAM = str(Path(sys.executable).with_name("mnsweep"))
PAIRS, SLOWER, TIMES = 500, 1.05, 3
CALLED = ("slower", "faster")


def simulated(figures: Figures) -> None:
    """Pairs of simulated sweeps, with the narrow intervals that a comparison needs."""
    rules = narrow(RULES, 1.0)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for kind in NOISES:
            for slower in (1.0, SLOWER):
                work = partial(verdicts_of_pair, kind, rules=rules, slower=slower)
                report(figures, f"under {kind} noise", list(pool.map(work, range(PAIRS), chunksize=5)), slower)


def report(figures: Figures, what: str, pairs: Sequence[tuple[list[str], str]], slower: float) -> None:
    """The share of false calls, or of found slow-downs."""
    cells = Counter(verdict for of_pair, _ in pairs for verdict in of_pair)
    overall = Counter(verdict for _, verdict in pairs)
    total = sum(cells.values())
    if slower == 1.0:
        figures.at_most(f"false calls {what}", 100 * sum(cells[name] for name in CALLED) / total, 5, "% of cells")
        figures.report(f"false calls of the overall ratio {what}", 100 * sum(overall[n] for n in CALLED) / len(pairs), "%")
    else:
        figures.at_least(f"5 % slower, called so {what}", 100 * cells["slower"] / total, 90, "% of cells")
        figures.report(f"the same of the overall ratio {what}", 100 * overall["slower"] / len(pairs), "%")


def repeats(figures: Figures, pairs: int) -> None:
    """Sweeps one after another, each compared with the one before, and with that one slowed by 5 %."""
    with tempfile.TemporaryDirectory() as kept:
        for number in range(pairs + 1):
            command = [
                PROGRAM,
                "grid",
                "--sweep",
                "paper",
                "--name",
                f"r{number}",
                "--ci-pct",
                "1",
                "--time-budget-s",
                "60",
                "-q",
            ]
            subprocess.run(command, cwd=kept, check=True, stdout=subprocess.DEVNULL)
        folders = [next((Path(kept) / "results" / f"r{number}").glob("*")) for number in range(pairs + 1)]
        sides = [side_of(str(folder), Path(kept), "") for folder in folders]
    for slower in (1.0, SLOWER):
        found = [compare(a, slowed(b, slower), same_pct=1.0).verdicts for a, b in pairwise(sides)]
        report(figures, "here", [([r.verdict for r in v.cells], v.overall.verdict) for v in found], slower)


def slowed(side: Side, factor: float) -> Side:
    """The same sweep, as if every run had taken so many times as long."""
    return replace(side, estimates={cell: replace(e, p50_ms=e.p50_ms * factor) for cell, e in side.estimates.items()})


def itself(figures: Figures) -> None:
    """One network against itself, a few times."""
    for alpha, res in ((0.5, 160), (1.0, 224)):
        same, off, took = 0, 0.0, 0.0
        for _ in range(TIMES):
            with tempfile.TemporaryDirectory() as kept:
                began = time.perf_counter()
                command = [PROGRAM, "compare", "--interleave", "--alpha", str(alpha), "--res", str(res), "--json", "-q"]
                ran = subprocess.run(command, cwd=kept, check=True, capture_output=True, text=True)
                took = max(took, time.perf_counter() - began)
            found = json.loads(ran.stdout)
            print(f"            ({alpha}, {res}): {found['overall_verdict']}, {found['overall_ratio']:.4f} "
                  f"({found['overall_ci_low']:.4f} to {found['overall_ci_high']:.4f})")  # fmt: skip
            same += found["overall_verdict"] == "same"
            off = max(off, abs(found["overall_ratio"] - 1))
        figures.at_least(f"({alpha}, {res}) with itself: the same, of {TIMES}", same, TIMES, "")
        figures.at_most(f"({alpha}, {res}) with itself: furthest from 1", 100 * off, 0.5, "%")
        figures.at_most(f"({alpha}, {res}) with itself: longest", took, 35, "s, start and build included")


def files(figures: Figures) -> None:
    """Ratios of `time` against those of a loop that shares no code with it (`truth.py`), in turns."""
    with tempfile.TemporaryDirectory() as kept:
        export(Path(kept))
        names = [f"{cell}.onnx" for cell in CELLS]
        apart: list[float] = []
        for turn in range(5):
            command = [PROGRAM, "time", *names, "--name", f"t{turn}", "--json", "-q"]
            ours = json.loads(subprocess.run(command, cwd=kept, check=True, capture_output=True, text=True).stdout)
            theirs = by_loop(Path(kept))
            first, *others = CELLS
            ratios = [log(verdict["ratio"]) for verdict in ours["against_first"]]
            off = [100 * abs(ratio + theirs[first, cell][0]) for ratio, cell in zip(ratios, others, strict=True)]
            apart.append(max(off))
            print(f"            turn {turn + 1}: at most {max(off):.2f} % apart")
        figures.at_most("ratios against another loop, furthest apart, median of 5", median(apart), 1, "%")


if __name__ == "__main__":
    asked = sys.argv[1:] or ["simulated", "itself", "files"]
    found = Figures()
    if "simulated" in asked:
        simulated(found)
    if "repeats" in asked:
        repeats(found, int(asked[-1]) if asked[-1].isdigit() else 20)
    if "itself" in asked:
        itself(found)
    if "files" in asked:
        files(found)
    found.finish()
