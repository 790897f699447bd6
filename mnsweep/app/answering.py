"""Answers of a file about many pictures: decoded in worker processes, run in another one."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnsweep.accuracy.scores import Probabilities
from mnsweep.app.models import Classifier
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.pictures.stream import streaming
from mnsweep.worker.base import Offer
from mnsweep.worker.proxy import CellError, NewWorker

KEY = "classifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """`probabilities` (pictures, outputs) of the pictures at `places`; `broken` are the other places, with the reason.

    Outputs that choose no class are as the file gives them.

    `seconds` are wall time, of which the runtime was busy for `busy_s`.
    """

    places: tuple[int, ...]
    probabilities: Probabilities
    broken: dict[int, str]
    seconds: float
    busy_s: float


def answer(
    classifier: Classifier,
    paths: Sequence[Path],
    *,
    new_worker: NewWorker,
    processes: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Answered:
    """Run the pictures, one at a time on one thread. `progress` is told how many are done.

    Raises `UnavailableError` where the runtime is not installed, and `MnsweepError` where it does not take the file.
    """
    places: list[int] = []
    found: list[Probabilities] = []
    broken: dict[int, str] = {}
    pictures = streaming(paths, classifier.resolution, classifier.preprocessing, processes)
    with pictures as chunks, new_worker() as worker:
        worker.pin(1)
        try:
            _check_offer(classifier, worker.offer(classifier.runtime))
            worker.classifier(KEY, classifier.content, classifier.runtime, classifier.precision, 1)
            began, busy_s = time.perf_counter(), 0.0
            for chunk in chunks:
                broken |= chunk.broken
                if chunk.places:
                    told = worker.classify(KEY, chunk.pixels, classifier.preprocessing, has_softmax=classifier.is_final)
                    places += chunk.places
                    found.append(told.probabilities)
                    busy_s += told.seconds
                progress(len(places) + len(broken))
        except CellError as error:
            raise MnsweepError(f"{classifier.name}: {classifier.runtime} does not run it: {error}") from None
    if not found:
        first = next(iter(broken.values()), "there are no pictures")
        raise MnsweepError(first if len(broken) < 2 else f"none of {len(paths)} pictures can be read; the first: {first}")
    return Answered(
        places=tuple(places),
        probabilities=np.concatenate(found),
        broken=broken,
        seconds=time.perf_counter() - began,
        busy_s=busy_s,
    )


def _check_offer(classifier: Classifier, offer: Offer) -> None:
    """Raise `UnavailableError` where the runtime is not installed, or does not run the file's precision here."""
    if offer.obstacle:
        raise UnavailableError(f"{classifier.name}: {offer.obstacle}")
    if classifier.precision not in offer.precisions:
        has = ", ".join(offer.precisions)
        raise UnavailableError(
            f"{classifier.runtime} {offer.version} offers no {classifier.precision} on this CPU (it has {has})"
        )
