"""Pictures to train on, decoded once into memory at the network's resolution."""

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from mnsweep.errors import MnsweepError
from mnsweep.pictures.folders import LabelledPictures, find_pictures
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.pictures.stream import streaming
from mnsweep.wording import count_of

TRAIN, VALIDATION = "train", "val"
HELD_OUT = 0.2  # of the pictures of each class, where the folder has no `val`
FEWEST_CLASSES, FEWEST_PICTURES = 2, 2


@dataclass(frozen=True, slots=True)
class Split:
    """What to train on and what to validate on, with the same classes; `is_own` where the folder says which is which."""

    train: LabelledPictures
    validation: LabelledPictures
    is_own: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the network's outputs."""
        return self.train.classes


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels (n, R, R, 3) and the class of each picture (n,); `broken` pictures are left out."""

    pixels: Pixels
    labels: NDArray[np.int64]
    broken: dict[Path, str]


def find_split(data: Path, seed: int) -> Split:
    """The pictures of a folder with `train` and `val`, or one split by `seed`: class folders, or a CSV list (picture,label).

    Raises `MnsweepError` for a folder that nothing can be trained on.
    """
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
        return Split(train, validation, is_own=True)
    found = find_pictures(data, classes=_classes_of_list(data))
    _check_labelled(data, found)
    _check_enough(data, found)
    kept, held = _held_out(found.labels, seed)
    return Split(_part(found, kept), _part(found, held), is_own=False)


def decoded(
    pictures: LabelledPictures,
    resolution: int,
    preprocessing: Preprocessing,
    processes: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Decoded:
    """All pictures at one resolution. Raises `MnsweepError` where none can be read."""
    pixels: Pixels = np.empty((len(pictures.paths), resolution, resolution, 3), np.uint8)
    places: list[int] = []
    broken: dict[Path, str] = {}
    with streaming(pictures.paths, resolution, preprocessing, processes) as chunks:
        for chunk in chunks:
            pixels[len(places) : len(places) + len(chunk.places)] = chunk.pixels
            places += chunk.places
            broken |= {pictures.paths[place]: reason for place, reason in chunk.broken.items()}
            progress(len(places) + len(broken))
    if not places:
        raise MnsweepError(f"none of {count_of(len(broken), 'picture')} can be read; the first: {next(iter(broken.values()))}")
    return Decoded(pixels[: len(places)], np.array([pictures.labels[place] for place in places], np.int64), broken)


def data_bytes(split: Split, resolution: int) -> int:
    """The memory that the decoded pictures take."""
    return (len(split.train.paths) + len(split.validation.paths)) * resolution * resolution * 3


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


def _part(found: LabelledPictures, places: Sequence[int]) -> LabelledPictures:
    paths, labels = (tuple(values[place] for place in places) for values in (found.paths, found.labels))
    return replace(found, paths=paths, labels=labels)  # type: ignore[arg-type]
