"""The plots of the commands, drawn from a data frame into your own matplotlib axes, in your own style.

Each function takes the frame of another function of mnsweep, or some of its rows, and returns the axes; without axes, it
draws into those of a new pyplot figure. A legend stands to the right of the axes: leave room there. Each raises
`MnsweepError` for a frame of another kind. The axes may hold no other data: limits and scales are set.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from mnsweep.errors import MnsweepError
from mnsweep.frames import results_of
from mnsweep.plots.cliffs import draw_cliffs
from mnsweep.plots.markers import Points
from mnsweep.plots.pareto import draw_mult_adds, draw_pareto, of_one_metric
from mnsweep.plots.roofline import Point, draw_roofline
from mnsweep.profiling.roofline import Roof
from mnsweep.result import PREDICTED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINT = ("name", "kind", "flops_per_byte", "gflops", "time_pct")  # columns of a profile


def plot_pareto(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Quality in % against latency in ms (logarithmic), with intervals and the frontier; predicted cells are small dots.

    `frame` is one of `grid`, `explore` or `predict`. Of several quality metrics, the most common one is drawn.
    """
    results, _ = of_one_metric(results_of(frame))
    return _drawn(ax, lambda axes: draw_pareto(axes, Points.of(results, "latency_p50_ms", "quality_pct")))


def plot_mult_adds(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Measured latency in ms against mult-adds in millions, both logarithmic, for a `frame` of `grid` or `explore`."""
    measured = [result for result in results_of(frame) if result.latency_source != PREDICTED]
    return _drawn(ax, lambda axes: draw_mult_adds(axes, Points.of(measured, "latency_p50_ms")))


def plot_cliffs(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Latency in ms against α at one resolution, as written and padded, for a `frame` of `grid` with both `pad` settings."""
    measured = [result for result in results_of(frame) if result.latency_source != PREDICTED]
    return _drawn(ax, lambda axes: draw_cliffs(axes, measured))


def plot_roofline(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The rate of each layer against its operations per byte, with the limits of the machine, for a `frame` of `profile`."""
    about: Mapping[str, Any] = getattr(frame, "attrs", {})
    if "peak_gflops" not in about or not set(_POINT) <= set(frame.columns):
        raise MnsweepError("a frame without the layers and limits of a profile", "pass the frame of `profile`")
    flagged = {name for finding in about["lint"] for name in finding["layers"]}
    rows = frame.dropna(subset=["flops_per_byte", "gflops"])[list(_POINT)].to_dict("records")
    points = [_point(row, flagged) for row in rows]
    roof = Roof(about["peak_gflops"], about["bandwidth_gb_per_s"])
    return _drawn(ax, lambda axes: draw_roofline(axes, points, roof, about["rate_unit"]))


def _point(row: dict[Any, Any], flagged: set[str]) -> Point:
    return Point(
        name=row["name"],
        kind=row["kind"],
        intensity=float(row["flops_per_byte"]),
        gflops=float(row["gflops"]),
        time_pct=float(row["time_pct"]),
        flagged=row["name"] in flagged,
    )


def _drawn(ax: Axes | None, draw: Callable[[Axes], None]) -> Axes:
    """The axes after drawing; the canvas of their figure is the user's own again, because measuring labels replaces it."""
    if ax is None:
        import matplotlib.pyplot as plt  # starts a window system, where there is one

        ax = plt.figure(layout=None).add_axes((0.11, 0.12, 0.63, 0.8))
    if not isinstance(ax, Axes):
        raise MnsweepError(f"{ax!r:.80} is not one matplotlib Axes", "pass e.g. plt.gca(), or one of those of plt.subplots()")
    figure: Figure = ax.get_figure(root=True)  # type: ignore[assignment]
    canvas = figure.canvas
    try:
        draw(ax)
    finally:
        figure.set_canvas(canvas)
    return ax
