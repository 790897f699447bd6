"""`mnsweep evaluate`: what a file scores on labelled pictures, and how it differs from another one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mnsweep.accuracy.labels import IMAGENET_CLASSES, imagenet, labels_for, synsets
from mnsweep.accuracy.scores import Comparison, Probabilities, Score, by_class, compare, confusions, score
from mnsweep.app.answering import Answered, answer
from mnsweep.app.models import Classifier, open_classifier, wanted_of
from mnsweep.app.requests import EvaluateRequest
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.pictures.folders import LabelledPictures, find_pictures
from mnsweep.worker.proxy import NewWorker, WorkerProcess

MOST_CONFUSIONS = 20
Progress = Callable[[str, int, int], None]  # what is run, pictures in all, pictures done
Ask = Callable[[Path, Classifier, Sequence[Path]], Answered]  # a file, what it is, and pictures for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The score (None without labels), the comparison (None without another file), and how the pictures were read.

    `of_class` has, by label, how many pictures there are and how many were recognized; `confused` are the most frequent
    mistakes: (label, answer, pictures). `broken` are pictures that can't be read, with the reason. `busy_share` is the share
    of the time in which the runtime was busy.
    """

    score: Score | None
    comparison: Comparison | None
    images: int
    broken: dict[Path, str]
    seconds: float
    busy_share: float
    of_class: dict[str, tuple[int, int]]
    confused: tuple[tuple[str, str, int], ...]

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
    pictures = labelled_pictures(request, first)
    classifiers = [first, *([other] if other else [])]
    if first.outputs:  # else it is known after the first picture
        _check_labels(pictures, first, first.outputs)
    ask = elsewhere or partial(_answered_here, worker=worker, processes=machine.usable_threads, progress=progress)
    files = [path for path in (request.model, request.against) if path is not None]
    answered = [ask(*each, pictures.paths) for each in zip(files, classifiers, strict=True)]
    return _evaluation(pictures, classifiers, answered)


def _answered_here(
    path: Path, classifier: Classifier, pictures: Sequence[Path], *, worker: NewWorker, processes: int, progress: Progress
) -> Answered:
    del path
    told = partial(progress, classifier.name, len(pictures))
    return answer(classifier, pictures, new_worker=worker, processes=processes, progress=told)


def labelled_pictures(request: EvaluateRequest, classifier: Classifier) -> LabelledPictures:
    """The pictures, with labels as the network's are called: for ImageNet by WordNet ids or by names.

    Raises `MnsweepError` for what does not fit.
    """
    own: Sequence[str] = classifier.labels[classifier.label_offset or 0 :]
    known = [own] if own else []
    if classifier.label_offset is not None and classifier.outputs == classifier.label_offset + IMAGENET_CLASSES:
        known += [synsets(), imagenet()]
    errors: list[MnsweepError] = []
    for names in known or [()]:
        try:
            return find_pictures(request.data, request.labels, names)
        except MnsweepError as error:
            errors.append(error)
    raise errors[0]


def _evaluation(pictures: LabelledPictures, classifiers: Sequence[Classifier], answered: Sequence[Answered]) -> Evaluation:
    first = answered[0]
    labels = np.array([pictures.labels[place] for place in first.places])
    found = labelled_outputs(first.probabilities, classifiers[0])
    _check_labels(pictures, classifiers[0], first.probabilities.shape[1])
    names = _names(pictures, classifiers[0], found.shape[1]) if pictures.is_labelled else ()
    comparison = None
    if len(answered) > 1:
        others = labelled_outputs(answered[1].probabilities, classifiers[1])
        if others.shape != found.shape:
            what = f"{classifiers[0].name} has {found.shape[1]} classes, {classifiers[1].name} has {others.shape[1]}"
            raise MnsweepError(what, "compare networks for the same classes; `label_offset` tells a background")
        comparison = compare(found, others, labels if pictures.is_labelled else None)
    counted = by_class(found, labels) if pictures.is_labelled else {}
    wrong = confusions(found, labels, MOST_CONFUSIONS) if pictures.is_labelled else ()
    return Evaluation(
        score=score(found, labels) if pictures.is_labelled else None,
        comparison=comparison,
        images=len(first.places),
        broken={pictures.paths[place]: reason for place, reason in first.broken.items()},
        seconds=first.seconds,
        busy_share=first.busy_s / first.seconds,
        of_class={names[number]: counts for number, counts in counted.items()},
        confused=tuple((names[label], names[found], count) for (label, found), count in wrong),
    )


def _names(pictures: LabelledPictures, classifier: Classifier, classes: int) -> Sequence[str]:
    """The network's own labels, ImageNet's, or else the names of the class folders."""
    if classifier.labels:
        return classifier.labels[classifier.label_offset or 0 :]
    return labels_for(() if classes == IMAGENET_CLASSES else pictures.classes, classes, 0, pictures.name)


def labelled_outputs(found: Probabilities, classifier: Classifier) -> Probabilities:
    """The outputs that labels are numbers of. Raises `MnsweepError` where nothing tells which is the first."""
    if classifier.label_offset is None:
        if found.shape[1] in (IMAGENET_CLASSES, IMAGENET_CLASSES + 1):
            what = f"{classifier.name}: has {found.shape[1]:,} outputs and does not say whether one is a background"
            raise MnsweepError(what, "add `label_offset` 0, or 1 for a background")
        return found
    return found[:, classifier.label_offset :]


def _check_labels(pictures: LabelledPictures, classifier: Classifier, outputs: int) -> None:
    """Raise `MnsweepError` where a label is no class of the network."""
    classes, most = outputs - (classifier.label_offset or 0), max(pictures.labels)
    if pictures.is_labelled and most >= classes:
        raise MnsweepError(f"the label {most} does not fit: {classifier.name} has {classes:,} classes, from 0")
