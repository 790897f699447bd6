"""The legend beside a plot: α by colour, resolution by shape, deployment by fill, and lines."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from mnsweep.plots.markers import EDGE, EDGE_WIDTH, LEGEND_LIMIT, RING, Points

Handle: TypeAlias = Line2D | tuple[Line2D, ...]
_ALPHA = "width multiplier α"
_GREY = "#bbbbbb"
_DOT: dict[str, Any] = {"linestyle": "", "markeredgecolor": EDGE, "markeredgewidth": EDGE_WIDTH}
_WIDTH = 7  # points, of a marker
_NARROW = 0.66  # share of the figure: width of the axes if the legend names deployments
_CHARACTERS = 26  # that fit beside the axes
_GLUE = "\N{NO-BREAK SPACE}"
_FONT = 8  # points
_BELOW_AXES = 0.085  # share of the figure: how far below the axes a legend may reach
_LABEL_HEIGHT = 0.13  # share of the figure
_BAR = 11  # height of a colour bar in type heights


def make_room(axes: Axes, points: Points) -> None:
    """Shrink axes that are alone in their figure if the legend names deployments."""
    if points.fills.names:
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, _NARROW, box.height))


def add_legend(axes: Axes, points: Points, others: Sequence[Line2D]) -> None:
    """Put the legend to the right of `axes`, with `others` at the end."""
    entries = [*_alphas(points), *_resolutions(points), *_deployments(points), (Line2D([], [], linestyle=""), "")]
    entries += [(other, _wrapped(str(other.get_label()))) for other in others]
    many_alphas = len(points.alphas) > LEGEND_LIMIT
    legend = axes.legend(
        *zip(*entries, strict=True),
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=_FONT,
        labelspacing=_spacing(axes, [label for _, label in entries], below=_BAR if many_alphas else 0.0),
    )
    if many_alphas:
        _add_colour_bar(axes, points=points, legend=legend)


def _spacing(axes: Axes, labels: list[str], below: float) -> float:
    """Space between entries in type heights: 0.5, or less if a long legend would reach the caption."""
    figure = axes.get_figure(root=True)
    inches = (axes.get_position().height + _BELOW_AXES) * figure.get_figheight()  # type: ignore[union-attr]
    further_lines = sum(label.count("\n") for label in labels)
    room = inches * 72 / _FONT - below - 1 - 1.5 * further_lines
    return min(0.5, max(0.0, room / len(labels) - 1))


def _heading(text: str) -> tuple[Handle, str]:
    return Line2D([], [], linestyle=""), text


def _alphas(points: Points) -> list[tuple[Handle, str]]:
    if len(points.alphas) > LEGEND_LIMIT:
        return []
    dots = [(Line2D([], [], marker="o", color=points.colour(a), markersize=_WIDTH, **_DOT), str(a)) for a in points.alphas]
    return [_heading(_ALPHA), *dots]


def _resolutions(points: Points) -> list[tuple[Handle, str]]:
    if len(points.resolutions) > LEGEND_LIMIT:
        return []
    shapes = [(r, points.marker(r)) for r in points.resolutions]
    dots = [(Line2D([], [], marker=marker, color=_GREY, markersize=_WIDTH, **_DOT), str(r)) for r, marker in shapes]
    return [_heading("resolution (px)"), *dots]


def _deployments(points: Points) -> list[tuple[Handle, str]]:
    if not points.fills.names:
        return []
    hidden = [name for name in points.fills.differ if name not in points.fills.settings]
    heading = f"deployment (any {', '.join(hidden)})" if hidden else "deployment"
    return [_heading(_wrapped(heading)), *((_dot(fill), _wrapped(name)) for fill, name in points.fills.names)]


def _wrapped(text: str) -> str:
    """The text in lines that fit, broken after commas."""
    glued = text.replace(" ", _GLUE).replace(f",{_GLUE}", ", ")
    return "\n".join(part for line in glued.splitlines() for part in wrap(line, _CHARACTERS)).replace(_GLUE, " ")


def _dot(fill: Any) -> Handle:
    if fill == "none":
        return _disc("full", _GREY), _disc("full", "white", _WIDTH * RING)
    return _disc(fill, _GREY)


def _disc(fill: Any, colour: str, width: float = _WIDTH) -> Line2D:
    return Line2D([], [], marker="o", color=colour, markersize=width, fillstyle=fill, markerfacecoloralt="white", **_DOT)


def _add_colour_bar(axes: Axes, *, points: Points, legend: Legend) -> None:
    """Add a colour bar for α below the legend."""
    figure: Figure = axes.get_figure(root=True)  # type: ignore[assignment]
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    box, foot = axes.get_position(), legend.get_window_extent(renderer).y0 / figure.bbox.height
    top = min(0.5, foot - 0.02)
    low = top < box.y0 + _LABEL_HEIGHT  # no room for the label beside the bar: put it above
    top -= 0.035 if low else 0
    bottom = min(box.y0 + 0.01, max(box.y0 - 0.06, top - 0.3))
    place = figure.add_axes((box.x1 + 0.035, bottom, 0.02, top - bottom))
    bar = figure.colorbar(mpl.cm.ScalarMappable(points.norm, "cividis"), cax=place)
    if low:
        place.set_title(_ALPHA, loc="left", fontsize=_FONT)
    else:
        bar.set_label(_ALPHA)
