"""Interfaces of a runtime: what it offers on this machine, and sessions that run models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Feeds: TypeAlias = Mapping[str, NDArray[Any]]  # by the name of an input
Run = Callable[[], None]
PROFILED_RUNS = 3  # warm-up runs before profiling, so that averages are over warm runs


@dataclass(frozen=True, slots=True)
class Offer:
    """A runtime's version and the precisions that run on this machine; if none do, `obstacle` says why and how to fix it."""

    version: str = ""
    precisions: tuple[str, ...] = ()
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One operator that ran: name, type and implementation as the runtime reports them, and nanoseconds per run."""

    name: str
    op: str
    implementation: str
    ns: float


class Session(Protocol):
    """A model that is ready to run on image batches of `shape`, (batch, 3, R, R)."""

    shape: tuple[int, ...]

    def outputs(self, images: Array) -> dict[str, Array]:
        """The outputs by name for one batch of float32 images (batch, 3, R, R)."""
        ...

    def bound(self, images: Array) -> Run:
        """A callable, to be timed, that runs this batch (batch, 3, R, R) once with as little overhead as possible."""
        ...

    def node_times(self, images: Array, runs: int) -> list[NodeTime]:
        """The time of every operator that ran, averaged over `runs`; requires a session opened with `profiled`."""
        ...


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a model: its numpy dtype by name, and its shape, None where a size is open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Fed:
    """A model file of anyone's, with what it is run on."""

    path: Path
    feeds: Feeds


Model: TypeAlias = bytes | Path | Fed


@runtime_checkable
class FileRuntime(Protocol):
    """A runtime that also times model files of anyone's, with any inputs."""

    def inputs(self, path: Path) -> list[Input]:
        """What the model takes. Raises the runtime's exception if it does not accept the file."""
        ...

    def open_fed(self, fed: Fed, precision: str, threads: int) -> tuple[Run, Callable[[], list[NDArray[Any]]]]:
        """A callable that runs the model once on its feeds, and one that returns the outputs of a run."""
        ...


class Runtime(Protocol):
    """A runtime; `option` is the part of its name after the colon, e.g. an execution provider, or empty."""

    def __init__(self, option: str) -> None: ...

    def offer(self) -> Offer:
        """The version, and the precisions that run on this machine."""
        ...

    def open(self, model: bytes | Path, precision: str, threads: int, *, profiled: bool = False) -> Session:
        """Prepare an ONNX model, or the one in a file, to run on a pool of `threads` threads.

        An int8 model is already quantized. Raises the runtime's exception if it does not accept the model, and
        `ValueError` if the model would run at a different precision or on a different execution provider.
        """
        ...


@lru_cache(maxsize=8)  # models of one resolution are often opened one after another, and get copies
def _random_images(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def random_images(shape: Sequence[int]) -> Array:
    """A float32 batch of this shape: fixed random numbers with a standard normal distribution."""
    return _random_images(tuple(shape)).copy()


def ready(session: Session) -> Run:
    """The callable to be timed, on one fixed random batch.

    Raises `ValueError` when an output is not finite: timing with values that no real network has would be misleading.
    """
    images = random_images(session.shape)
    if not all(np.isfinite(output).all() for output in session.outputs(images).values()):
        raise ValueError("the output is not finite")
    return session.bound(images)
