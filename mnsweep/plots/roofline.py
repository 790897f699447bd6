"""The roofline plot: the rate of each layer against its arithmetic intensity, with this machine's limits.

Shape and colour are the kind of layer (readable without colour vision), area is the share of time. Layers named in a lint
finding are hollow. The same layers give the same bytes. Source: Williams et al. 2009, Roofline.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnsweep.plots.figure import files, log_axis, new_figure, own_style, say_empty
from mnsweep.plots.labels import Label, place_labels
from mnsweep.profiling.roofline import Roof, Row, in_words
from mnsweep.wording import three_digits

LOOKS = {  # shape and colour of each kind (Okabe and Ito's palette)
    "stem": ("D", "#e69f00"),
    "depthwise": ("o", "#56b4e9"),
    "pointwise": ("s", "#0072b2"),
    "head": ("^", "#d55e00"),
}
_OTHER_LOOK = ("P", "#999999")
_EDGE = "#333333"
_AREAS = (16.0, 110.0)  # square points: the minimum, and the layer that takes longest
_ROOF = "#444444"
_BESIDE, _STEPS = 1.6, 60  # factor by which the line extends beyond the outermost points; its number of points


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One layer: operations per byte, 10⁹ operations per second, share of the time in %, and whether the lint flagged it."""

    name: str
    kind: str
    intensity: float
    gflops: float
    time_pct: float
    flagged: bool

    @property
    def place(self) -> tuple[float, float]:
        """(operations per byte, 10⁹ operations per second)."""
        return self.intensity, self.gflops


def collect(rows: Sequence[Row], flagged: Collection[str] = ()) -> tuple[Point, ...]:
    """A point for every row with known intensity and rate; `flagged` are the names of the layers in lint findings."""
    total_ms = sum(row.ms for row in rows)
    return tuple(
        Point(
            name=row.name,
            kind=row.kind,
            intensity=row.intensity,
            gflops=row.gflops,
            time_pct=100 * row.ms / total_ms,
            flagged=row.name in flagged,
        )
        for row in rows
        if row.intensity is not None and row.gflops is not None
    )


def draw(points: Sequence[Point], roof: Roof, caption: str, name: str, unit: str = "GFLOP/s") -> dict[str, bytes]:
    """`name.png` and `name.svg`: rate (in `unit`) against operations per byte on logarithmic axes, with the known roofs."""
    with own_style():
        figure, axes = new_figure("How close is each layer to the limits of this machine?", caption)
        draw_roofline(axes, points, roof, unit)
        return files(figure, name)


def draw_roofline(axes: Axes, points: Sequence[Point], roof: Roof, unit: str = "GFLOP/s") -> None:
    """Draw the layers and the known roofs, and a legend to the right of the axes."""
    axes.set_xlabel(f"arithmetic intensity ({unit.removesuffix('/s').removeprefix('G')} per byte)")
    axes.set_ylabel(unit)
    if not points:
        say_empty(axes, "no layer was profiled")
        return
    line = roofline([p.intensity for p in points], roof)
    log_axis(axes, "x", [p.intensity for p in points] + [x for x, _ in line])
    log_axis(axes, "y", [p.gflops for p in points] + [y for _, y in line])
    _draw_layers(axes, points)
    if line:
        axes.plot(*zip(*line, strict=True), color=_ROOF, linewidth=1.4, zorder=2)
    _add_legend(axes, points)
    _place_labels(axes, points, line=line, roofs=_roof_labels(line, roof, unit))


def _draw_layers(axes: Axes, points: Sequence[Point]) -> None:
    longest = max(p.time_pct for p in points)
    for point in points:
        axes.scatter(*point.place, s=max(_AREAS[0], _AREAS[1] * point.time_pct / longest), zorder=3, **_look(point))


def _place_labels(axes: Axes, points: Sequence[Point], *, line: Sequence[tuple[float, float]], roofs: Sequence[Label]) -> None:
    for label in place_labels(axes, [*roofs, *_labels(points)], [p.place for p in points], line=line):
        if label.get_text() in {text for _, _, text in roofs}:
            label.set(color=_ROOF, fontstyle="italic")


def roofline(intensities: Sequence[float], roof: Roof) -> list[tuple[float, float]]:
    """Points (operations per byte, 10⁹ operations per second) of the lower roof; empty if no roof is known.

    The line extends beyond all layers and the ridge.
    """
    known = [*intensities, *([roof.ridge] if roof.ridge else [])]
    steps = [float(x) for x in np.geomspace(min(known) / _BESIDE, max(known) * _BESIDE, _STEPS)]
    heights = {x: _height(roof, x) for x in sorted({*steps, *([roof.ridge] if roof.ridge else [])})}
    return [(x, y) for x, y in heights.items() if y is not None]


def _height(roof: Roof, intensity: float) -> float | None:
    if roof.bandwidth_gb_per_s is None:
        return roof.peak_gflops
    memory = roof.bandwidth_gb_per_s * intensity
    return memory if roof.peak_gflops is None else min(memory, roof.peak_gflops)


def _roof_labels(line: Sequence[tuple[float, float]], roof: Roof, unit: str) -> list[Label]:
    """A label with the value of each roof, at the middle of its part of the line."""
    flat = [place for place in line if place[1] == roof.peak_gflops]
    slope = [place for place in line if place[1] != roof.peak_gflops]
    labels = []
    if flat:
        labels.append((*flat[len(flat) // 2], f"matrix product: {three_digits(roof.peak_gflops or 0.0)} {unit}"))
    if slope:
        labels.append((*slope[len(slope) // 2], f"memory: {three_digits(roof.bandwidth_gb_per_s or 0.0)} GB/s"))
    return labels


def _look(point: Point) -> dict[str, Any]:
    shape, colour = LOOKS.get(point.kind, _OTHER_LOOK)
    fill = {"facecolors": "white", "edgecolors": colour, "linewidths": 1.4}
    full = {"facecolors": colour, "edgecolors": _EDGE, "linewidths": 0.5}
    return {"marker": shape, **(fill if point.flagged else full)}


def _labels(points: Sequence[Point]) -> list[Label]:
    """One label for all layers of the same kind and intensity, at the middle layer; labels with the most time come first."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for point in points:
        groups.setdefault((point.kind, point.intensity), []).append(point)
    by_time = sorted(groups.values(), key=lambda group: -sum(p.time_pct for p in group))
    middles = [(sorted(group, key=lambda p: p.gflops)[len(group) // 2], group) for group in by_time]
    return [(*middle.place, in_words([p.name for p in group])) for middle, group in middles]


def _add_legend(axes: Axes, points: Sequence[Point]) -> None:
    handles = []
    for kind in dict.fromkeys(p.kind for p in points):
        shape, colour = LOOKS.get(kind, _OTHER_LOOK)
        share = sum(p.time_pct for p in points if p.kind == kind)
        handles.append(_key(f"{kind} {share:.0f} %", marker=shape, markerfacecolor=colour))
    if any(p.flagged for p in points):
        handles.append(_key("hollow: named in\nthe findings", marker="o", markerfacecolor="white"))
    beside: Any = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False, "fontsize": 8}
    axes.legend(handles=handles, title="share of the time", title_fontsize=8, **beside)


def _key(label: str, **look: Any) -> Line2D:
    return Line2D([], [], linestyle="", label=label, markersize=7, markeredgecolor=_EDGE, markeredgewidth=0.5, **look)
