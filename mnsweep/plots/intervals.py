"""Intervals of latencies as two bars: thick against the other cells, thin in milliseconds.

Cells of one sweep are compared by the thick bar. The thin one also has the machine's own changes of speed, which all cells have
in common: on a noisy machine it is wide, and says nothing about which of two cells is faster.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnsweep.result import Result

THIN, THICK = 0.9, 3.2  # points of type
COLOUR = "#b3202c"
ABSOLUTE, RELATIVE = "_absolute", "_relative"  # names of the bars that no legend shows
ABOVE_MARKERS = 3.5
Place = Callable[[Result], tuple[float, float]]


def draw_intervals(
    axes: Axes,
    results: Iterable[Result],
    place: Place,
    along: Literal["x", "y"],
    *,
    scale: Callable[[Result], float] = lambda r: 1.0,
    colour: str = COLOUR,
    pale: Callable[[Result], bool] = lambda r: False,
) -> None:
    """Draw both bars of each result that has them, at its `place`; `scale` turns milliseconds into the units of the axis."""
    for r in results:
        for ends, width, name in ((r.interval_ms, THIN, ABSOLUTE), (r.relative_interval_ms, THICK, RELATIVE)):
            if ends is None:
                continue
            shown, at = [end * scale(r) for end in ends], place(r)
            where = (shown, [at[1]] * 2) if along == "x" else ([at[0]] * 2, shown)
            axes.plot(
                *where,
                color=colour,
                linewidth=width,
                alpha=0.4 if pale(r) else 1.0,
                solid_capstyle="butt",
                zorder=ABOVE_MARKERS,
                label=name,
            )


def interval_keys(results: Iterable[Result], of: str = "") -> list[Line2D]:
    """Legend entries for the bars that are drawn; `of` says which cells have them, where not all do."""
    results = list(results)
    keys = []
    if any(r.relative_interval_ms for r in results):
        keys.append(Line2D([], [], color=COLOUR, linewidth=THICK, label="against others"))
    if any(r.interval_ms for r in results):
        keys.append(Line2D([], [], color=COLOUR, linewidth=THIN, label=f"95 % interval{of}"))
    return keys
