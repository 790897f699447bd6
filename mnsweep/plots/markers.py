"""Draw results as markers: colour is α, shape is resolution, fill is the deployment.

All three are readable without colour vision (cividis, distinct shapes). With a single deployment every marker is full.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal, TypeAlias, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from mnsweep.plots.deployments import Fills
from mnsweep.result import Result

MARKERS = "osD^vP*X"
LEGEND_LIMIT = 8  # values; beyond it, a colour bar and a single shape are easier to read
CROWD = 40  # points; beyond it, only the frontier has large markers
EDGE, EDGE_WIDTH = "#333333", 0.5
RING = 0.5  # width of a ring's hole, as a share of the marker's width
_SIZE, _SMALL = 46, 20  # square points of type
_QUIET = 0.35  # opacity

Place: TypeAlias = Callable[[Result], tuple[float, float]]
Fill: TypeAlias = Literal["full", "left", "right", "bottom", "top", "none"]
Colour: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The results in a plot, and the values that colour, shape and fill represent, in rising order."""

    results: tuple[Result, ...]
    alphas: tuple[float, ...]
    resolutions: tuple[int, ...]
    fills: Fills

    @classmethod
    def of(cls, results: Sequence[Result], *needed: str) -> "Points":
        """The results in which every column of `needed` is known."""
        shown = tuple(r for r in results if all(getattr(r, name) is not None for name in needed))
        alphas, resolutions = {r.alpha for r in shown}, {r.resolution for r in shown}
        return cls(
            results=shown,
            alphas=tuple(sorted(alphas)),
            resolutions=tuple(sorted(resolutions)),
            fills=Fills.of(shown, results),
        )

    @property
    def crowded(self) -> bool:
        """Whether there are more than `CROWD` points, so that dominated points are drawn small."""
        return len(self.results) > CROWD

    @property
    def norm(self) -> Normalize:
        """Maps α to the unit interval."""
        low, high = self.alphas[0], self.alphas[-1]
        return Normalize(low, high) if high > low else Normalize(low - 0.1, high + 0.1)

    def colour(self, alpha: float) -> Colour:
        """The colour of α: red, green and blue from 0 to 1."""
        return mpl.colormaps["cividis"](float(self.norm(alpha)))[:3]

    def marker(self, resolution: int) -> str:
        """The shape of a resolution; always a circle if there are too many resolutions."""
        few = len(self.resolutions) <= LEGEND_LIMIT
        return MARKERS[self.resolutions.index(resolution)] if few else "o"


def scatter(axes: Axes, points: Points, place: Place, quiet: Collection[Result] = ()) -> None:
    """Draw every point at its `place` (x, y); points in `quiet` are pale, below the others, and small if crowded."""
    hushed = frozenset(quiet)
    layers = [[r for r in points.results if (r in hushed) is below] for below in (True, False)]
    several = points.crowded or points.fills.names  # otherwise few markers overlap
    for layer, resolution in product(layers if several else [points.results], points.resolutions):
        shown = [r for r in layer if r.resolution == resolution]
        if shown:
            _draw(axes, points, shown=shown, place=place, hushed=hushed)


def _draw(axes: Axes, points: Points, *, shown: Sequence[Result], place: Place, hushed: frozenset[Result]) -> None:
    """Draw results of one resolution as one collection; a marker that is not full consists of two overlaid paths."""
    marker = points.marker(shown[0].resolution)
    parts = [(r, path, rgb) for r in shown for path, rgb in _parts(marker, points.fills.fill(r), points.colour(r.alpha))]
    opacity = [_QUIET if r in hushed else 1.0 for r, _, _ in parts]
    x, y = zip(*(place(r) for r, _, _ in parts), strict=True)
    drawn = axes.scatter(
        x,
        y,
        c=[(*rgb, a) for (_, _, rgb), a in zip(parts, opacity, strict=True)],
        s=_SMALL if points.crowded and shown[0] in hushed else _SIZE,
        marker=marker,
        edgecolors=[mpl.colors.to_rgba(EDGE, a) for a in opacity],
        linewidths=EDGE_WIDTH,
        zorder=3,
    )
    if len(parts) > len(shown):  # otherwise a single path makes a smaller file
        drawn.set_paths([path for _, path, _ in parts])


def _parts(marker: str, fill: str, colour: Colour) -> Iterator[tuple[Path, Colour]]:
    white = (1.0, 1.0, 1.0)
    if fill == "none":
        yield from ((_path(marker), colour), (_path(marker, scale=RING), white))
    elif fill == "full":
        yield (_path(marker), colour)
    else:
        yield from ((_path(marker), white), (_path(marker, fill), colour))


@cache
def _path(marker: str, fill: str = "full", scale: float = 1.0) -> Path:
    """The outline in a square of width 1, scaled about its centroid (for a triangle, not the middle of the square)."""
    style = MarkerStyle(marker, cast(Fill, fill))
    path = style.get_path().transformed(style.get_transform())
    middle = np.unique(np.asarray(path.vertices).round(9), axis=0).mean(axis=0)
    return path.transformed(Affine2D().translate(*-middle).scale(scale).translate(*middle)) if scale != 1 else path
