"""A whole `mnsweep grid --quick` of the paper's grid: time against a plain script, and peak memory."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.figure import Figures


def peak_bytes_of_tree(process: psutil.Process) -> int:
    """Sum of the resident sets of a process and its children, now."""
    total = 0
    for p in (process, *process.children(recursive=True)):
        try:
            total += p.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def timed(command: list[str], folder: str | None) -> tuple[float, int]:
    """Wall time and peak memory of a command and its children, sampled four times a second."""
    start, peak = time.perf_counter(), 0
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, peak_bytes_of_tree(process))
        time.sleep(0.25)
    assert process.returncode == 0, command
    return time.perf_counter() - start, peak


if __name__ == "__main__":
    figures, ours, theirs, peaks = Figures(), [], [], []
    program = str(Path(sys.executable).with_name("mnsweep"))
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            wall_s, peak = timed([program, "grid", "--quick"], folder)
            assert len(list(Path(folder).glob("results/grid/*/pareto.png"))) == 1
        ours.append(wall_s)
        peaks.append(peak)
        theirs.append(timed([sys.executable, "-m", "tests.bench.naive"], None)[0])
    ratio = sorted(a / b for a, b in zip(ours, theirs, strict=True))[1]
    figures.report("mnsweep grid --quick", sorted(ours)[1], "s")
    figures.report("plain script, torch.onnx.export and 10 + 100 runs", sorted(theirs)[1], "s")
    figures.at_most("quick grid against the plain script", ratio, 0.5, "×")
    figures.at_most("peak memory of the quick grid, worker included", max(peaks) / 2**20, 1024, "MiB")
    figures.finish()
