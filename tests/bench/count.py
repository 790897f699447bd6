"""Counting: 10,000 designs in at most 1 s, in one process."""

from mnsweep.counting import count
from mnsweep.space import Space
from tests.bench.figure import Figures, seconds


def clear_and_count() -> None:
    designs = Space(alpha="0.26:1.25:0.01", res="125:224:1").designs()
    assert len(designs) == 10_000
    for cache in ("_of_width", "_of_resolution"):
        getattr(__import__("mnsweep.counting", fromlist=[cache]), cache).cache_clear()
    assert sum(1 for _ in count(designs)) == 10_000


if __name__ == "__main__":
    figures = Figures()
    figures.at_most("counting 10,000 designs, the grid's enumeration included", seconds(clear_and_count), 1.0, "s")
    figures.finish()
