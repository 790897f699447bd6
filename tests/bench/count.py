"""Counting: 10,000 designs in at most 1 s, in one process."""

from mnsweep import counting
from mnsweep.arch import factors
from mnsweep.counting import count
from mnsweep.space import Space
from tests.bench.figure import Figures, seconds


def clear_and_count() -> None:
    designs = Space(alpha="0.26:1.25:0.01", res="125:224:1").designs()
    assert len(designs) == 10_000
    for cache in (counting._of_width, factors._sizes, factors.layers_of_width):
        cache.cache_clear()
    assert sum(1 for _ in count(designs)) == 10_000


if __name__ == "__main__":
    figures = Figures()
    figures.at_most("counting 10,000 designs, the grid's enumeration included", seconds(clear_and_count), 1.0, "s")
    figures.finish()
