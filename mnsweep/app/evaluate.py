"""`mnsweep evaluate`: what a file scores on labelled pictures, and how it differs from another one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mnsweep.accuracy.labels import IMAGENET_CLASSES, imagenet, labels_for, synsets
from mnsweep.accuracy.scores import Comparison, Probabilities, by_class, compare, confusions
from mnsweep.app.answering import Answered, answer
from mnsweep.app.models import Classifier, labelled_outputs, open_classifier, wanted_of
from mnsweep.app.requests import EvaluateRequest
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.names import TASKS
from mnsweep.pictures.folders import UNLABELLED
from mnsweep.sweep.file import TOP1
from mnsweep.tasks.kind import Examples, TaskScore
from mnsweep.tasks.kinds import kind_of
from mnsweep.worker.proxy import NewWorker, WorkerProcess

MOST_CONFUSIONS = 20
CLASSES = "classes"  # the kind of label that has confusions, and that two files are compared by
Progress = Callable[[str, int, int], None]  # what is run, pictures in all, pictures done
Ask = Callable[[Path, Classifier, Sequence[Path]], Answered]  # a file, what it is, and pictures for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The score (None without labels), the comparison (None without another file), and how the pictures were read.

    `of_class` has, by label, how many pictures there are and how many were recognized; `confused` are the most frequent
    mistakes: (label, answer, pictures). `broken` are pictures that can't be read, with the reason. `busy_share` is the share
    of the time in which the runtime was busy. `examples` and `outputs` (pictures, outputs) are what was scored.
    """

    task: str
    score: TaskScore | None
    comparison: Comparison | None
    images: int
    broken: dict[Path, str]
    seconds: float
    busy_share: float
    of_class: dict[str, tuple[int, int]]
    confused: tuple[tuple[str, str, int], ...]
    examples: Examples
    outputs: Probabilities

    @property
    def images_per_s(self) -> float:
        """Pictures per second of wall time, decoding included."""
        return self.images / self.seconds


def evaluate(
    request: EvaluateRequest,
    progress: Progress = lambda what, of, done: None,
    new_worker: NewWorker | None = None,
    elsewhere: Ask | None = None,
) -> Evaluation:
    """Score a file on pictures, and compare it with another one. Raises `MnsweepError` for what does not fit.

    The answers are those of this machine, or of what `elsewhere` asks.
    """
    machine, worker = read_machine(), new_worker or WorkerProcess
    if request.model is None:
        raise MnsweepError("`model` names the file to evaluate", "or `sweep` the sweep whose cells are scored")
    wanted = wanted_of(request)
    first = open_classifier(request.model, wanted, machine, worker)
    other = open_classifier(request.against, wanted, machine, worker) if request.against else None
    _check_task(request, [first, *([other] if other else [])])
    examples = examples_for(request, first)
    classifiers = [first, *([other] if other else [])]
    if first.outputs:  # else it is known after the first picture
        _check_labels(examples, first, first.outputs)
    ask = elsewhere or partial(_answered_here, worker=worker, processes=machine.usable_threads, progress=progress)
    files = [path for path in (request.model, request.against) if path is not None]
    answered = [ask(*each, examples.paths) for each in zip(files, classifiers, strict=True)]
    return _evaluation(examples, classifiers, answered)


def _answered_here(
    path: Path, classifier: Classifier, pictures: Sequence[Path], *, worker: NewWorker, processes: int, progress: Progress
) -> Answered:
    del path
    told = partial(progress, classifier.name, len(pictures))
    return answer(classifier, pictures, new_worker=worker, processes=processes, progress=told)


def examples_for(request: EvaluateRequest, classifier: Classifier) -> Examples:
    """The pictures, with labels as the network's outputs are called: for ImageNet by WordNet ids or by names.

    Raises `MnsweepError` for what does not fit.
    """
    kind = kind_of(classifier.task)
    if not kind.chooses and classifier.preprocessing.crop != "squash" and TASKS[classifier.task].detects:
        what = f"{classifier.name}: a detector sees the whole picture, not the crop {classifier.preprocessing.crop}"
        raise MnsweepError(what, "add `crop` squash")
    own: Sequence[str] = classifier.labels[classifier.label_offset or 0 :]
    known = [own] if own else []
    if classifier.label_offset is not None and classifier.outputs == classifier.label_offset + IMAGENET_CLASSES:
        known += [synsets(), imagenet()]
    errors: list[MnsweepError] = []
    for names in known or [()]:
        try:
            return kind.read(request.data, request.labels, names)
        except MnsweepError as error:
            errors.append(error)
    raise errors[0]


