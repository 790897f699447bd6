"""`mnsweep evaluate --plot`: a picture of a score, of the kind that the task has."""

from pathlib import Path
from typing import Any

import numpy as np

from mnsweep.accuracy.metrics import METRICS
from mnsweep.accuracy.verification import squared_distances
from mnsweep.app.evaluate import Evaluation
from mnsweep.app.requests import EvaluateRequest
from mnsweep.app.writing import check_target
from mnsweep.errors import MnsweepError
from mnsweep.names import TASKS
from mnsweep.plots.scores import bar_plot, map_plot, roc_plot
from mnsweep.tasks.identities import pairs_among
from mnsweep.tasks.kind import TaskScore
from mnsweep.tasks.places import answered_places, distances_km
from mnsweep.wording import count_of

ENDINGS = (".png", ".svg")


def check_plot(request: EvaluateRequest) -> None:
    """Raise `MnsweepError` where the plot can't be written, before anything is run."""
    path = request.plot
    if path is None:
        return
    if path.suffix.lower() not in ENDINGS:
        raise MnsweepError(f"`plot` {path}: is no {' or '.join(ENDINGS)} file", f"let its name end in {ENDINGS[0]}")
    check_target("plot", path, [known for known in (request.model, request.against, request.data) if known is not None])


def write_plot(done: Evaluation, path: Path) -> None:
    """Write the plot of a score. Raises `MnsweepError` where the task has none, or the file can't be written."""
    if done.score is None:
        raise MnsweepError(f"`plot` {path}: the pictures have no labels", "leave it out")
    try:
        path.write_bytes(_drawn(done, done.score, path.stem)[f"{path.stem}{path.suffix.lower()}"])
    except OSError as error:
        raise MnsweepError(f"`plot` {path}: {error.strerror}") from None


def _drawn(done: Evaluation, score: TaskScore, name: str) -> dict[str, bytes]:
    metric = METRICS[score.metric]
    interval = f"95 % interval {score.ci_low_pct:.1f} to {score.ci_high_pct:.1f} %"
    caption = (
        f"{metric.label}: {score.quality_pct:.1f} % ({interval}), {count_of(score.images, 'picture')} of {done.examples.name}"
    )
    match TASKS[done.task].learns:
        case "places":
            places = np.asarray(done.examples.truths[:, :2])
            return map_plot(
                places,
                answered_places(done.outputs, done.examples.names),
                distances_km(done.outputs, done.examples),
                name,
                caption,
            )
        case "identities":
            pairs, same = pairs_among(done.examples)
            distances = squared_distances(done.outputs, pairs)
            return roc_plot(distances[same], distances[~same], name, caption)
        case "attributes" | "boxes":
            known: dict[str, Any] = score.details["ap_pct"]
            return bar_plot({label: pct for label, pct in known.items() if pct is not None}, name, caption)
    raise MnsweepError(f"`plot`: a score of {done.task} has none", "`by_class` prints each class")
