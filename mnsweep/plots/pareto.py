"""The plots of a sweep: accuracy against latency with the frontier, and latency against mult-adds.

Colour is α, shape is resolution, fill is the deployment (`markers`). Points on the frontier are labelled, dominated points
are pale. The same results give the same bytes.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import median

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnsweep.accuracy.metrics import metric_of
from mnsweep.plots.caption import with_intervals
from mnsweep.plots.deployments import differing, in_words
from mnsweep.plots.figure import files, log_axis, new_figure, own_style, say_empty
from mnsweep.plots.intervals import draw_intervals, interval_keys
from mnsweep.plots.labels import place_labels
from mnsweep.plots.legend import add_legend, make_room
from mnsweep.plots.markers import Points, scatter
from mnsweep.result import PREDICTED, Result
from mnsweep.wording import count_of

_FRONTIER = "#7a7a7a"
NAMED = 6  # cells whose place is open, in the caption


def pareto_plot(results: Sequence[Result], caption: str, uncertain: Collection[str] = ()) -> dict[str, bytes]:
    """`pareto.png` and `pareto.svg`: quality (%) against latency (ms, log), with intervals and a labelled frontier.

    If qualities have several metrics, only the most common one is drawn, and the caption says so. It names the cells whose
    place on the frontier is `uncertain`, by their ids.
    """
    results, left_out = of_one_metric(results)
    points = Points.of(results, "latency_p50_ms", "quality_pct")
    told = with_intervals(caption, _with_bars(_measured(points))), left_out, _uncertain(points, uncertain)
    caption = "\n".join(filter(None, told))
    with own_style():
        figure, axes = new_figure("Which MobileNet is accurate enough and fast enough here?", caption)
        make_room(axes, points)
        draw_pareto(axes, points)
        return files(figure, "pareto")


def draw_pareto(axes: Axes, points: Points) -> None:
    """Draw quality against latency with intervals, the labelled frontier, and a legend to the right of the axes."""
    axes.set_ylabel(metric_of(points.results).label)
    axes.set_xlabel(latency_label(points.results))
    if not points.results:
        say_empty(axes, "no cell has both a latency and a published accuracy")
        return
    measured = _measured(points)
    predicted_key = _draw_predicted(axes, points)
    frontier = _draw_measured(axes, measured)
    ends = [end for r in _with_bars(measured) for end in r.interval_ms or ()]
    log_axis(axes, "x", [_latency(r) for r in points.results], ends)
    add_legend(axes, measured, others=[*_frontier_key(measured, frontier), *predicted_key])
    axes.margins(y=0.09)
    axes.autoscale_view(scalex=False)  # before the labels, which need the final limits
    _label_frontier(axes, measured, frontier)


def _measured(points: Points) -> Points:
    """The points that were measured, with the colours and markers of all."""
    return replace(points, results=tuple(r for r in points.results if r.latency_source != PREDICTED))


def _draw_measured(axes: Axes, points: Points) -> list[Result]:
    """Draw measured cells, intervals and the frontier; return the frontier sorted by latency."""
    frontier = sorted((r for r in points.results if r.on_frontier), key=_latency)
    axes.plot(*zip(*_steps(frontier), strict=True), color=_FRONTIER, linewidth=1.4, zorder=2)
    scatter(axes, points, _place, quiet=[r for r in points.results if not r.on_frontier])
    draw_intervals(axes, _with_bars(points), _place, "x", pale=lambda r: not r.on_frontier)
    return frontier


def mult_adds_plot(results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`latency_mult_adds.png` and `.svg`: measured latency (ms) against mult-adds (millions), logarithmic.

    Both are per image, whatever the batch. The line is the median milliseconds per mult-add: cells above it run slower than
    the median rate.
    """
    points = Points.of(results, "latency_p50_ms")
    with own_style():
        figure, axes = new_figure("Are mult-adds a good proxy for latency here?", caption)
        make_room(axes, points)
        draw_mult_adds(axes, points)
        return files(figure, "latency_mult_adds")


def draw_mult_adds(axes: Axes, points: Points) -> None:
    """Draw latency against mult-adds with the line of the median rate, and a legend to the right of the axes."""
    axes.set_xlabel("mult-adds per image (millions)")
    axes.set_ylabel("latency per image (ms)")
    if not points.results:
        say_empty(axes, "no cell was measured")
        return
    scatter(axes, points, lambda r: (r.mult_adds / 1e6, _per_image(r)))
    bars = [r for r in points.results if r.interval_ms] if not points.crowded else []
    draw_intervals(axes, bars, lambda r: (r.mult_adds / 1e6, _per_image(r)), "y", scale=lambda r: 1 / r.batch)
    line = _proportional_line(axes, points.results)
    log_axis(axes, "x", [r.mult_adds / 1e6 for r in points.results])
    log_axis(axes, "y", [_per_image(r) for r in points.results])
    add_legend(axes, points, others=[line, *interval_keys(bars)])


