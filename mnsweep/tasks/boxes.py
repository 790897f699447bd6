"""Boxes: what is where in a picture? Labels as COCO's JSON or as Pascal VOC's folders (`box_files.py`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnsweep.accuracy.detections import CLASS, CROWD, check_installed, detection_score
from mnsweep.errors import MnsweepError
from mnsweep.tasks.box_files import BACKGROUND, Annotated, Picture, find_halves, find_one
from mnsweep.tasks.kind import Examples, Outputs, Split, TaskScore, held_out, no_label_file
from mnsweep.wording import count_of

VALUES = 6  # of a true box, and of a detection
CROWDS = "there is nothing to find; crowds and difficult objects do not count"
REACH = 1.0  # pixels that a box may lie outside of its picture without a word


class Boxes:
    """Pictures with boxes; the quality is COCO's mean average precision at IoU .50 to .95.

    A truth is (most boxes, 6): top, left, bottom, right as fractions of the picture, the class (0: no box), and 1 for a crowd.
    """

    metric, what, chooses, names_outputs = "map_50_95", "classes", False, True

    def split(self, data: Path, seed: int) -> Split:
        """See `Kind`: both halves of a COCO or VOC folder, or one file or folder, of which a fifth is held out."""
        check_installed()
        found = find_halves(data)
        if len(found) > 1:
            train, validation = found
            names = (BACKGROUND, *train.classes)
            parts = [_examples(part, names, data) for part in (train, validation)]
        else:
            every = _examples(found[0], (BACKGROUND, *found[0].classes), data)
            parts = [every.part(places) for places in held_out(len(every.paths), seed)]
        for part, where in zip(parts, ("to train on", "to validate on"), strict=True):
            if not _has_boxes(part):
                raise MnsweepError(f"`data` {data}: none of its pictures {where} has a box", CROWDS)
        return Split(parts[0], parts[1], is_own=len(found) > 1)

    def read(self, data: Path, labels: Path | None, names: Sequence[str]) -> Examples:
        """See `Kind`."""
        no_label_file(labels, "boxes")
        found = find_one(data)
        return _examples(found, tuple(names) or (BACKGROUND, *found.classes), data)

    def score(self, outputs: Outputs, examples: Examples) -> TaskScore:
        """See `Kind`. `outputs` are (pictures, 600): 100 detections each."""
        assert examples.sizes is not None  # noqa: S101 - for the type checker: `read` gives them
        if not _has_boxes(examples):
            raise MnsweepError(f"{examples.name}: none of the pictures has a box", CROWDS)
        found = outputs.reshape(len(outputs), -1, VALUES)
        told = detection_score(found, examples.truths, examples.sizes, len(examples.names), seed=0)
        return TaskScore(
            metric=self.metric,
            images=len(outputs),
            quality_pct=told.map_pct,
            ci_low_pct=told.low_pct,
            ci_high_pct=told.high_pct,
            details={
                "map_50_pct": told.map50_pct,
                "map_75_pct": told.map75_pct,
                "ap_pct": {examples.names[number]: pct for number, pct in told.of_class.items()},
            },
        )


def _has_boxes(examples: Examples) -> bool:
    return bool(((examples.truths[:, :, CLASS] > 0) & (examples.truths[:, :, CROWD] == 0)).any())


def _examples(found: Annotated, names: tuple[str, ...], data: Path) -> Examples:
    numbers = {name.casefold(): number for number, name in enumerate(names)}
    if lacking := [name for name in found.classes if name.casefold() not in numbers]:
        shown = ", ".join(map(repr, names[1:6])) + " …" * (len(names) > 6)
        what = f"`data` {data}: the class {lacking[0]!r:.80} of {found.name} is none of {shown}"
        raise MnsweepError(what, "name the classes alike")
    rows, lost, clipped = [], 0, 0
    for picture in found.pictures:
        kept = [(box, clip) for box, clip in _boxes(picture, numbers) if box is not None]
        lost += len(picture.boxes) - len(kept)
        clipped += sum(clip for _, clip in kept)
        rows.append([box for box, _ in kept])
    truths = np.zeros((len(rows), max(1, *map(len, rows)), VALUES), np.float32)
    for truth, boxes in zip(truths, rows, strict=True):
        truth[: len(boxes)] = np.array(boxes, np.float32).reshape(-1, VALUES)
    said = [f"{found.name}: {count_of(lost, 'box')} without area inside the picture left out"] if lost else []
    said += [f"{found.name}: {count_of(clipped, 'box')} clipped at the border of the picture"] if clipped else []
    return Examples(
        name=found.name,
        paths=tuple(picture.path for picture in found.pictures),
        truths=truths,
        names=names,
        remarks=tuple(said),
        sizes=np.array([(picture.height, picture.width) for picture in found.pictures], np.int64),
    )


def _boxes(picture: Picture, numbers: dict[str, int]) -> list[tuple[list[float] | None, bool]]:
    """Each box as a row of the truth, None without area in the picture, and whether it had to be clipped."""
    size = np.array([picture.height, picture.width] * 2)
    found: list[tuple[list[float] | None, bool]] = []
    for box in picture.boxes:
        corners = np.array(box.corners)
        inside = np.clip(corners, 0, size)
        if not np.isfinite(corners).all() or (inside[2:] <= inside[:2]).any():
            found.append((None, False))
            continue
        row = [*(inside / size).tolist(), numbers[box.name.casefold()], float(box.crowd)]
        found.append((row, bool(np.abs(corners - inside).max() > REACH)))
    return found
