"""Labelled pictures: class folders, a flat folder with a label file, or a list in CSV."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnsweep.errors import MnsweepError
from mnsweep.pictures.decode import SUFFIXES, is_picture
from mnsweep.wording import count_of

MOST_PICTURES = 10_000_000
UNLABELLED = -1
_HEADER = ("picture", "label")


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Pictures in order, each with its class (an index of `classes`), or `UNLABELLED`; `classes` are names, in order."""

    name: str
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    @property
    def is_labelled(self) -> bool:
        """Whether the classes of all pictures are known."""
        return UNLABELLED not in self.labels


def find_pictures(data: Path, labels: Path | None = None, classes: Sequence[str] = ()) -> LabelledPictures:
    """The pictures of `data`: a folder with a folder for each class, a flat folder, or a CSV file (picture, label).

    A flat folder is labelled by the file `labels`: lines `PICTURE LABEL`, or as many lines of labels as there are pictures, in
    the order of their names (ImageNet's validation folder). Labels are numbers, or names among `classes`, which are those of
    the network; class folders are matched to them by name, or else numbered in the order of their names. Without labels the
    pictures of a flat folder are unlabelled. Raises `MnsweepError` for what does not fit.
    """
    if data.is_file():
        return _from_csv(data, classes)
    try:
        entries = sorted(data.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        raise MnsweepError(f"`data` {data}: no such folder") from None
    except OSError as error:
        raise MnsweepError(f"`data` {data}: {error.strerror}") from None
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    pictures = [entry for entry in entries if is_picture(entry)]
    if labels is None and not pictures and folders:
        return _from_class_folders(data, folders, classes)
    if not pictures:
        raise MnsweepError(f"`data` {data}: holds no pictures ({', '.join(SUFFIXES)})")
    numbers = [UNLABELLED] * len(pictures) if labels is None else _labels_of(pictures, labels, classes)
    return LabelledPictures(data.name, tuple(pictures), tuple(numbers), tuple(classes))


def _from_class_folders(data: Path, folders: Sequence[Path], classes: Sequence[str]) -> LabelledPictures:
    names = [folder.name for folder in folders]
    lower = [name.casefold() for name in names]
    if twice := [name for name in names if lower.count(name.casefold()) > 1]:
        raise MnsweepError(f"`data` {data}: has one class folder twice, as {' and '.join(twice)}", "rename one, or join them")
    order = _order(names, classes, data)
    paths, labels = [], []
    for folder, number in zip(folders, order, strict=True):
        found = sorted(path for path in folder.rglob("*") if is_picture(path))
        paths += found
        labels += [number] * len(found)
    if not paths:
        raise MnsweepError(f"`data` {data}: its {count_of(len(folders), 'class folder')} hold no pictures")
    return LabelledPictures(data.name, tuple(paths), tuple(labels), tuple(classes) or tuple(names))


def _order(names: Sequence[str], classes: Sequence[str], data: Path) -> list[int]:
    """The class of each folder: by name, or, where no name is known, by order."""
    if all(name.isdecimal() for name in names):
        return [_in_range(int(name), classes, data) for name in names]
    known = {name.casefold(): i for i, name in enumerate(classes)}
    matched = [known.get(name.casefold()) for name in names]
    if None not in matched:
        return [number for number in matched if number is not None]
    unknown = names[matched.index(None)]
    if classes and any(number is not None for number in matched):
        raise MnsweepError(f"`data` {data}: the class folder {unknown} is none of the network's classes")
    if classes and len(classes) != len(names):
        folders = count_of(len(names), "class folder")
        what = (
            f"`data` {data}: has {folders} that the network has no class for, e.g. {unknown}, and it has {len(classes)} classes"
        )
        raise MnsweepError(what, "name the folders by their numbers, or as the network's labels are")
    return list(range(len(names)))


def _in_range(number: int, classes: Sequence[str], where: object) -> int:
    if classes and number >= len(classes):
        raise MnsweepError(f"{where}: the label {number} does not fit: the network has {len(classes)} classes, from 0")
    return number


def _number(label: str, classes: Sequence[str], where: str) -> int:
    """The class that a label in a file names."""
    if label.isdecimal() and len(label) < 10:
        return _in_range(int(label), classes, where)
    known = {name.casefold(): i for i, name in enumerate(classes)}
    if label.casefold() not in known:
        raise MnsweepError(f"{where}: the label {label!r:.80} is none of the network's classes", "write their names or numbers")
    return known[label.casefold()]


def _read_lines(path: Path, setting: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise MnsweepError(f"`{setting}` {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MnsweepError(f"`{setting}` {path}: is no text in UTF-8") from None


def _labels_of(pictures: Sequence[Path], labels: Path, classes: Sequence[str]) -> list[int]:
    lines = [line.strip() for line in _read_lines(labels, "labels") if line.strip()]
    pairs = [(name, label.strip()) for name, _, label in (line.replace("\t", " ").partition(" ") for line in lines) if label]
    by_name = dict(pairs)
    if any(path.name in by_name for path in pictures):
        if twice := next((name for name, label in pairs if by_name[name] != label), None):
            raise MnsweepError(f"`labels` {labels}: has two labels for {twice}", "leave one of the lines out")
        if missing := next((path for path in pictures if path.name not in by_name), None):
            raise MnsweepError(f"`labels` {labels}: has no line for {missing.name}")
        return [_number(by_name[path.name], classes, f"`labels` {labels}") for path in pictures]
    if len(lines) != len(pictures):
        raise MnsweepError(f"`labels` {labels}: has {len(lines)} lines for {len(pictures)} pictures", "write one for each")
    return [_number(line, classes, f"`labels` {labels}") for line in lines]


def _from_csv(path: Path, classes: Sequence[str]) -> LabelledPictures:
    if is_picture(path):
        raise MnsweepError(f"`data` {path}: is a picture", "name a folder of pictures, or a CSV file that lists them")
    rows = csv.DictReader(_read_lines(path, "data"))
    if {*_HEADER} - {*(rows.fieldnames or ())}:
        what = f"`data` {path}: is no folder, and no CSV file whose first line is {','.join(_HEADER)}"
        raise MnsweepError(what, "add that line, and a line for each picture below it")
    paths, labels = [], []
    for row in rows:
        picture, where = path.parent / (row["picture"] or ""), f"`data` {path}: line {rows.line_num}"
        if not picture.is_file():
            raise MnsweepError(f"{where}: {picture}: no such picture", "paths are relative to the folder of the CSV file")
        paths.append(picture)
        labels.append(_number((row["label"] or "").strip(), classes, where))
    if not paths:
        raise MnsweepError(f"`data` {path}: lists no pictures", "add a line for each below the first")
    return LabelledPictures(path.stem, tuple(paths), tuple(labels), tuple(classes))
