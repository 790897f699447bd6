"""Classes: one of several is true of a picture. Class folders, a CSV list, or a flat folder with a label file."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

from mnsweep.accuracy.scores import score
from mnsweep.errors import MnsweepError
from mnsweep.pictures.folders import LabelledPictures, find_pictures
from mnsweep.tasks.kind import HELD_OUT, TRAIN, VALIDATION, Examples, Outputs, Split, TaskScore
from mnsweep.wording import count_of

FEWEST_CLASSES, FEWEST_PICTURES = 2, 2


class Classes:
    """Pictures of one class each; the quality is top-1."""

    metric, what, chooses, names_outputs = "top1", "classes", True, True

    def split(self, data: Path, seed: int) -> Split:
        """See `Kind`: a folder with `train` and `val`, or one split by `seed`: class folders, or a list (picture,label)."""
        halves = [data / TRAIN, data / VALIDATION]
        if all(half.is_dir() for half in halves):
            train, validation = (find_pictures(half) for half in halves)
            for half, found in zip(halves, (train, validation), strict=True):
                _check_labelled(half, found)
            if train.classes != validation.classes:
                odd = sorted({*train.classes} ^ {*validation.classes})
                has = TRAIN if odd[0] in train.classes else VALIDATION
                what = f"`data` {data}: the class {odd[0]!r:.80} is in {has} alone"
                raise MnsweepError(what, f"{TRAIN} and {VALIDATION} need the same class folders")
            _check_enough(data, train)
            return Split(_examples(train), _examples(validation), is_own=True)
        found = find_pictures(data, classes=_classes_of_list(data))
        _check_labelled(data, found)
        _check_enough(data, found)
        every, (kept, held) = _examples(found), _held_out(found.labels, seed)
        return Split(every.part(kept), every.part(held), is_own=False)

    def read(self, data: Path, labels: Path | None, names: Sequence[str]) -> Examples:
        """See `Kind`. Pictures without labels have the class −1."""
        return _examples(find_pictures(data, labels, names))

    def score(self, outputs: Outputs, examples: Examples) -> TaskScore:
        """See `Kind`."""
        found = score(outputs, examples.truths)
        return TaskScore(
            metric=self.metric,
            images=found.images,
            quality_pct=found.top1_pct,
            ci_low_pct=found.top1_ci_low_pct,
            ci_high_pct=found.top1_ci_high_pct,
            top5_pct=found.top5_pct,
        )


def _examples(found: LabelledPictures) -> Examples:
    labels = np.array(found.labels, np.int64)
    return Examples(name=found.name, paths=found.paths, truths=labels, names=found.classes)


def _check_labelled(where: Path, found: LabelledPictures) -> None:
    if not found.is_labelled:
        raise MnsweepError(f"`data` {where}: its pictures have no labels", "sort them into a folder for each class")


def _check_enough(data: Path, found: LabelledPictures) -> None:
    counts = Counter(found.labels)
    if lacking := [name for number, name in enumerate(found.classes) if not counts[number]]:
        raise MnsweepError(f"`data` {data}: the class {lacking[0]!r:.80} has no pictures", "add some, or remove its folder")
    if len(counts) < FEWEST_CLASSES:
        raise MnsweepError(
            f"`data` {data}: has pictures of one class only", "there is nothing to tell apart: add another class"
        )
    number, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < FEWEST_PICTURES:
        what = f"`data` {data}: the class {found.classes[number]!r:.80} has {count_of(fewest, 'picture')}"
        raise MnsweepError(what, "it takes two at least: one to train on, one to validate on, and dozens to learn anything")


def _classes_of_list(data: Path) -> Sequence[str]:
    """The distinct labels of a CSV list in order, where they are names; none for numbers, and for anything else."""
    if not data.is_file():
        return ()
    try:
        rows = csv.DictReader(data.read_text(encoding="utf-8-sig").splitlines())
        labels = {(row.get("label") or "").strip() for row in rows}
    except (OSError, UnicodeDecodeError):
        return ()  # `find_pictures` says what is wrong
    numbers = {int(label) for label in labels if label.isdecimal() and len(label) < 10}
    if len(numbers) == len(labels):
        return tuple(map(str, range(max(numbers, default=-1) + 1)))
    return tuple(sorted(labels - {""}))


def _held_out(labels: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Places to train on, and to validate on: of each class at least one."""
    rng, by_class = Random(seed), dict[int, list[int]]()
    for place, label in enumerate(labels):
        by_class.setdefault(label, []).append(place)
    held: set[int] = set()
    for places in by_class.values():
        held |= set(rng.sample(places, max(1, round(HELD_OUT * len(places)))))
    return [place for place in range(len(labels)) if place not in held], sorted(held)
