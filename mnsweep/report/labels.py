"""Direct labels that never overlap: each takes the nearest free place beside its point, or stays away."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

_DISTANCES = (6, 14, 24, 36)  # points of type
_DIRECTIONS = (
    ("right", "bottom"),
    ("left", "bottom"),
    ("right", "top"),
    ("left", "top"),
    ("center", "bottom"),
    ("center", "top"),
)
_POINT_RADIUS = 5.0
_LEADER_FROM = 10  # a label further away than this gets a line to its point


def place_labels(
    axes: Axes,
    labels: Sequence[tuple[float, float, str]],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]] = (),
) -> list[Annotation]:
    """Annotate (x, y, text) so that no label covers another, a point, the line, or the edge.

    Axis limits must be set. A label that finds no place is left out; those placed are returned.
    """
    canvas = FigureCanvasAgg(axes.get_figure(root=True))
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    radius = _POINT_RADIUS * canvas.figure.dpi / 72
    corners = [axes.transData.transform(corner) for corner in line]
    taken = [_box(centre, centre, radius) for centre in map(axes.transData.transform, points)]
    taken += [_box(a, b, 1.0) for a, b in pairwise(corners)]
    inside, placed = axes.get_window_extent(), []
    for x, y, text in labels:
        for annotation in _tries(axes, x, y, text):
            annotation.update_positions(renderer)
            box = Text.get_window_extent(annotation).expanded(1.02, 1.08)
            if _within(box, inside) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                placed.append(annotation)
                break
            annotation.remove()
    return placed


def _box(a: NDArray[np.float64], b: NDArray[np.float64], margin: float) -> Bbox:
    (left, right), (bottom, top) = sorted((a[0], b[0])), sorted((a[1], b[1]))
    return Bbox.from_extents(left - margin, bottom - margin, right + margin, top + margin)


def _tries(axes: Axes, x: float, y: float, text: str) -> Iterator[Annotation]:
    for distance, (ha, va) in product(_DISTANCES, _DIRECTIONS):
        dx = {"right": -distance, "left": distance, "center": 0}[ha]
        dy = {"bottom": distance, "top": -distance}[va] / (2 if dx else 1)
        leader = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6} if distance > _LEADER_FROM else None
        yield axes.annotate(
            text,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha=ha,
            va=va,
            fontsize=8,
            zorder=4,
            arrowprops=leader,
            annotation_clip=False,
        )


def _within(box: Bbox, outer: Bbox) -> bool:
    return bool(box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1)
