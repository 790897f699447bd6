"""Can each task be learned at all? A network that sees twenty pictures again and again must know them.

python -m tests.bench.overfit [TASK…]: the quality on the pictures that it was trained on, and the target. Minutes.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from mnsweep.app.data import DATA_SETS
from mnsweep.cell import Design
from mnsweep.names import TASKS
from mnsweep.pictures.generated import Wanted
from mnsweep.pictures.landscapes import FILE, TOWNS
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.tasks.kinds import kind_of
from mnsweep.training.dataset import decoded
from mnsweep.training.loop import Job, Pictures, normalized, reproducible, train
from mnsweep.training.objectives.table import objective_of
from mnsweep.training.recipe import read_recipe
from mnsweep.training.start import fresh_net

PICTURES, EMBEDDING = 20, 64
STILL = "shift=0,zoom=0,turn=0,colour=0,patience=0,ema=0.9"
TRIED = {  # by task: its data, pixels, changes of the recipe, and the target in %
    "attributes": ("faces", 64, "epochs=120,batch=10,lr=0.004", 99.0),
    "embedding": ("faces", 64, "epochs=150,batch=20,lr=0.004", 99.0),
    "planet": ("places", 64, "epochs=120,batch=10,lr=0.004", 95.0),
    "ssd": ("scenes", 96, "epochs=200,batch=10,lr=0.004", 95.0),
    "faster-rcnn": ("scenes", 160, "epochs=100,batch=4,lr=0.006,warm_up=3", 95.0),
}


def overfit(task: str) -> float:
    """The quality in % on the pictures that it was trained on; of a detector the mAP at IoU .5."""
    name, resolution, changes, _ = TRIED[task]
    kind = kind_of(task)
    with tempfile.TemporaryDirectory() as folder:
        count = 4 * TOWNS if task == "planet" else PICTURES
        for _ in DATA_SETS[name].write(Path(folder) / "d", Wanted(count, 16, 160, 0), 1):
            pass
        if task == "planet":
            _of_few_towns(Path(folder) / "d/train")
        examples = kind.split(Path(folder) / "d", 0).train
        seen = decoded(examples, resolution, Preprocessing(), 1)
    truths = seen.examples.truths
    few = seen.examples.part(range(2)) if TASKS[task].detects else seen.examples  # to look at after each epoch
    pictures = Pictures(seen.pixels, truths, seen.pixels[: len(few.paths)], few.truths, Preprocessing())
    design = Design.of(0.25, resolution, task=task, classes=len(examples.names) if kind.names_outputs else EMBEDDING)
    recipe = read_recipe(TASKS[task].recipe, f"{STILL},{changes}")
    objective = objective_of(design, few, recipe)
    net = fresh_net(design, 0)
    train(Job(name=task, key=task, net=net, recipe=recipe, seed=0, objective=objective), pictures)
    images = normalized(torch.from_numpy(seen.pixels).permute(0, 3, 1, 2).float(), Preprocessing())
    with torch.no_grad():
        outputs = [
            objective.validated(net, image[None], torch.from_numpy(truths[i : i + 1]))[1] for i, image in enumerate(images)
        ]
    score = kind.score(np.concatenate([each.numpy() for each in outputs]), seen.examples)
    return float(score.details.get("map_50_pct", score.quality_pct))


def _of_few_towns(folder: Path) -> None:
    """Keep twenty photographs of five towns: cells need several."""
    header, *rows = (folder / FILE).read_text().splitlines()
    (folder / FILE).write_text("\n".join([header, *(row for i, row in enumerate(rows) if i % TOWNS < PICTURES // 4)]) + "\n")


def main(tasks: list[str]) -> int:
    """Print the figures; 1 where one misses its target."""
    missed = 0
    with reproducible(torch.get_num_threads()):
        for task in tasks or TRIED:
            found, target = overfit(task), TRIED[task][3]
            metric = "mAP at IoU .5" if TASKS[task].detects else kind_of(task).metric
            print(
                f"{task}: {found:.1f} % {metric} on {PICTURES} pictures that it was trained on (target {target:g})", flush=True
            )
            missed |= found < target
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
