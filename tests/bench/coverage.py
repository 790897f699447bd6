"""Simulated: the 95 % relative interval holds the truth in 92 to 98 % of cells, and what is called certain is true in 95 %.

Five kinds of noise. The whole protocol runs, stop rule included, on a clock that does not wait: 500 sweeps of 16 cells each,
with the default rules, which stop when the frontier is decided, and with those that stop at a width.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from mnsweep.measure.rounds import narrow
from tests.bench.figure import Figures
from tests.simulate import CELLS, NOISES, RULES, Swept, swept

SWEEPS = 500


def report(figures: Figures, what: str, sweeps: list[Swept]) -> None:
    """The figures of one kind of noise and one stop rule."""
    cells = len(sweeps) * len(CELLS)
    inside, certain, wrong = (sum(getattr(s, name) for s in sweeps) for name in ("inside", "certain", "wrong"))
    figures.within(f"coverage {what}", 100 * inside / cells, 92, 98, "%")
    figures.at_most(f"wrong among certain places {what}", 100 * wrong / max(1, certain), 5, "%")
    figures.report(f"certain places {what}", 100 * certain / cells, "%")
    figures.report(f"time {what}", sum(s.seconds for s in sweeps) / len(sweeps), "s")


if __name__ == "__main__":
    found = Figures()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for kind in NOISES:
            for stop, rules in (("until decided", RULES), ("until narrow", narrow(RULES, 1.0))):
                seeds = range(1000, 1000 + SWEEPS)
                report(
                    found, f"under {kind} noise, {stop}", list(pool.map(partial(swept, kind, rules=rules), seeds, chunksize=10))
                )
    found.finish()
