"""The plot of predictions: predicted against measured latency of each measured cell, with the errors below."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mnsweep.plots.figure import blank_figure, files, log_axis, own_style
from mnsweep.plots.pareto import latency_label
from mnsweep.prediction.validation import Check
from mnsweep.result import Result

BAND_PCT = 5.0
_FITTED, _UNSEEN, _BAND = "#00224e", "#b3202c", "#e8edf5"
_LEFT, _WIDTH, _GAP = 0.085, 0.73, 0.05  # shares of the figure


def prediction_plot(checks: Sequence[Check], results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`prediction.png` and `.svg`: latencies in ms, errors in %; no file if no cell was both measured and predicted.

    For cells that a model was fitted to, predictions are leave-one-out, so no error is of a cell in the fit.
    """
    if not checks:
        return {}
    with own_style():
        figure, foot = blank_figure(caption)
        height = 0.94 - foot - _GAP
        above = figure.add_axes((_LEFT, foot + _GAP + 0.38 * height, _WIDTH, 0.62 * height))
        below = figure.add_axes((_LEFT, foot, _WIDTH, 0.38 * height), sharex=above)
        above.set_title("How accurate are predicted latencies here?", loc="left", fontsize=11, fontweight="bold")
        label = latency_label(results)
        _draw_latencies(above, checks)
        _draw_errors(below, checks)
        above.set_ylabel(f"predicted {label}")
        below.set_ylabel("error (%)")
        below.set_xlabel(f"measured {label}")
        above.tick_params(labelbottom=False)
        above.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8, title_fontsize=8, title=_summary(checks)
        )
        return files(figure, "prediction")


def _draw_latencies(axes: Axes, checks: Sequence[Check]) -> None:
    ms = [m for c in checks for m in (c.measured_ms, c.predicted_ms)]
    log_axis(axes, "x", ms)
    log_axis(axes, "y", ms)
    ends = np.array([min(ms) / 1.35, max(ms) * 1.5])
    axes.fill_between(ends, ends * (1 - BAND_PCT / 100), ends * (1 + BAND_PCT / 100), color=_BAND, label=f"± {BAND_PCT:g} %")
    axes.plot(ends, ends, color="#777777", linewidth=0.8)
    for fitted, words, style in _KINDS:
        shown = [c for c in checks if c.fitted is fitted]
        if shown:
            axes.plot([c.measured_ms for c in shown], [c.predicted_ms for c in shown], label=words, **style)


def _draw_errors(axes: Axes, checks: Sequence[Check]) -> None:
    axes.axhspan(-BAND_PCT, BAND_PCT, color=_BAND)
    axes.axhline(0.0, color="#777777", linewidth=0.8)
    for fitted, _, style in _KINDS:
        shown = [c for c in checks if c.fitted is fitted]
        axes.plot([c.measured_ms for c in shown], [100 * c.error for c in shown], **style)
    reach = max(1.3 * BAND_PCT, *(110 * abs(c.error) for c in checks))
    axes.set_ylim(-reach, reach)


def _summary(checks: Sequence[Check]) -> str:
    off = [100 * abs(c.error) for c in checks]
    within = sum(pct <= BAND_PCT for pct in off)
    return f"mean error {np.mean(off):.1f} %,\nworst {max(off):.1f} %\n{within} of {len(off)} within ± {BAND_PCT:g} %"


_KINDS: tuple[tuple[bool, str, dict[str, Any]], ...] = (
    (
        True,
        "fitted cell,\nleft out in turn",
        {"linestyle": "", "marker": "o", "markersize": 5, "color": _FITTED, "fillstyle": "none"},
    ),
    (False, "cell not fitted", {"linestyle": "", "marker": "D", "markersize": 4.5, "color": _UNSEEN}),
)
