"""`mnsweep classify`: what pictures show, by a file that classifies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnsweep.accuracy.labels import labels_for, read_labels
from mnsweep.accuracy.scores import top_classes
from mnsweep.app.answering import answer
from mnsweep.app.models import open_classifier, wanted_of
from mnsweep.app.requests import ClassifyRequest
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.pictures.decode import SUFFIXES, is_picture
from mnsweep.worker.proxy import NewWorker, WorkerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: the class (the number of the output), its label, and its probability from 0 to 1."""

    label: str
    number: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """The answers by picture, the likeliest first; `broken` are pictures that can't be read, with the reason."""

    pictures: dict[Path, tuple[Answer, ...]]
    broken: dict[Path, str]


def classify(request: ClassifyRequest, new_worker: NewWorker | None = None) -> Classified:
    """The likeliest classes of each picture. Raises `MnsweepError` where no picture, or not the file, can be read."""
    machine, worker = read_machine(), new_worker or WorkerProcess
    classifier = open_classifier(request.model, wanted_of(request), machine, worker)
    paths = _pictures(request.pictures)
    answered = answer(classifier, paths, new_worker=worker, processes=machine.usable_threads)
    classes = answered.probabilities.shape[1]
    labels = read_labels(request.labels) if request.labels else classifier.labels
    names = labels_for(labels, classes, classifier.label_offset, request.labels or request.model)
    probabilities, best = answered.probabilities, top_classes(answered.probabilities, request.top)
    return Classified(
        pictures={
            paths[place]: tuple(Answer(label=names[c], number=int(c), probability=float(probabilities[i, c])) for c in best[i])
            for i, place in enumerate(answered.places)
        },
        broken={paths[place]: reason for place, reason in answered.broken.items()},
    )


def _pictures(given: Sequence[Path]) -> list[Path]:
    """The pictures, and those in folders, by name."""
    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            paths += sorted(filter(is_picture, path.iterdir()))
        elif not path.exists():
            raise MnsweepError(f"{path}: no such picture")
        elif not path.is_file():
            raise MnsweepError(f"{path}: is not a file")
        else:
            paths.append(path)
    if not paths:
        raise MnsweepError(f"{given[0]}: holds no pictures ({', '.join(SUFFIXES)})")
    return list(dict.fromkeys(paths))
