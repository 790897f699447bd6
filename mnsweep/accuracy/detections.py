"""The score of detections: COCO's mean average precision, by pycocotools (extra `mnsweep[tasks]`).

Boxes are (top, left, bottom, right) as fractions of the picture; pycocotools sees them in pixels.
"""

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.errors import UnavailableError

Numbers = NDArray[Any]
CORNERS, CLASS, CROWD = slice(0, 4), 4, 5  # columns of a true box; class 0 is no box
SCORE, OF_CLASS = 4, 5  # columns of a detection
MOST = 100  # detections a picture
RESAMPLED = 100  # times, for the interval
AREA = (0.0, 1e10)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScore:
    """In %: `map_pct` is the mean over IoU .50 to .95 and classes, with a 95 % interval from resampled pictures.

    `of_class` is by the number of the class; classes without a true box are left out.
    """

    map_pct: float
    low_pct: float
    high_pct: float
    map50_pct: float
    map75_pct: float
    of_class: dict[int, float]


def check_installed() -> None:
    """Raise `UnavailableError` where pycocotools is not installed."""
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ImportError:
        raise UnavailableError("scoring detections needs pycocotools", "pip install 'mnsweep[tasks]'") from None


def detection_score(
    detections: Numbers, truths: Numbers, sizes: Numbers, classes: int, *, seed: int | None = None
) -> DetectionScore:
    """The score of detections (pictures, n, 6), a box, a probability and a class each, against true boxes (pictures, m, 6).

    A true box is followed by its class from 1 (0: none) and by 1 for a crowd, which is neither found nor missed. `sizes`
    (pictures, 2) are height and width in pixels, and `classes` the number of classes with the background. Without a `seed`
    the interval is not computed. Raises `UnavailableError` without pycocotools.
    """
    check_installed()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = _dataset(truths, sizes, classes)
        known.createIndex()
        found = _results(detections, sizes)
        if not len(found):
            found = np.array([[0, 0, 0, 0, 0, 0, classes]])  # one that counts for no class: pycocotools refuses an empty list
        evaluation = COCOeval(known, known.loadRes(found), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(AREA)], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.params.catIds = list(range(1, classes))
        evaluation.evaluate()
        precision = _precision(evaluation)
        low, high = (np.nan, np.nan) if seed is None else _interval(evaluation, seed)
    by_class = [_mean(precision[:, :, i]) for i in range(classes - 1)]
    total = _mean(precision)
    return DetectionScore(
        map_pct=total,
        low_pct=min(low, total) if seed is not None else total,
        high_pct=max(high, total) if seed is not None else total,
        map50_pct=_mean(precision[0]),
        map75_pct=_mean(precision[5]),
        of_class={i + 1: pct for i, pct in enumerate(by_class) if (precision[:, :, i] > -1).any()},
    )


def _dataset(truths: Numbers, sizes: Numbers, classes: int) -> dict[str, Any]:
    boxes: list[dict[str, Any]] = []
    for picture, place in zip(*np.nonzero(truths[:, :, CLASS]), strict=True):
        row = truths[picture, place]
        box = _pixels(row[None, CORNERS], sizes[picture, None])[0]
        boxes.append(
            {
                "id": len(boxes) + 1,
                "image_id": int(picture),
                "category_id": int(row[CLASS]),
                "bbox": box.tolist(),
                "area": float(box[2] * box[3]),
                "iscrowd": int(row[CROWD]),
            }
        )
    images = [{"id": i, "height": int(h), "width": int(w)} for i, (h, w) in enumerate(sizes)]
    return {"images": images, "annotations": boxes, "categories": [{"id": i, "name": str(i)} for i in range(1, classes)]}


def _pixels(corners: Numbers, sizes: Numbers) -> Numbers:
    """(n, 4) left, top, width and height in pixels of corners (n, 4) as fractions of pictures of `sizes` (n, 2)."""
    top, left, bottom, right = (corners.astype(np.float64) * np.tile(sizes, 2)).T
    return np.stack([left, top, right - left, bottom - top], 1)


def _results(detections: Numbers, sizes: Numbers) -> Numbers:
    """(found, 7): picture, box, probability, class, of all places that hold a detection."""
    pictures, places = np.nonzero(detections[:, :, OF_CLASS] > 0)
    rows = detections[pictures, places].astype(np.float64)
    return np.column_stack([pictures, _pixels(rows[:, CORNERS], sizes[pictures]), rows[:, SCORE], rows[:, OF_CLASS]])


def _precision(evaluation: Any) -> Numbers:
    """(10 overlaps, 101 recalls, classes), −1 where a class has no true box."""
    evaluation.accumulate()
    found: Numbers = evaluation.eval["precision"][:, :, :, 0, 0]
    return found


def _mean(precision: Numbers) -> float:
    known = precision[precision > -1]
    return 100 * float(known.mean()) if len(known) else 0.0


def _interval(evaluation: Any, seed: int) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the score of pictures drawn with replacement; the matches stay as they are."""
    rng, matches = np.random.default_rng(seed), evaluation.evalImgs
    pictures = len(evaluation.params.imgIds)
    by_class = [matches[start : start + pictures] for start in range(0, len(matches), pictures)]
    found = []
    for _ in range(RESAMPLED):
        drawn = rng.integers(pictures, size=pictures)
        evaluation.evalImgs = [of_class[i] for of_class in by_class for i in drawn]
        found.append(_mean(_precision(evaluation)))
    evaluation.evalImgs = matches
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)
