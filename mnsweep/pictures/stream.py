"""Decode many pictures in worker processes, in order, so that whoever reads them need not wait."""

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mnsweep.errors import MnsweepError
from mnsweep.pictures.decode import decode
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing

CHUNK = 32  # pictures that a process decodes at once
AHEAD = 4  # chunks that each process may be ahead of the reader


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decoded pictures (n, R, R, 3); `places` are their numbers in the whole list. `broken` are numbers with a reason."""

    places: tuple[int, ...]
    pixels: Pixels
    broken: dict[int, str]


@contextmanager
def streaming(
    paths: Sequence[Path], resolution: int, preprocessing: Preprocessing, processes: int
) -> Iterator[Iterator[Chunk]]:
    """The pictures in order, some at a time; one that can't be read is `broken`, and the others go on.

    Decoding starts at once, so that whoever reads them may prepare meanwhile.
    """
    jobs = (range(start, min(start + CHUNK, len(paths))) for start in range(0, len(paths), CHUNK))
    if len(paths) <= CHUNK:
        yield (_decode([paths[i] for i in job], job.start, resolution, preprocessing) for job in jobs)
        return
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))

    def start(job: range) -> "Future[Chunk]":
        return pool.submit(_decode, [paths[i] for i in job], job.start, resolution, preprocessing)

    try:
        yield _in_order(deque(start(job) for job in islice(jobs, processes * AHEAD)), map(start, jobs))
        pool.shutdown(cancel_futures=True)  # a pool that ends with the interpreter may complain about a closed pipe
    except BrokenProcessPool:
        raise MnsweepError("a process that decodes pictures ended: is there enough memory?") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _in_order(waiting: "deque[Future[Chunk]]", following: Iterator["Future[Chunk]"]) -> Iterator[Chunk]:
    while waiting:
        chunk = waiting.popleft().result()
        waiting.extend(islice(following, 1))
        yield chunk


def _decode(paths: Sequence[Path], first: int, resolution: int, preprocessing: Preprocessing) -> Chunk:
    places, pixels, broken = [], [], dict[int, str]()
    for place, path in enumerate(paths, first):
        try:
            pixels.append(decode(path, resolution, preprocessing))
            places.append(place)
        except MnsweepError as error:
            broken[place] = error.what
    shape = (0, resolution, resolution, 3)
    return Chunk(tuple(places), np.stack(pixels) if pixels else np.empty(shape, np.uint8), broken)
