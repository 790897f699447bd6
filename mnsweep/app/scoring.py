"""The score of a file on labelled pictures, as it is kept with a sweep or a training run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mnsweep.accuracy.scores import score
from mnsweep.app.answering import answer
from mnsweep.app.evaluate import labelled_outputs
from mnsweep.app.models import Classifier
from mnsweep.sweep.file import Scored
from mnsweep.worker.proxy import NewWorker


def scored(
    classifier: Classifier,
    paths: Sequence[Path],
    labels: Sequence[int],
    data: str,
    *,
    new_worker: NewWorker,
    processes: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Scored:
    """What the file answers to the pictures, read from their files, against their labels; `data` is their name.

    Pictures that can't be read are left out. Raises what `answer` raises.
    """
    answered = answer(classifier, paths, new_worker=new_worker, processes=processes, progress=progress)
    right = np.array([labels[place] for place in answered.places])
    found = score(labelled_outputs(answered.probabilities, classifier), right)
    return Scored(
        data=data,
        images=found.images,
        top1_pct=found.top1_pct,
        ci_low_pct=found.top1_ci_low_pct,
        ci_high_pct=found.top1_ci_high_pct,
        top5_pct=found.top5_pct,
    )
