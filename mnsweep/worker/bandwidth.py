"""Measure memory bandwidth by copying arrays larger than the caches."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

COPY_BYTES = 2**27  # per thread; several times the last-level cache of most machines
REPEATS = 5


def bandwidth(threads: int) -> float:
    """Bytes per second, read plus written, of the fastest of a few copies by `threads` concurrent threads.

    The fastest copy counts, because a roof is the machine's limit (McCalpin's STREAM also reports the fastest).
    """
    sources = [np.ones(COPY_BYTES, np.uint8) for _ in range(threads)]
    targets = [np.ones(COPY_BYTES, np.uint8) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return max(_copy_rate(pool, sources, targets) for _ in range(REPEATS))


def _copy_rate(pool: ThreadPoolExecutor, sources: list[np.ndarray], targets: list[np.ndarray]) -> float:
    began = time.perf_counter()
    list(pool.map(np.copyto, targets, sources))
    return 2 * COPY_BYTES * len(sources) / (time.perf_counter() - began)
