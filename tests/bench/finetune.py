"""Fine-tuning from imported weights against training from scratch, on real photographs, at equal epochs.

    python -m tests.bench.finetune WEIGHTS [EPOCHS] [SEEDS]

The photographs are the 100 faces and 100 other pieces of pictures (25 × 25, grey) of Labeled Faces in the Wild that
scikit-image ships as `lfw_subset` (install it first: pip install scikit-image). A fifth is held out, another one for each seed.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import ttest_rel

import mnsweep
from tests.bench.figure import Figures


def write_faces(folder: Path) -> None:
    """The photographs as class folders."""
    data: Any = importlib.import_module("skimage.data")
    for number, pixels in enumerate(data.lfw_subset()):
        kind = folder / ("face" if number < 100 else "other")
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * np.asarray(pixels)).astype(np.uint8)).resize((128, 128)).save(kind / f"{number:03}.png")


def main(weights: str, epochs: str = "8", seeds: str = "3") -> None:
    """See the module."""
    found: dict[str, list[float]] = {"scratch": [], "finetuned": []}
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder) / "faces")
        changes = f"epochs={epochs},batch=16,patience=0"
        for seed in range(int(seeds)):
            place: dict[str, Any] = {"seed": seed, "results_dir": Path(folder) / "results"}
            # keras' padding, as the weights have it: the same network from other starts
            own: dict[str, Any] = {"conv_padding": "keras", "set": changes, "recipe": "modern"}
            tuned: dict[str, Any] = {"weights": weights, "set": changes, "recipe": "finetune"}
            for how, about in (("scratch", own), ("finetuned", tuned)):
                frame = mnsweep.train(f"{folder}/faces", f"{how}{seed}", 0.25, 128, **about, **place)
                found[how].append(float(frame["top1_pct"][0]))
                print(f"           seed {seed} {how}: {found[how][-1]:.1f} % of {frame['images'][0]} pictures", flush=True)
    figures = Figures()
    figures.report("scratch", float(np.mean(found["scratch"])), "%")
    figures.report("p of a paired t-test", float(ttest_rel(found["finetuned"], found["scratch"]).pvalue), "")
    figures.at_least("fine-tuned less scratch", float(np.mean(found["finetuned"]) - np.mean(found["scratch"])), 0.0, "points")
    figures.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
