"""Decode many pictures in worker processes, in order, so that whoever reads them need not wait."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mnsweep.errors import MnsweepError
from mnsweep.pictures.decode import decode
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing

CHUNK = 16  # pictures that a process decodes at once
AHEAD = 4  # chunks that each process may be ahead of the reader


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decoded pictures (n, R, R, 3); `places` are their numbers in the whole list. `broken` are numbers with a reason."""

    places: tuple[int, ...]
    pixels: Pixels
    broken: dict[int, str]


def stream(paths: Sequence[Path], resolution: int, preprocessing: Preprocessing, processes: int) -> Iterator[Chunk]:
    """The pictures in order, some at a time; one that can't be read is `broken`, and the others go on."""
    jobs = (range(start, min(start + CHUNK, len(paths))) for start in range(0, len(paths), CHUNK))
    if len(paths) <= CHUNK:
        yield from (_decode([paths[i] for i in job], job.start, resolution, preprocessing) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:

        def start(job: range) -> "Future[Chunk]":
            return pool.submit(_decode, [paths[i] for i in job], job.start, resolution, preprocessing)

        waiting = [start(job) for job in islice(jobs, processes * AHEAD)]
        try:
            while waiting:
                chunk = waiting.pop(0).result()
                waiting += [start(job) for job in islice(jobs, 1)]
                yield chunk
        except BrokenProcessPool:
            raise MnsweepError("a process that decodes pictures ended: is there enough memory?") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