def of_one_metric(results: Sequence[Result]) -> tuple[list[Result], str]:
    """The results with the most common metric or without quality, and a sentence about the results left out."""
    metrics = Counter(r.quality_metric for r in results if r.quality_metric and r.latency_p50_ms is not None)
    if len(metrics) < 2:
        return list(results), ""
    (metric, _), *others = metrics.most_common()
    count = sum(number for _, number in others)
    kept = [r for r in results if r.quality_metric in (None, metric)]
    return kept, f"Not shown: {count_of(count, 'measured cell')} with another quality metric."


def _draw_predicted(axes: Axes, points: Points) -> list[Line2D]:
    """Draw predicted cells (small dots at the bottom layer) and the frontier of all; return legend entries."""
    predicted = [r for r in points.results if r.latency_source == PREDICTED]
    if not predicted:
        return []
    colours = [points.colour(r.alpha) for r in predicted]
    x, y = zip(*map(_place, predicted), strict=True)
    axes.scatter(x, y, c=colours, s=5, alpha=0.45, linewidths=0, zorder=1.5)
    believed = sorted((r for r in points.results if r.predicted_on_frontier), key=_latency)
    axes.plot(*zip(*_steps(believed), strict=True), color=_FRONTIER, linewidth=0.8, linestyle=":", zorder=1.8)
    return [
        Line2D([], [], color=_FRONTIER, linewidth=0.8, linestyle=":", label="predicted frontier"),
        Line2D([], [], color="#999999", linestyle="", marker=".", markersize=4, label="predicted only"),
    ]


def _label_frontier(axes: Axes, points: Points, frontier: Sequence[Result]) -> None:
    labels = [(*_place(r), point_name(r, differing(frontier))) for r in frontier]
    dominated = [_place(r) for r in points.results if not r.on_frontier]
    large = [_place(r) for r in frontier] + ([] if points.crowded else dominated)
    bars = [(*r.interval_ms, _place(r)[1]) for r in _with_bars(points) if r.interval_ms]
    small = dominated if points.crowded else []
    place_labels(axes, labels, large, line=_steps(frontier), small=small, bars=bars)


def point_name(result: Result, settings: Sequence[str]) -> str:
    """`α 0.25, 128 px`, and on a second line the values of `settings`."""
    return "\n".join(filter(None, (f"α {result.alpha}, {result.resolution} px", in_words(result, settings))))


def latency_label(results: Sequence[Result]) -> str:
    """The label of a latency axis: latencies are per batch, or per image if every batch is one image."""
    return "latency per image (ms)" if {r.batch for r in results} <= {1} else "latency per batch (ms)"


def _latency(result: Result) -> float:
    return result.latency_p50_ms or 0.0


def _per_image(result: Result) -> float:
    return _latency(result) / result.batch


def _place(result: Result) -> tuple[float, float]:
    return _latency(result), result.quality_pct or 0.0


def _frontier_key(points: Points, frontier: Sequence[Result]) -> list[Line2D]:
    """Legend entries of the lines; they also name the settings shared by the whole frontier, which the labels omit."""
    shared = [name for name in points.fills.differ if name not in differing(frontier)]
    several = frontier and len(points.fills.names) > 1
    every = f"frontier: all {in_words(frontier[0], shared)}" if shared and several else "frontier"
    whose = "\n(of the frontier)" if points.crowded else ""
    steps = Line2D([], [], color=_FRONTIER, linewidth=1.4, label=every)
    return [steps, *interval_keys(_with_bars(points), whose)]


def _steps(frontier: Sequence[Result]) -> list[tuple[float, float]]:
    """Corners of the staircase: the best quality up to each latency."""
    corners: list[tuple[float, float]] = []
    for r in frontier:
        corners += [(_latency(r), corners[-1][1])] if corners else []
        corners.append(_place(r))
    return corners


def _with_bars(points: Points) -> list[Result]:
    """The results whose interval is drawn: those that have one, in a crowd only those on the frontier."""
    return [r for r in points.results if r.interval_ms and (r.on_frontier or not points.crowded)]


def _uncertain(points: Points, cells: Collection[str]) -> str:
    """A sentence on the cells whose place on the frontier is not certain; empty where all are."""
    measured = [r for r in points.results if r.cell in cells and r.latency_source != PREDICTED]
    on, off = ([r for r in measured if bool(r.on_frontier) is is_on] for is_on in (True, False))
    names = "; ".join(point_name(r, points.fills.differ).replace("\n", ", ") for r in on[:NAMED])
    more = f"; and {len(on) - NAMED} more" if len(on) > NAMED else ""
    said = [f"Not certain to be on the frontier: {names}{more}."] if on else []
    said += [f"{count_of(len(off), 'cell')} off it may be on it."] if off else []
    return " ".join(said)


def _proportional_line(axes: Axes, results: Sequence[Result]) -> Line2D:
    rate = median(_per_image(r) / r.mult_adds for r in results)  # ms per mult-add
    per_second = 1e3 * median(r.mult_adds / _per_image(r) for r in results)
    ends = [min(r.mult_adds for r in results), max(r.mult_adds for r in results)]
    (line,) = axes.plot([e / 1e6 for e in ends], [e * rate for e in ends], "--", color="#777777", linewidth=1, zorder=2)
    line.set_label(f"{per_second / 1e9:.0f} G mult-adds/s,\nthe median here")
    return line
