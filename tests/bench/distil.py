"""Does a student gain from a teacher? The same network trained alone and taught, with several seeds each.

    python -m tests.bench.distil DATA TEACHER.safetensors [ALPHA] [RES] [SEEDS] [SETTINGS] [TASK]

The gain counts where it exceeds the 95 % interval of the difference of means (Student's t, pooled).
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import ttest_ind

import mnsweep
from mnsweep.importing.trained import read_trained
from tests.bench.figure import Figures


def main(
    data: str,
    teacher: str,
    alpha: str = "0.25",
    res: str = "64",
    seeds: str = "3",
    settings: str = "epochs=10",
    task: str = "classify",
) -> None:
    """See the module."""
    found: dict[str, list[float]] = {"alone": [], "taught": []}
    trained = read_trained(Path(teacher))
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(int(seeds)):
            for how, tops in found.items():
                about: dict[str, object] = {"teacher": teacher} if how == "taught" else {}
                about |= {"classes": trained.design.classes} if task == "embedding" else {}
                frame = mnsweep.train(
                    data,
                    f"{how}{seed}",
                    alpha,
                    res,
                    task=task,
                    seed=seed,
                    set=settings,
                    results_dir=Path(folder),
                    beside=True,
                    **about,
                )
                tops.append(float(frame["quality_pct"][0]))
                print(f"           seed {seed} {how}: {tops[-1]:.2f} %", flush=True)
    figures = Figures()
    alone, taught = (np.array(found[how]) for how in ("alone", "taught"))
    interval = ttest_ind(taught, alone).confidence_interval(0.95)
    figures.report("alone", float(alone.mean()), "%")
    figures.report("taught", float(taught.mean()), "%")
    figures.report("95 % interval of the gain, upper end", float(interval.high), "points")
    figures.at_least("95 % interval of the gain, lower end", float(interval.low), 0.0, "points")
    figures.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
