"""Training against a plain loop with torch's DataLoader and the same augmentations, in turns, and how busy torch is kept.

    python -m tests.bench.train [PICTURES] [TURNS]

Glyphs at (.5, 96), one epoch each, the recipe `modern`. Both decode before the clock starts, so that only the loops compare.
"""

import sys
import tempfile
import time
from collections.abc import Sized
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import torch
from torch.utils.data import DataLoader, Dataset

from mnsweep.cell import Design
from mnsweep.machine.fingerprint import read_machine
from mnsweep.pictures.generated import Wanted
from mnsweep.pictures.glyphs import LETTERS, write_glyphs
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.tasks.classes import Classes
from mnsweep.training.augment import augmented
from mnsweep.training.dataset import decoded
from mnsweep.training.loop import Job, Pictures, train
from mnsweep.training.recipe import Recipe, read_recipe
from mnsweep.training.start import fresh_net
from tests.bench.figure import Figures

DESIGN = Design.of(0.5, 96, classes=len(LETTERS))


class Plain(Dataset[Any]):
    """One picture at a time, augmented by itself, as a tutorial does it."""

    def __init__(self, pictures: Pictures, recipe: Recipe) -> None:
        self.pictures, self.recipe, self.generator = pictures, recipe, torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return len(self.pictures.truths)

    def __getitem__(self, i: int) -> Any:
        image = torch.from_numpy(self.pictures.train[i]).permute(2, 0, 1).float()[None]
        return (augmented(image, self.recipe, self.generator)[0] - 127.5) / 127.5, int(self.pictures.truths[i])


def plain_epoch(pictures: Pictures, recipe: Recipe, workers: int) -> float:
    """Pictures per second of a plain loop."""
    net = fresh_net(DESIGN, 0)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    dataset = Plain(pictures, recipe)
    loader = DataLoader(dataset, recipe.batch, shuffle=True, drop_last=True, num_workers=workers)
    began, count = time.perf_counter(), 0
    for images, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images), labels, label_smoothing=recipe.label_smoothing).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        count += len(labels)
    return count / (time.perf_counter() - began)


def read(folder: Path, count: int, threads: int) -> Pictures:
    """Glyphs in memory."""
    for _ in write_glyphs(folder, Wanted(count, 64, 128, 0), threads):
        pass
    split = Classes().split(folder, 0)
    parts = [decoded(part, DESIGN.resolution, Preprocessing(), threads) for part in (split.train, split.validation)]
    sizes: list[Sized] = [part.examples.truths for part in parts]
    assert list(map(len, sizes)) == [count, 64]
    return Pictures(parts[0].pixels, parts[0].examples.truths, parts[1].pixels, parts[1].examples.truths, Preprocessing())


def main(count: int = 2_000, turns: int = 3) -> None:
    """See the module."""
    threads = read_machine().usable_threads
    torch.set_num_threads(threads)
    recipe = msgspec.structs.replace(read_recipe("modern"), epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        pictures = read(Path(folder) / "glyphs", count, threads)
    ratios, shares, best = [], [], 0.0
    for _ in range(turns):
        plain = max(plain_epoch(pictures, recipe, workers) for workers in (0, threads))
        ours = train(Job(name="x", key="x", net=fresh_net(DESIGN, 0), recipe=recipe, seed=0), pictures).epochs[0]
        print(f"           plain {plain:.0f}, ours {ours.images_per_s:.0f} pictures a second")
        ratios.append(ours.images_per_s / plain)
        shares.append(100 * ours.busy_share)
        best = max(best, ours.images_per_s)
    figures = Figures()
    figures.at_least("throughput, times that of a plain loop with DataLoader", median(ratios), 1.0, "×")
    figures.at_least("of the time in forward, backward and step", median(shares), 85, "%")
    figures.report("throughput", best, "pictures a second")
    figures.finish()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
