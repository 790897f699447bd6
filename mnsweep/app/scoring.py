"""The score of a file on labelled pictures, as it is kept with a sweep or a training run."""

from collections.abc import Callable

from mnsweep.app.answering import answer
from mnsweep.app.models import Classifier, labelled_outputs
from mnsweep.sweep.file import Scored
from mnsweep.tasks.kind import Examples
from mnsweep.tasks.kinds import kind_of
from mnsweep.worker.proxy import NewWorker


def scored(
    classifier: Classifier,
    examples: Examples,
    data: str,
    *,
    new_worker: NewWorker,
    processes: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Scored:
    """What the file answers to the pictures, read from their files, against what is known of them; `data` is their name.

    Pictures that can't be read are left out. Raises what `answer` raises.
    """
    answered = answer(classifier, examples.paths, new_worker=new_worker, processes=processes, progress=progress)
    outputs = labelled_outputs(answered.probabilities, classifier)
    found = kind_of(classifier.task).score(outputs, examples.part(answered.places))
    return Scored(
        data=data,
        images=found.images,
        quality_pct=found.quality_pct,
        ci_low_pct=found.ci_low_pct,
        ci_high_pct=found.ci_high_pct,
        top5_pct=found.top5_pct,
        metric=found.metric,
    )
