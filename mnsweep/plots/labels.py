"""Place labels without overlaps: each label takes the nearest free place beside its point, or is left out."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

Label: TypeAlias = tuple[float, float, str]
_DISTANCES = (6, 14, 24, 36, 52)  # points of type
_DIRECTIONS = (
    ("right", "bottom"),
    ("left", "bottom"),
    ("right", "top"),
    ("left", "top"),
    ("center", "bottom"),
    ("center", "top"),
)
_RADIUS, _SMALL_RADIUS = 5.0, 3.2
_MARGIN = 1.2  # pixels around a label
_EDGE = 3  # pixels between a label and the axes
_PIECES = 12  # of a leader line, each checked for overlaps
_LEADER_FROM = 10  # points of type; a label farther away gets a line to its point
_LEADER: Any = {"arrowstyle": "-", "color": "#888888", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}


def place_labels(
    axes: Axes,
    labels: Sequence[Label],
    points: Sequence[tuple[float, float]],
    line: Sequence[tuple[float, float]] = (),
    small: Sequence[tuple[float, float]] = (),
    bars: Sequence[tuple[float, float, float]] = (),
) -> list[Annotation]:
    """Annotate (x, y, text) so that no label covers another label, a point, a bar, the line, or the edge.

    All coordinates are data coordinates; the axis limits must be final. The nearest places are tried first. The lines of a
    text are joined by commas if that fits at the same distance. The markers of `small` points take less room. `bars` are
    horizontal: (left, right, y). Returns the placed labels; a label without a free place is left out.
    """
    canvas = FigureCanvasAgg(axes.get_figure(root=True))
    renderer, pixels = canvas.get_renderer(), canvas.figure.dpi / 72  # type: ignore[no-untyped-call]
    room = _Room(axes.get_window_extent())
    at = axes.transData.transform
    room.block(_box(at(point), at(point), _RADIUS * pixels) for point in points)
    room.block(_box(at(point), at(point), _SMALL_RADIUS * pixels) for point in small)
    room.block(_box(at(a), at(b), 1.0) for a, b in pairwise(line))
    room.block(_box(at((left, y)), at((right, y)), 1.0) for left, right, y in bars)
    placed, waiting = [], list(labels)
    for distance in _DISTANCES:
        for label in list(waiting):
            if annotation := _place(axes, label, distance=distance, room=room, renderer=renderer, pixels=pixels):
                placed.append(annotation)
                waiting.remove(label)
    return placed


def _place(
    axes: Axes, label: Label, *, distance: float, room: "_Room", renderer: RendererBase, pixels: float
) -> Annotation | None:
    """The label at this distance, in the first free direction; None if no direction is free."""
    for annotation in _tries(axes, label, distance):
        annotation.update_positions(renderer)
        text = Text.get_window_extent(annotation).padded(_MARGIN)
        if room.take(text, _leader(axes, annotation, text, trim=2 * _RADIUS * pixels)):
            return annotation
        annotation.remove()
    return None


class _Room:
    """The free room within the axes, in pixels."""

    def __init__(self, axes: Bbox) -> None:
        self._inside = axes.padded(-_EDGE)
        self._taken = np.empty((0, 4))

    def block(self, boxes: Iterable[Bbox]) -> None:
        """Mark the boxes as taken, free or not."""
        self._taken = np.vstack([self._taken, *(box.extents for box in boxes)])

    def take(self, text: Bbox, leader: Sequence[Bbox]) -> bool:
        """Take the boxes of a label and its leader if all of them are free; return whether they were."""
        if not (self._inside.contains(text.x0, text.y0) and self._inside.contains(text.x1, text.y1)):
            return False
        boxes = np.array([box.extents for box in (text, *leader)])[:, None]
        apart = (boxes[..., :2] > self._taken[:, 2:]) | (boxes[..., 2:] < self._taken[:, :2])
        free = bool(apart.any(axis=-1).all())
        if free:
            self.block((text, *leader))
        return free


def _box(a: NDArray[np.float64], b: NDArray[np.float64], margin: float) -> Bbox:
    return Bbox.from_extents(*(np.minimum(a, b) - margin), *(np.maximum(a, b) + margin))


def _leader(axes: Axes, annotation: Annotation, text: Bbox, trim: float) -> list[Bbox]:
    """Small boxes along the line from a label to its point, without the last `trim` pixels at the marker."""
    if not annotation.arrowprops:
        return []
    start = text.min + annotation.arrowprops["relpos"] * text.size
    point = axes.transData.transform(annotation.xy)
    point = point + (start - point) * min(1.0, trim / float(np.hypot(*(point - start))))
    return [_box(a, b, 0.0) for a, b in pairwise(np.linspace(start, point, _PIECES + 1))]


def _tries(axes: Axes, label: Label, distance: float) -> Iterator[Annotation]:
    x, y, text = label
    for words, (ha, va) in product(dict.fromkeys((text.replace("\n", ", "), text)), _DIRECTIONS):
        dx = {"right": -distance, "left": distance, "center": 0}[ha]
        dy = {"bottom": distance, "top": -distance}[va] / (2 if dx else 1)
        start = ({"right": 1.0, "left": 0.0, "center": 0.5}[ha], {"bottom": 0.0, "top": 1.0}[va] if dx == 0 else 0.5)
        leader = {**_LEADER, "relpos": start} if distance > _LEADER_FROM else None
        yield axes.annotate(
            words,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha=ha,
            multialignment=ha,
            va=va,
            fontsize=8,
            zorder=4,
            arrowprops=leader,
            annotation_clip=False,
        )
