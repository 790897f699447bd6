"""Truth, not only repeatability: four exported designs timed by a loop of our own, against what a sweep says, ten times.

The loop runs in four processes of its own, with fresh sessions: each design for 20 ms at a time, and five runs at least, in
random order. With five runs at a time whatever the size, a small design looks 5 to 8 % slower against a large one: the first
runs after another network find its data in the caches, and of a small one they are most. The ratios of two designs by the
sweep and by the loop differ by no more than both sides' 95 % intervals allow (for six ratios together) in at least nine of ten
runs, and by less than 1 %.
"""

import json
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import mean, median, stdev

import numpy as np
import onnxruntime as ort
from scipy.stats import t as student

from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.store import CELLS as CSV
from tests.bench.figure import Figures

CELLS = {"a0.25_r128": ("0.25", "128"), "a0.5_r160": ("0.5", "160"), "a0.75_r224": ("0.75", "224"), "a1.0_r192": ("1.0", "192")}
RUNS, PROCESSES, ROUNDS, BLOCK_S = 10, 4, 30, 0.02
PROGRAM = str(Path(sys.executable).with_name("mnsweep"))
PAIRS = list(combinations(CELLS, 2))
Logs = dict[str, float]


def export(folder: Path) -> None:
    for cell, (alpha, res) in CELLS.items():
        command = [PROGRAM, "export", "--alpha", alpha, "--res", res, "--out", str(folder / f"{cell}.onnx"), "-q"]
        subprocess.run(command, check=True, capture_output=True)


def loop(folder: Path) -> Logs:
    """Log of the median ms of each, in this process; nothing here comes from mnsweep."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {cell: ort.InferenceSession(folder / f"{cell}.onnx", options, ["CPUExecutionProvider"]) for cell in CELLS}
    feeds = {k: {"image": np.random.default_rng(1).random(s.get_inputs()[0].shape, np.float32)} for k, s in sessions.items()}
    times: dict[str, list[float]] = {key: [] for key in sessions}
    rng = Random(time.time_ns())
    for _ in range(ROUNDS):
        for key in rng.sample(sorted(sessions), len(sessions)):
            sessions[key].run(None, feeds[key])
            end, runs = time.perf_counter() + BLOCK_S, 0
            while runs < 5 or time.perf_counter() < end:
                start = time.perf_counter()
                sessions[key].run(None, feeds[key])
                times[key].append(1e3 * (time.perf_counter() - start))
                runs += 1
    return {key: float(np.log(median(its))) for key, its in times.items()}


def by_loop(folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """The log ratio of each pair, and its standard error over processes."""
    command = [sys.executable, "-m", "tests.bench.truth", str(folder)]
    found: list[Logs] = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(PROCESSES)
    ]
    ratios = {pair: [logs[pair[0]] - logs[pair[1]] for logs in found] for pair in PAIRS}
    return {pair: (mean(its), stdev(its) / PROCESSES**0.5) for pair, its in ratios.items()}


def by_sweep(folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """The same by `mnsweep grid`: its half widths are 95 % intervals."""
    command = [PROGRAM, "grid", "--sweep", "paper", "--ci-pct", "1", "--time-budget-s", "60", "--results-dir", str(folder)]
    subprocess.run([*command, "-q"], check=True, stdout=subprocess.DEVNULL)
    (cells,) = folder.glob(f"paper/*/{CSV}")
    results = {r.cell: r for r in from_csv(cells.read_text(), cells)}
    log = {cell: float(np.log(results[cell].latency_p50_ms or np.nan)) for cell in CELLS}
    error = {cell: float(np.log1p((results[cell].relative_ci_pct or 100) / 100)) / 1.96 for cell in CELLS}
    return {(a, b): (log[a] - log[b], float(np.hypot(error[a], error[b]))) for a, b in PAIRS}


def main() -> None:
    figures, explained = Figures(), 0
    allowed = student.ppf(1 - 0.025 / len(PAIRS), PROCESSES - 1), student.ppf(1 - 0.025 / len(PAIRS), 30)
    largest, signed = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        export(folder)
        for run in range(RUNS):
            theirs, ours = by_loop(folder), by_sweep(folder / str(run))
            off = {pair: ours[pair][0] - theirs[pair][0] for pair in PAIRS}
            holds = all(abs(off[pair]) <= np.hypot(allowed[0] * theirs[pair][1], allowed[1] * ours[pair][1]) for pair in PAIRS)
            explained += holds
            largest.append(100 * max(map(abs, off.values())))
            signed.append(100 * off["a0.25_r128", "a1.0_r192"])
            a, b = max(PAIRS, key=lambda pair: abs(off[pair]))
            said = f"at most {largest[-1]:.2f} % apart ({a} and {b}), {'' if holds else 'not '}explained"
            print(f"           run {run + 1}: {said}", flush=True)
    figures.at_least("runs whose differences are explained by both intervals", explained, 0.9 * RUNS, f"of {RUNS}")
    figures.at_most("median of the largest difference of a ratio", median(largest), 1.0, "%")
    figures.report("smallest against largest, sweep against loop: mean signed difference", mean(signed), "%")
    figures.report("its standard error", stdev(signed) / RUNS**0.5, "%")
    figures.finish()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(loop(Path(sys.argv[1]))))
    else:
        main()