def is_labelled(examples: Examples) -> bool:
    """Whether it is known of all pictures what they show."""
    return examples.truths.ndim > 1 or examples.pairs is not None or UNLABELLED not in examples.truths


def _evaluation(examples: Examples, classifiers: Sequence[Classifier], answered: Sequence[Answered]) -> Evaluation:
    first, kind = answered[0], kind_of(classifiers[0].task)
    seen = examples.part(first.places)
    found = labelled_outputs(first.probabilities, classifiers[0])
    _check_labels(examples, classifiers[0], first.probabilities.shape[1])
    labelled = is_labelled(examples)
    has_classes = labelled and TASKS[classifiers[0].task].learns == CLASSES
    names = _names(examples, classifiers[0], found.shape[1]) if has_classes else ()
    comparison = None
    if len(answered) > 1:
        others = labelled_outputs(answered[1].probabilities, classifiers[1])
        if others.shape != found.shape:
            what = f"{classifiers[0].name} has {found.shape[1]} classes, {classifiers[1].name} has {others.shape[1]}"
            raise MnsweepError(what, "compare networks for the same classes; `label_offset` tells a background")
        comparison = compare(found, others, seen.truths if labelled else None)
    counted = by_class(found, seen.truths) if has_classes else {}
    wrong = confusions(found, seen.truths, MOST_CONFUSIONS) if has_classes else ()
    return Evaluation(
        task=classifiers[0].task,
        score=kind.score(found, seen) if labelled else None,
        comparison=comparison,
        images=len(first.places),
        broken={examples.paths[place]: reason for place, reason in first.broken.items()},
        seconds=first.seconds,
        busy_share=first.busy_s / first.seconds,
        of_class={names[number]: counts for number, counts in counted.items()},
        confused=tuple((names[label], names[found], count) for (label, found), count in wrong),
        examples=seen,
        outputs=found,
    )


def _names(examples: Examples, classifier: Classifier, classes: int) -> Sequence[str]:
    """The network's own labels, ImageNet's, or else the names of the class folders."""
    if classifier.labels:
        return classifier.labels[classifier.label_offset or 0 :]
    return labels_for(() if classes == IMAGENET_CLASSES else examples.names, classes, 0, examples.name)


def quality_columns(done: Evaluation) -> dict[str, Any]:
    """The task, and the quality by its metric, once more as top-1 where it is that; None without a score."""
    score = done.score
    found: dict[str, Any] = {"task": done.task, "metric": score and score.metric}
    top1 = score if score and score.metric == TOP1 else None
    for prefix, known in (("quality", score), ("top1", top1)):
        found |= {
            f"{prefix}_pct": known and known.quality_pct,
            f"{prefix}_ci_low_pct": known and known.ci_low_pct,
            f"{prefix}_ci_high_pct": known and known.ci_high_pct,
        }
    return {**found, "top5_pct": score and score.top5_pct}


def _check_task(request: EvaluateRequest, classifiers: Sequence[Classifier]) -> None:
    """Raise `MnsweepError` for two files that can't be compared, and for settings that do nothing for a task."""
    learned = [TASKS[classifier.task].learns for classifier in classifiers]
    if len(learned) > 1 and learned != [CLASSES, CLASSES]:
        what = f"`against` {request.against}: answers are compared of files that choose a class, and these are for "
        raise MnsweepError(what + " and ".join(c.task for c in classifiers), "evaluate each of them alone")
    if request.by_class and learned != [CLASSES] * len(learned):
        raise MnsweepError(f"`by_class`: a network for {classifiers[0].task} chooses no class", "leave it out")


def _check_labels(examples: Examples, classifier: Classifier, outputs: int) -> None:
    """Raise `MnsweepError` where a label is no class of the network."""
    if TASKS[classifier.task].learns != CLASSES or not is_labelled(examples):
        return
    classes, most = outputs - (classifier.label_offset or 0), int(examples.truths.max())
    if most >= classes:
        raise MnsweepError(f"the label {most} does not fit: {classifier.name} has {classes:,} classes, from 0")
