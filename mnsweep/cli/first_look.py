"""A first look at the frontier in the terminal: accuracy against latency, as characters."""

import math
import os
import sys
from collections.abc import Sequence

import typer

from mnsweep.accuracy.metrics import metric_of
from mnsweep.cli.output import Form
from mnsweep.result import Result
from mnsweep.wording import round_numbers, three_digits

NARROWEST, WIDEST, HEIGHT = 100, 120, 16  # columns and lines
FEWEST = 4  # points that a plot tells more about than the table does
ON, OFF = "●", "·"


def print_frontier(results: Sequence[Result], form: Form) -> None:
    """Print the plot below the table, on a terminal that is wide enough; nothing where too few cells have an accuracy."""
    if form is Form.TABLE and sys.stdout.isatty() and (width := os.get_terminal_size(sys.stdout.fileno()).columns) >= NARROWEST:
        typer.echo(frontier_plot(results, min(width, WIDEST)), nl=False)


def frontier_plot(results: Sequence[Result], width: int) -> str:
    """The plot as lines of text, latency on a logarithmic axis; empty for fewer than four cells, or several metrics."""
    points = [
        (math.log10(r.latency_p50_ms), r.quality_pct, bool(r.on_frontier or r.predicted_on_frontier))
        for r in results
        if r.latency_p50_ms and r.quality_pct is not None
    ]
    if len(points) < FEWEST or len({r.quality_metric for r in results if r.quality_pct is not None}) > 1:
        return ""
    import plotext

    plotext.clear_figure()
    plotext.plot_size(width, HEIGHT)
    plotext.theme("clear")
    for is_on, marker in ((False, OFF), (True, ON)):
        of_kind = [(x, y) for x, y, on in points if on == is_on]
        if of_kind:
            plotext.scatter(*zip(*of_kind, strict=True), marker=marker)
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    ticks = _ticks(min(xs), max(xs))
    plotext.xticks(ticks, [three_digits(10**tick) for tick in ticks])
    low, high = math.floor(min(ys)), math.ceil(max(ys))
    step = max(1, -(-(high - low) // 5))
    plotext.yticks([*range(low, high + 1, step)])
    plotext.ylim(low, high)
    head = f"{metric_of(results).short} (%) against latency (ms); {ON} on the frontier, {OFF} not"
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return "\n".join([head, *(line.rstrip() for line in lines), ""])


def _ticks(low: float, high: float) -> list[float]:
    """Logarithms of round numbers within the range; at least its ends."""
    inside = [math.log10(value) for value in round_numbers(10**low, 10**high)]
    return inside if len(inside) > 1 else [low, high]
