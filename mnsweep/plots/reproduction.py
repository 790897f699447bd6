"""The paper's Figures 4 and 5 reproduced: accuracy against mult-adds and params, and also against measured latency.

The accuracies of all 16 MobileNets come from one source, the public checkpoints. The accuracies printed in the paper (for
eight MobileNets, its variants, and the networks it compares with) are separate points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnsweep.accuracy.metrics import METRICS
from mnsweep.accuracy.published import DEFAULT_SOURCE, PAPER, Quality, published
from mnsweep.cell import Cell
from mnsweep.names import VARIANTS, choices
from mnsweep.plots.figure import files, log_axis, new_figure, own_style, say_empty
from mnsweep.plots.labels import place_labels
from mnsweep.plots.legend import add_legend, make_room
from mnsweep.plots.markers import Points, scatter
from mnsweep.plots.pareto import latency_label
from mnsweep.result import Result

_OTHER, _PRINTED = "#b3202c", "#555555"
_RING: Any = {"linestyle": "", "marker": "o", "markersize": 3.5, "color": _PRINTED, "fillstyle": "none"}
_CROSS: Any = {"linestyle": "", "marker": "X", "markersize": 7, "color": _OTHER}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One figure: file name, title, and the label and value of the horizontal axis."""

    name: str
    title: str
    label: str
    amount: Callable[[Result], float]

    def place(self, result: Result) -> tuple[float, float]:
        return self.amount(result), result.quality_pct or 0.0


_MULT_ADDS = _Question(
    name="figure4",
    title="What do mult-adds buy? (the paper's Figure 4)",
    label="mult-adds per image (millions)",
    amount=lambda r: r.mult_adds / 1e6,
)
_PARAMS = _Question(
    name="figure5",
    title="What do parameters buy? (the paper's Figure 5)",
    label="parameters (millions)",
    amount=lambda r: r.params / 1e6,
)
_LATENCY = _Question(
    name="figure4_measured",
    title="What does time buy here? (Figure 4 against measured milliseconds)",
    label="latency (ms)",
    amount=lambda r: r.latency_p50_ms or 0.0,
)


def paper_figures(results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`figure4`, `figure5` and `figure4_measured`, each as .png and .svg; no files if a sweep has no networks to compare with.

    Networks without a published ImageNet accuracy are left out; the last figure also leaves out unmeasured networks.
    """
    ours = [public for r in results if (public := _with_public_accuracy(r)) is not None]
    others = [r for r in results if r.variant != choices("variant")[0] and r.quality_metric == "imagenet_top1"]
    if not (ours and others):
        return {}
    caption += (
        f"\nIn this figure the MobileNets have the published accuracies of {DEFAULT_SOURCE}; "
        "rings and crosses are the paper's numbers."
    )
    timed, others_timed = ([r for r in some if r.latency_p50_ms is not None] for some in (ours, others))
    latency = replace(_LATENCY, label=latency_label(results))
    return {
        **_figure(_MULT_ADDS, ours, others, caption=caption),
        **_figure(_PARAMS, ours, others, caption=caption),
        **_figure(latency, timed, others_timed, caption=caption),
    }


def _figure(question: _Question, ours: Sequence[Result], others: Sequence[Result], *, caption: str) -> dict[str, bytes]:
    points = Points.of(ours, "quality_pct")
    with own_style():
        figure, axes = new_figure(question.title, caption)
        axes.set_ylabel(METRICS["imagenet_top1"].label)
        axes.set_xlabel(question.label)
        if points.results:
            _draw(axes, question=question, points=points, others=others)
        else:
            say_empty(axes, "none of the 16 MobileNets was measured")
        return files(figure, question.name)


def _draw(axes: Axes, *, question: _Question, points: Points, others: Sequence[Result]) -> None:
    printed = [(question.amount(r), q.quality_pct) for r in points.results if (q := _published(r, PAPER)) is not None]
    places = [question.place(r) for r in others]
    scatter(axes, points, question.place)
    _mark(axes, printed, zorder=4, **_RING)
    _mark(axes, places, zorder=3, **_CROSS)
    log_axis(axes, "x", [question.amount(r) for r in (*points.results, *others)])
    ring, cross = Line2D([], [], label="the paper's\naccuracies", **_RING), Line2D([], [], label="other networks", **_CROSS)
    make_room(axes, points)
    add_legend(axes, points, others=[ring, cross])
    axes.margins(y=0.09)
    axes.autoscale_view(scalex=False)
    taken = [question.place(r) for r in points.results]
    place_labels(axes, [(*at, VARIANTS[r.variant].label) for at, r in zip(places, others, strict=True)], [*taken, *places])


def _mark(axes: Axes, places: Sequence[tuple[float, float]], **look: Any) -> None:
    if places:
        axes.plot(*zip(*places, strict=True), **look)


def _with_public_accuracy(result: Result) -> Result | None:
    """A baseline MobileNet with the accuracy of its public checkpoint; None for any other network."""
    quality = _published(result, DEFAULT_SOURCE)
    if quality is None or quality.metric != "imagenet_top1" or quality.source != DEFAULT_SOURCE:
        return None
    return replace(result, quality_pct=quality.quality_pct, quality_source=quality.provenance)


def _published(result: Result, source: str) -> Quality | None:
    return published(Cell(result.design, result.deployment), source)
