"""Pictures to train on, decoded once into memory at the network's resolution."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnsweep.errors import MnsweepError
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.pictures.stream import streaming
from mnsweep.tasks.kind import Examples, Split
from mnsweep.wording import count_of


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels (n, R, R, 3) of pictures, and the pictures themselves; `broken` ones are left out."""

    pixels: Pixels
    examples: Examples
    broken: dict[Path, str]


def decoded(
    pictures: Examples,
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
    return Decoded(pixels[: len(places)], pictures.part(places), broken)


def data_bytes(split: Split, resolution: int) -> int:
    """The memory that the decoded pictures take."""
    return (len(split.train.paths) + len(split.validation.paths)) * resolution * resolution * 3
