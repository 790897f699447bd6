"""Truth, not only repeatability: four exported designs timed by a loop of our own agree with the sweep within 2 %."""

import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
import onnxruntime as ort

from tests.bench.figure import Figures
from tests.bench.retest import sweep

CELLS = {"a0.25_r128": ("0.25", "128"), "a0.5_r160": ("0.5", "160"), "a0.75_r224": ("0.75", "224"), "a1.0_r192": ("1.0", "192")}
ROUNDS = 300


def exported(alpha: str, res: str, folder: Path) -> ort.InferenceSession:
    path = folder / f"{alpha}-{res}.onnx"
    program = str(Path(sys.executable).with_name("mnsweep"))
    subprocess.run(
        [program, "export", "--alpha", alpha, "--res", res, "--out", str(path), "-q"], check=True, capture_output=True
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def independent(sessions: dict[str, ort.InferenceSession]) -> dict[str, float]:
    """Median ms of each, five runs at a time in random order; nothing here comes from mnsweep."""
    feeds = {k: {"image": np.random.default_rng(1).random(s.get_inputs()[0].shape, np.float32)} for k, s in sessions.items()}
    times: dict[str, list[float]] = {key: [] for key in sessions}
    rng = Random(0)
    for _ in range(ROUNDS):
        for key in rng.sample(sorted(sessions), len(sessions)):
            sessions[key].run(None, feeds[key])
            for _ in range(5):
                start = time.perf_counter()
                sessions[key].run(None, feeds[key])
                times[key].append(1e3 * (time.perf_counter() - start))
    return {key: median(its) for key, its in times.items()}


if __name__ == "__main__":
    figures = Figures()
    with tempfile.TemporaryDirectory() as scratch:
        reported = sweep(Path(scratch))[0]
        measured = independent({key: exported(*design, Path(scratch)) for key, design in CELLS.items()})
    off = [abs(np.log(reported[a] / reported[b] * measured[b] / measured[a])) for a, b in combinations(CELLS, 2)]
    for key in CELLS:
        print(f"           {key}: sweep {reported[key]:.4g} ms, independent loop {measured[key]:.4g} ms")
    figures.at_most("largest disagreement of a ratio of two designs", 100 * max(off), 2.0, "%")
    figures.finish()
