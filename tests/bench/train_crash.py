"""Kill trainings at random moments and continue them: the curve and the weights are those of one that was left alone.

python -m tests.bench.train_crash [KILLS]
"""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from mnsweep.importing.trained import read_trained
from mnsweep.pictures.generated import Wanted
from mnsweep.pictures.glyphs import write_glyphs
from tests.bench.figure import Figures

CELL = "a0.25_r32_c16"
TIMES = ("seconds", "images_per_s", "busy_share")


def run(root: Path, name: str, kill_after_s: float | None = None) -> bool:
    """Run the program; whether it ended by itself."""
    command = [sys.executable, "-m", "mnsweep", "train", "--alpha", "0.25", "--res", "32", "--data", "glyphs", "--name", name]
    command += ["--set", "epochs=6", "-q"]
    with subprocess.Popen(command, cwd=root, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        if kill_after_s is None:
            return process.wait() == 0
        try:
            return process.wait(kill_after_s) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False


def left(root: Path, name: str) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """The curve without times, and the weights."""
    folder = root / "results" / name / "training"
    rows = list(csv.DictReader((folder / f"{CELL}.csv").read_text().splitlines()))
    curve = [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
    trained = read_trained(folder / f"{CELL}.safetensors")
    return curve, {name: array.tobytes() for name, array in trained.weights.arrays.items()}


def main(kills: int = 20) -> None:
    """See the module."""
    figures, rng, killed, same, tries = Figures(), Random(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for _ in write_glyphs(root / "glyphs", Wanted(3_200, 320, 64, 0), 2):
            pass
        os.environ["MNSWEEP_LOCK_DIR"] = folder
        began = time.monotonic()
        assert run(root, "whole")
        whole_s, wanted = time.monotonic() - began, left(root, "whole")
        while killed < kills:
            name = f"killed{tries}"
            tries += 1
            while killed < kills and not run(root, name, rng.uniform(0.2, 1.0) * whole_s):
                killed += 1
            assert run(root, name)
            same += left(root, name) == wanted
    figures.report("kills", killed, f"in {tries} trainings of {whole_s:.1f} s")
    figures.at_least("trainings with the same curve and weights, bit for bit", 100 * same / tries, 100, "%")
    figures.finish()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
