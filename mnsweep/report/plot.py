"""The pictures: accuracy against latency with the frontier, and latency against mult-adds.

Colour is α and marker is resolution, both readable without colour vision (cividis, distinct shapes).
Frontier points carry their name; dominated ones stay quiet. The same results draw the same bytes.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mnsweep.report.labels import place_labels
from mnsweep.result import Result

MARKERS = "osD^vP*X"
LEGEND_LIMIT = 8  # beyond as many values, a colour bar and one marker say it better
_STYLE: Any = {
    "svg.hashsalt": "mnsweep",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
}
_FRONTIER, _INTERVAL = "#7a7a7a", "#b3202c"
_FRONTIER_KEY = (
    Line2D([], [], color=_FRONTIER, linewidth=1.4, label="frontier"),
    Line2D([], [], color=_INTERVAL, linewidth=1.0, marker="|", markersize=5, label="95 % interval"),
)
_METRICS = {"imagenet_top1": "ImageNet top-1 accuracy (%)"}


@dataclass(frozen=True, slots=True)
class Points:
    """What a plot shows: the results that have both coordinates, and the keys of colour and marker."""

    results: tuple[Result, ...]
    alphas: tuple[float, ...]
    resolutions: tuple[int, ...]

    @classmethod
    def of(cls, results: Sequence[Result], *needed: str) -> "Points":
        """The results for which every column in `needed` is known."""
        shown = tuple(r for r in results if all(getattr(r, name) is not None for name in needed))
        return cls(shown, tuple(sorted({r.alpha for r in shown})), tuple(sorted({r.resolution for r in shown})))


def pareto_plot(results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`pareto.png` and `pareto.svg`: quality against latency (log), intervals, frontier with labels."""
    points = Points.of(results, "latency_p50_ms", "quality_pct")
    metric = points.results[0].quality_metric if points.results else None
    with mpl.rc_context(_STYLE):
        figure, axes = _figure("Which MobileNet is accurate enough and fast enough here?", caption)
        axes.set_ylabel(_METRICS.get(metric or "imagenet_top1", metric or ""))
        axes.set_xlabel(_latency_label(points))
        if not points.results:
            _say_empty(axes, "no cell has both a latency and a published accuracy")
            return _files(figure, "pareto")
        frontier = sorted((r for r in points.results if r.on_frontier), key=lambda r: r.latency_p50_ms or 0)
        steps = _steps(frontier)
        axes.plot(*zip(*steps, strict=True), color=_FRONTIER, linewidth=1.4, zorder=2)
        _scatter(axes, points, "latency_p50_ms", "quality_pct")
        _intervals(axes, points.results)
        _log_axis(axes, "x", [r.latency_p50_ms or 0 for r in points.results])
        _legend(figure, axes, points, *_FRONTIER_KEY)
        axes.margins(y=0.09)
        axes.autoscale_view(scalex=False)  # now: labels are placed by the final limits
        labels = [(r.latency_p50_ms or 0.0, r.quality_pct or 0.0, _name(r)) for r in frontier]
        place_labels(axes, labels, [(r.latency_p50_ms or 0.0, r.quality_pct or 0.0) for r in points.results], steps)
        return _files(figure, "pareto")


