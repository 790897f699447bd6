"""Run pictures through a file that classifies: an ONNX file on a runtime, or a TensorFlow Lite file on LiteRT."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnsweep.pictures.pixels import Pixels, normalized
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.base import Array
from mnsweep.worker.runtimes import load


@dataclass(frozen=True, slots=True)
class Answers:
    """`probabilities` (pictures, classes), and the seconds that the runtime took."""

    probabilities: NDArray[np.float32]
    seconds: float


class Runner(Protocol):
    """Runs one image (1, 3, R, R) and gives what the file answers: logits or probabilities (1, classes)."""

    def __call__(self, images: Array) -> Array:
        """See the class."""
        ...


def runner(content: bytes, runtime: str, precision: str, threads: int) -> Runner:
    """A function of one image (1, 3, R, R) that gives the first output of a file, as (1, classes)."""
    session = load(runtime).open(content, precision, threads)
    size: Any = session.shape[0]  # a name where it is symbolic
    batch = size if isinstance(size, int) else 1

    def run(images: Array) -> Array:
        repeated = images if batch == len(images) else np.repeat(images, batch, axis=0)
        return next(iter(session.outputs(repeated).values()))[: len(images)].reshape(len(images), -1)

    return run


def answers(run: Runner, pixels: Pixels, preprocessing: Preprocessing, *, has_softmax: bool = False) -> Answers:
    """The answers for pictures (n, R, R, 3), one at a time, as a user's program would run them.

    A file that `has_softmax` answers with probabilities, others with logits.
    """
    images = normalized(pixels, preprocessing)
    began = time.perf_counter()
    found: list[Any] = [run(images[i : i + 1]) for i in range(len(images))]
    seconds = time.perf_counter() - began
    together = np.concatenate(found)
    return Answers(together.astype(np.float32) if has_softmax else softmax(together), seconds)


def softmax(logits: NDArray[np.floating[Any]]) -> Array:
    """Probabilities (pictures, classes)."""
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
