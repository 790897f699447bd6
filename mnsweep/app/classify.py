"""`mnsweep classify`: what pictures show, by a file with a network for any task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnsweep.accuracy.labels import labels_for, read_labels
from mnsweep.accuracy.scores import Probabilities, top_classes
from mnsweep.accuracy.verification import squared_distances
from mnsweep.app.answering import Answered, answer
from mnsweep.app.models import Classifier, open_classifier, wanted_of
from mnsweep.app.requests import ClassifyRequest
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.names import TASKS
from mnsweep.pictures.annotate import Marked, size_of, write_marked
from mnsweep.pictures.decode import SUFFIXES, is_picture
from mnsweep.worker.proxy import NewWorker, WorkerProcess

DETECTION_VALUES = 6  # a box, a probability and a class


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: the class (the number of the output), its label, and its probability from 0 to 1.

    A detector's has a `box` (left, top, right, bottom) in pixels of the picture. For an embedding the label is another picture,
    `distance` is the distance of both embeddings, and there is no probability.
    """

    label: str
    number: int
    probability: float | None
    box: tuple[int, int, int, int] | None = None
    distance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """The answers by picture, the likeliest first; `broken` are pictures that can't be read, with the reason.

    `drawn` are the copies with boxes that were written.
    """

    task: str
    pictures: dict[Path, tuple[Answer, ...]]
    broken: dict[Path, str]
    drawn: tuple[Path, ...] = ()


def classify(request: ClassifyRequest, new_worker: NewWorker | None = None) -> Classified:
    """The likeliest answers to each picture. Raises `MnsweepError` where no picture, or not the file, can be read."""
    machine, worker = read_machine(), new_worker or WorkerProcess
    classifier = open_classifier(request.model, wanted_of(request), machine, worker)
    paths, task = _pictures(request.pictures), TASKS[classifier.task]
    if request.draw is not None and not task.detects:
        raise MnsweepError(f"`draw` {request.draw}: a network for {classifier.task} has no boxes", "leave it out")
    answered = answer(classifier, paths, new_worker=worker, processes=machine.usable_threads)
    names = _names(request, classifier, answered)
    seen = [paths[place] for place in answered.places]
    if task.detects:
        found = [_detections(path, row, names, request.top) for path, row in zip(seen, answered.probabilities, strict=True)]
    elif task.learns == "identities":
        found = _nearest(seen, answered.probabilities, request.top)
    else:
        found = _likeliest(answered.probabilities, names, request.top)
    pictures = dict(zip(seen, found, strict=True))
    return Classified(
        task=classifier.task,
        pictures=pictures,
        broken={paths[place]: reason for place, reason in answered.broken.items()},
        drawn=_drawn(request.draw, pictures) if request.draw is not None else (),
    )


def _names(request: ClassifyRequest, classifier: Classifier, answered: Answered) -> Sequence[str]:
    """What the outputs are called, or a detector's classes, the background first."""
    outputs = answered.probabilities.shape[1]
    labels = read_labels(request.labels) if request.labels else classifier.labels
    if not TASKS[classifier.task].detects:
        return labels_for(labels, outputs, classifier.label_offset, request.labels or request.model)
    if labels:
        return labels
    most = answered.probabilities.reshape(-1, DETECTION_VALUES)[:, -1].max()
    return [str(number) for number in range(int(most) + 1)]


def _likeliest(probabilities: Probabilities, names: Sequence[str], top: int) -> list[tuple[Answer, ...]]:
    best = top_classes(probabilities, top)
    return [
        tuple(Answer(label=names[c], number=int(c), probability=float(row[c])) for c in chosen)
        for row, chosen in zip(probabilities, best, strict=True)
    ]


def _detections(path: Path, row: NDArray[np.float32], names: Sequence[str], top: int) -> tuple[Answer, ...]:
    """The likeliest detections, which the file has in order, with boxes in pixels."""
    width, height = size_of(path)
    found = []
    for y0, x0, y1, x1, probability, number in row.reshape(-1, DETECTION_VALUES)[:top].tolist():
        if number:
            label = names[int(number)] if number < len(names) else str(int(number))
            box = round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height)
            found.append(Answer(label=label, number=int(number), probability=probability, box=box))
    return tuple(found)


def _nearest(paths: Sequence[Path], embeddings: Probabilities, top: int) -> list[tuple[Answer, ...]]:
    """The other pictures with the nearest embeddings."""
    if len(paths) < 2:
        raise MnsweepError(f"{paths[0]}: an embedding tells how alike pictures are", "name two pictures or more")
    everyone = np.arange(len(paths))
    found = []
    for i in everyone:
        others = everyone[everyone != i]
        apart = np.sqrt(squared_distances(embeddings, np.column_stack([np.full_like(others, i), others])))
        order = np.argsort(apart, kind="stable")[:top]
        answers = [(int(others[j]), float(apart[j])) for j in order]
        found.append(tuple(Answer(label=str(paths[n]), number=n, probability=None, distance=d) for n, d in answers))
    return found


def _drawn(folder: Path, pictures: dict[Path, tuple[Answer, ...]]) -> tuple[Path, ...]:
    """Write copies with the boxes drawn in, by the names of the pictures."""
    targets: dict[Path, Path] = {}
    for path in pictures:
        target = folder / f"{path.stem}.png"
        if target in targets.values() or target.exists():
            raise MnsweepError(f"`draw` {target}: is there already", "name another folder")
        targets[path] = target
    for path, target in targets.items():
        marks = [Marked(a.box, f"{a.label} {100 * (a.probability or 0):.0f} %", a.number) for a in pictures[path] if a.box]
        write_marked(path, marks, target)
    return tuple(targets.values())


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
