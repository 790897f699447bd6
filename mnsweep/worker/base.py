"""What a runtime is: an offer, and models that run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Run = Callable[[], None]
PROFILED_RUNS = 3  # before and after the timed ones, so that an average is of warm runs


@dataclass(frozen=True, slots=True)
class Offer:
    """Version, and precisions that run on this machine; where there are none, `obstacle` says why and how to fix it."""

    version: str = ""
    precisions: tuple[str, ...] = ()
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One operator that really runs: name, kind and implementation as the runtime calls them, and nanoseconds a run."""

    name: str
    op: str
    implementation: str
    ns: float


class Session(Protocol):
    """A model that is ready to run, on image batches of `shape`."""

    shape: tuple[int, ...]

    def outputs(self, images: Array) -> dict[str, Array]:
        """The outputs for one batch of float32 images (batch, 3, R, R), by name."""
        ...

    def bound(self, images: Array) -> Run:
        """A callable that runs this batch once and does as little else as possible: what is timed."""
        ...

    def node_times(self, images: Array, runs: int) -> list[NodeTime]:
        """Every operator that ran, averaged over `runs`; only of a session opened with `profiled`."""
        ...


class Runtime(Protocol):
    """A runtime, made with the part of its name after the colon, e.g. an execution provider; empty where there is none."""

    def __init__(self, option: str) -> None: ...

    def offer(self) -> Offer:
        """Version and precisions that run on this machine."""
        ...

    def open(self, model: bytes, precision: str, threads: int, *, profiled: bool = False) -> Session:
        """Make an ONNX model ready to run with a pool of `threads`.

        An int8 model carries its precision itself. Raises whatever the runtime raises on a model that it does
        not accept, and `ValueError` where it would run at another precision than asked for.
        """
        ...


def random_images(shape: Sequence[int]) -> Array:
    """A fixed random float32 batch of this shape, standard normal."""
    return np.random.default_rng(0).standard_normal(tuple(shape), dtype=np.float32)


def ready(session: Session) -> Run:
    """The callable that is timed.

    Raises `ValueError` when the output is not finite: it would be timed with numbers that no real network has.
    """
    images = random_images(session.shape)
    if not all(np.isfinite(output).all() for output in session.outputs(images).values()):
        raise ValueError("the output is not finite")
    return session.bound(images)
