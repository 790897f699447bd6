"""The commands about trained networks and pictures, as functions: import one, classify pictures, score it, make some.

Columns of data frames have pandas' nullable types, as those of `mnsweep.api`; `attrs` have `sweep`, `machine` and
`results_dir`, None here.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from mnsweep.app.classify import classify as classify_pictures
from mnsweep.app.data import make_data
from mnsweep.app.evaluate import evaluate as evaluate_file
from mnsweep.app.evaluate import quality_columns
from mnsweep.app.evaluate_sweep import evaluate_sweep
from mnsweep.app.importing import import_weights as import_file
from mnsweep.app.requests import ClassifyRequest, DataRequest, EvaluateRequest, ImportRequest
from mnsweep.app.shards import evaluate_elsewhere
from mnsweep.frames import NOWHERE, frame_of, frame_of_rows
from mnsweep.options import request_from

PathText = str | PathLike[str]
_ANSWERS = {
    "picture": str,
    "rank": int,
    "class": int,
    "label": str,
    "probability": float,
    "distance": float,
    **dict.fromkeys(("left", "top", "right", "bottom"), float),
}
_SCORES = {
    **dict.fromkeys(("task", "metric"), str),
    **dict.fromkeys(("quality_pct", "quality_ci_low_pct", "quality_ci_high_pct"), float),
    **dict.fromkeys(("top1_pct", "top1_ci_low_pct", "top1_ci_high_pct", "top5_pct"), float),
    "images": int,
    **dict.fromkeys(
        ("seconds", "images_per_s", "busy_share", "agreement_pct", "max_probability_difference", "mcnemar_p"), float
    ),
}


def import_weights(file: PathText, out: PathText | None = None, **settings: Any) -> dict[str, Any]:
    """Import a trained MobileNet and write it as weights (`out`, a safetensors file); what `mnsweep import --json` prints.

    Raises `MnsweepError` where the file holds no MobileNet, or can't be read.
    """
    imported = import_file(request_from(ImportRequest, file=file, out=out, **settings))
    return {"weights": imported.path and str(imported.path), **imported.trained.document()}


def data(name: str, folder: PathText, **settings: Any) -> Path:
    """Generate the data set `glyphs`, `scenes`, `faces` or `places` in a new folder, to train and validate on; returns it.

    Raises `MnsweepError` where the folder is in use.
    """
    return make_data(request_from(DataRequest, name=name, folder=folder, **settings))


def classify(model: PathText, pictures: PathText | Sequence[PathText], **settings: Any) -> pd.DataFrame:
    """The likeliest answers to each picture, a row each: picture, rank from 1, class, label, probability from 0 to 1.

    A detector's have a box, in pixels of the picture (left, top, right, bottom); those of an embedding have the `distance` to
    another picture, which is the label.
    `model` is an ONNX or TensorFlow Lite file, or weights. The frame's `attrs` have `broken`: why a picture can't be read, by
    path. Raises `MnsweepError` where the file does not say how pictures become its input.
    """
    classified = classify_pictures(request_from(ClassifyRequest, model=model, pictures=pictures, **settings))
    rows = [
        {
            "picture": str(path),
            "rank": rank,
            "class": answer.number,
            "label": answer.label,
            "probability": answer.probability,
            "distance": answer.distance,
            **dict(zip(("left", "top", "right", "bottom"), answer.box or (None,) * 4, strict=True)),
        }
        for path, top in classified.pictures.items()
        for rank, answer in enumerate(top, 1)
    ]
    return frame_of_rows(_ANSWERS, rows, {**NOWHERE, "broken": _by_text(classified.broken)})


def evaluate(model: PathText | None, data: PathText, **settings: Any) -> pd.DataFrame:
    """Top-1 and top-5 in % on labelled pictures with a 95 % interval, and with `against` how another file differs: one row.

    With `sweep`, and None as `model`, the cells of that sweep that have trained weights are scored: one row for each.
    Other tasks have their own metric. The frame's `attrs` have `broken` (why a picture can't be read, by path), `by_class`
    (pictures, and those recognized, by label), and `details` (the metric's other figures). Raises `MnsweepError` for what does
    not fit.
    """
    if settings.get("sweep") is not None:
        scored = evaluate_sweep(request_from(EvaluateRequest, model=model, data=data, **settings))
        folder = scored.derived.folder
        return frame_of(scored.scored, {"sweep": folder.sweep, "machine": folder.machine, "results_dir": str(folder.path)})
    request = request_from(EvaluateRequest, model=model, data=data, **settings)
    done = evaluate_elsewhere(request) if request.elsewhere.is_asked else evaluate_file(request)
    known = {name: getattr(part, name) for part in (done.comparison, done) for name in _SCORES if hasattr(part, name)}
    row = {name: {**known, **quality_columns(done)}.get(name) for name in _SCORES}
    details = dict(done.score.details) if done.score else {}
    about = {**NOWHERE, "broken": _by_text(done.broken), "by_class": done.of_class, "details": details}
    return frame_of_rows(_SCORES, [row], about)


def _by_text(broken: dict[Path, str]) -> dict[str, str]:
    return {str(path): reason for path, reason in broken.items()}
