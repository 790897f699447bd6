"""What all generated data sets share: splits, seeds, and processes that draw."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mnsweep.errors import MnsweepError

SPLITS = ("train", "val")
CHUNK = 100  # pictures that a process draws at once
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pictures to make: how many, their side in pixels, and the seed of everything that varies.

    A share `wrong_labels` of those to train on is labelled wrongly, where the set has classes.
    """

    train: int
    validation: int
    size: int
    seed: int
    wrong_labels: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by split."""
        return dict(zip(SPLITS, (self.train, self.validation), strict=True))


def new_folder(folder: Path, inner: Sequence[str] = SPLITS) -> None:
    """Make a folder with some folders in it. Raises `MnsweepError` where it holds something else, or can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise MnsweepError(f"{folder}: is not empty", "name a new folder")
        for name in inner:
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise MnsweepError(f"{folder}: {error.strerror}") from None


def drawn_by(draw: Callable[[Path, Wanted, str, range], None], folder: Path, wanted: Wanted, processes: int) -> Iterator[int]:
    """Have processes draw all pictures, by split and numbers; yields how many are done."""
    jobs = [
        (split, range(start, min(start + CHUNK, count)))
        for split, count in wanted.counts.items()
        for start in range(0, count, CHUNK)
    ]
    done = 0
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(partial(draw, folder, wanted), *job) for job in jobs]
        for (_, numbers), each in zip(jobs, waiting, strict=True):
            each.result()
            done += len(numbers)
            yield done


def seeded(wanted: Wanted, split: str, number: int) -> np.random.Generator:
    """What varies of one picture: it depends on the seed, the split and the number alone."""
    return np.random.default_rng((wanted.seed, SPLITS.index(split), number))


def as_colour(values: Sequence[float] | np.ndarray) -> Colour:
    """A colour of three numbers, clipped to 0 to 255."""
    red, green, blue = (int(np.clip(value, 0, 255)) for value in values)
    return red, green, blue
