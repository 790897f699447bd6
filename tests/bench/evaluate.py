"""Evaluating against a plain torch DataLoader and an onnxruntime loop, and how busy the session is kept.

    python -m tests.bench.evaluate [PICTURES] [SIDE]

Random JPEGs of ImageNet's usual size (500 × 375), at (.25, 128). Both ways use as many processes as there are CPUs, in turns.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

import mnsweep
from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.graph.weights import random_weights
from mnsweep.importing.trained import Provenance, Trained, to_bytes
from mnsweep.machine.fingerprint import read_machine
from mnsweep.pictures.preprocessing import Preprocessing
from tests.bench.figure import Figures

PICTURES, SIZE, CLASSES, TURNS = 2_000, (500, 375), 4, 3
DESIGN = Design.of(0.25, 128)
PLAIN = """
import sys, time
from pathlib import Path
import numpy as np, onnxruntime, torch
from PIL import Image

class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder):
        self.paths = sorted(Path(folder).rglob("*.jpg"))
    def __len__(self):
        return len(self.paths)
    def __getitem__(self, i):
        picture = Image.open(self.paths[i]).convert("RGB").resize((128, 128), Image.Resampling.BILINEAR)
        return np.ascontiguousarray((np.asarray(picture, np.float32) / 127.5 - 1).transpose(2, 0, 1))

if __name__ == "__main__":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options)
    began, busy, right = time.perf_counter(), 0.0, 0
    for batch in torch.utils.data.DataLoader(Pictures(sys.argv[2]), batch_size=16, num_workers=int(sys.argv[3])):
        start = time.perf_counter()
        for image in batch.numpy():
            right += session.run(None, {"image": image[None]})[0].argmax()
        busy += time.perf_counter() - start
    print(time.perf_counter() - began, busy)
"""


def write_pictures(folder: Path, number: int) -> None:
    """JPEGs with structure at all scales, in class folders."""
    rng = np.random.default_rng(0)
    for i in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 12, (*SIZE[::-1], 3))
        path = folder / f"{i % CLASSES}" / f"{i:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(path, quality=90)


def main(number: int = PICTURES) -> None:
    figures, processes = Figures(), read_machine().usable_threads
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        write_pictures(folder / "data", number)
        trained = Trained(
            design=DESIGN,
            weights=random_weights(expand(DESIGN)),
            preprocessing=Preprocessing(),
            provenance=Provenance("random", "0" * 64, "keras", label_offset=0),
        )
        (folder / "w.safetensors").write_bytes(to_bytes(trained))
        (folder / "plain.py").write_text(PLAIN)
        mnsweep.export(None, None, folder / "m.onnx", weights=folder / "w.safetensors")
        ours: list[Any] = []
        theirs: list[float] = []
        for _ in range(TURNS):
            asked = f"{str(folder / 'm.onnx')!r}, {str(folder / 'data')!r}"
            code = f"import mnsweep; f = mnsweep.evaluate({asked}); print(f.seconds[0], f.busy_share[0])"
            told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            ours.append(tuple(map(float, told.stdout.split())))
            plain = [sys.executable, str(folder / "plain.py"), str(folder / "m.onnx"), str(folder / "data"), str(processes)]
            out = subprocess.run(plain, capture_output=True, text=True, check=True).stdout
            theirs.append(float(out.split()[0]))
        seconds = median(s for s, _ in ours)
        figures.report("pictures per second", number / seconds, "")
        figures.at_least("share of the time in which the session was busy", 100 * median(b for _, b in ours), 80, "%")
        figures.at_most("time against a plain DataLoader and loop", seconds / median(theirs), 1, "×")
    figures.finish()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
