"""Coverage, simulated: the 95 % relative interval holds the truth in at least 92 % of cells, under five kinds of noise.

The whole protocol runs, stop rule included, on a clock that does not wait: 500 sweeps of 16 cells each.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.bench.figure import Figures
from tests.simulate import CELLS, NOISES, covered

SWEEPS = 500

if __name__ == "__main__":
    figures = Figures()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for kind in NOISES:
            inside = sum(pool.map(partial(covered, kind), range(1000, 1000 + SWEEPS), chunksize=10))
            figures.at_least(f"coverage under {kind} noise", 100 * inside / (SWEEPS * len(CELLS)), 92, "%")
    figures.finish()