def mult_adds_plot(results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`latency_mult_adds.png` and `.svg`: measured latency against counted work, both logarithmic.

    The line is the median milliseconds per mult-add: cells above it run below the machine's typical rate.
    """
    points = Points.of(results, "latency_p50_ms")
    with mpl.rc_context(_STYLE):
        figure, axes = _figure("Are mult-adds a good proxy for latency here?", caption)
        axes.set_xlabel("mult-adds per image (millions)")
        axes.set_ylabel(_latency_label(points))
        if not points.results:
            _say_empty(axes, "no cell was measured")
            return _files(figure, "latency_mult_adds")
        _scatter(axes, points, "mult_adds", "latency_p50_ms", x_unit=1e6)
        line = _proportional_line(axes, points.results)
        _log_axis(axes, "x", [r.mult_adds / 1e6 for r in points.results])
        _log_axis(axes, "y", [r.latency_p50_ms or 0 for r in points.results])
        _legend(figure, axes, points, line)
        return _files(figure, "latency_mult_adds")


def _steps(frontier: Sequence[Result]) -> list[tuple[float, float]]:
    """Corners of the staircase: the best quality to be had within each latency."""
    corners: list[tuple[float, float]] = []
    for r in frontier:
        latency, quality = r.latency_p50_ms or 0.0, r.quality_pct or 0.0
        corners += [(latency, corners[-1][1])] if corners else []
        corners.append((latency, quality))
    return corners


def _figure(title: str, caption: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.4, 5.4), dpi=150)
    axes = figure.add_axes((0.085, 0.19, 0.73, 0.75))
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    figure.text(0.015, 0.015, caption, fontsize=7, color="#444444", va="bottom", linespacing=1.4)
    return figure, axes


def _say_empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color="#666666")
    axes.set_xticks([])
    axes.set_yticks([])


def _latency_label(points: Points) -> str:
    batches = {r.batch for r in points.results}
    return "latency per image (ms)" if batches <= {1} else "latency per batch (ms)"


def _name(result: Result) -> str:
    suffix = result.cell.split("_", 2)[2:]
    return " ".join([f"α {result.alpha}, {result.resolution} px", *(s.replace("_", " ") for s in suffix)])


def _marker(points: Points, resolution: int) -> str:
    few = len(points.resolutions) <= LEGEND_LIMIT
    return MARKERS[points.resolutions.index(resolution)] if few else "o"


def _scatter(axes: Axes, points: Points, x: str, y: str, x_unit: float = 1.0) -> None:
    norm = mpl.colors.Normalize(*_colour_range(points))
    for resolution in points.resolutions:
        shown = [r for r in points.results if r.resolution == resolution]
        quiet: Any = [0.35 if y == "quality_pct" and not r.on_frontier else 1.0 for r in shown]
        axes.scatter(
            [getattr(r, x) / x_unit for r in shown],
            [getattr(r, y) for r in shown],
            c=[r.alpha for r in shown],
            cmap="cividis",
            norm=norm,
            alpha=quiet,
            marker=_marker(points, resolution),
            s=46,
            edgecolors="#333333",
            linewidths=0.5,
            zorder=3,
        )


def _colour_range(points: Points) -> tuple[float, float]:
    low, high = points.alphas[0], points.alphas[-1]
    return (low, high) if high > low else (low - 0.1, high + 0.1)


def _intervals(axes: Axes, results: Sequence[Result]) -> None:
    for r in results:
        ends = [r.latency_ci_low_ms or 0.0, r.latency_ci_high_ms or 0.0]
        alpha = 1.0 if r.on_frontier else 0.4
        axes.plot(ends, [r.quality_pct or 0.0] * 2, "|-", color=_INTERVAL, markersize=5, linewidth=1.0, alpha=alpha, zorder=3.5)


def _proportional_line(axes: Axes, results: Sequence[Result]) -> Line2D:
    rate = median((r.latency_p50_ms or 0) / r.mult_adds for r in results)  # ms of one batch for each mult-add of an image
    per_second = 1e3 * median(r.batch * r.mult_adds / (r.latency_p50_ms or 1) for r in results)
    ends = [min(r.mult_adds for r in results), max(r.mult_adds for r in results)]
    (line,) = axes.plot([e / 1e6 for e in ends], [e * rate for e in ends], "--", color="#777777", linewidth=1, zorder=2)
    line.set_label(f"{per_second / 1e9:.0f} G mult-adds/s,\nthe median here")
    return line


def _log_axis(axes: Axes, which: str, values: Sequence[float]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = min(values), max(values)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low / 1.35, high * 1.5)
    decades = high / low > 60
    axis.set_major_locator(LogLocator(subs=(1, 3) if decades else (1, 2, 3, 5, 7), numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, axes: Axes, points: Points, *others: Line2D) -> None:
    norm, cmap = mpl.colors.Normalize(*_colour_range(points)), mpl.colormaps["cividis"]
    dot: dict[str, Any] = {"linestyle": "", "markeredgecolor": "#333333", "markeredgewidth": 0.5, "markersize": 7}
    handles: list[Line2D] = []
    if len(points.alphas) <= LEGEND_LIMIT:
        handles += [Line2D([], [], linestyle="", label="width multiplier α")]
        handles += [Line2D([], [], marker="o", color=cmap(norm(a)), label=str(a), **dot) for a in points.alphas]
    else:
        bar = figure.colorbar(mpl.cm.ScalarMappable(norm, cmap), cax=figure.add_axes((0.85, 0.2, 0.02, 0.3)))
        bar.set_label("width multiplier α")
    if len(points.resolutions) <= LEGEND_LIMIT:
        handles += [Line2D([], [], linestyle="", label="resolution (px)")]
        handles += [Line2D([], [], marker=_marker(points, r), color="#bbbbbb", label=str(r), **dot) for r in points.resolutions]
    axes.legend(
        handles=[*handles, Line2D([], [], linestyle="", label=""), *others],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=8,
    )


def _files(figure: Figure, name: str) -> dict[str, bytes]:
    files = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata=metadata)
        files[f"{name}.{kind}"] = out.getvalue()
    return files
