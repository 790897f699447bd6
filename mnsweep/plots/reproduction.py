"""The paper's Figures 4 and 5 drawn again: accuracy against mult-adds and params, and the same against measured time.

The 16 MobileNets have the accuracies of one source, the public checkpoints, which cover them all. Where the paper prints a
number of its own (for eight of them, its variants, and the networks that it compares with) that stands beside, as the
paper's: the two are never on one line.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
from matplotlib.lines import Line2D

from mnsweep.accuracy.metrics import METRICS
from mnsweep.accuracy.published import DEFAULT_SOURCE, PAPER, published
from mnsweep.cell import parse_cell
from mnsweep.names import VARIANTS, choices
from mnsweep.plots.figure import STYLE, files, log_axis, new_figure, say_empty
from mnsweep.plots.labels import place_labels
from mnsweep.plots.legend import add_legend
from mnsweep.plots.markers import Points, scatter
from mnsweep.plots.pareto import latency_label
from mnsweep.result import Result

_OTHER, _PRINTED = "#b3202c", "#555555"
Amount = Callable[[Result], float]


def paper_figures(results: Sequence[Result], caption: str) -> dict[str, bytes]:
    """`figure4`, `figure5` and `figure4_measured`, each as .png and .svg, of sweeps that hold networks to compare with.

    Those without a published ImageNet accuracy are left out, and of the last figure those that were not measured.
    """
    ours = [found for r in results if (found := _with_public_accuracy(r)) is not None]
    others = [r for r in results if r.variant != choices("variant")[0] and r.quality_metric == "imagenet_top1"]
    if not (ours and others):
        return {}
    caption += f"\nHere the MobileNets have the published accuracies of {DEFAULT_SOURCE}; rings and crosses are the paper's."
    timed, others_timed = ([r for r in some if r.latency_p50_ms is not None] for some in (ours, others))
    latency = latency_label(results)
    return {
        **_figure("figure4", "mult-adds per image (millions)", ours, others, lambda r: r.mult_adds / 1e6, caption),
        **_figure("figure5", "parameters (millions)", ours, others, lambda r: r.params / 1e6, caption),
        **_figure("figure4_measured", latency, timed, others_timed, lambda r: r.latency_p50_ms or 0.0, caption),
    }


_TITLES = {
    "figure4": "What do mult-adds buy? (the paper's Figure 4)",
    "figure5": "What do parameters buy? (the paper's Figure 5)",
    "figure4_measured": "What does time buy here? (Figure 4 against measured milliseconds)",
}


def _figure(
    name: str, x_label: str, ours: Sequence[Result], others: Sequence[Result], amount: Amount, caption: str
) -> dict[str, bytes]:
    points = Points.of(ours, "quality_pct")
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(_TITLES[name], caption)
        axes.set_ylabel(METRICS["imagenet_top1"].label)
        axes.set_xlabel(x_label)
        if not points.results:
            say_empty(axes, "none of the 16 MobileNets was measured")
            return files(figure, name)
        scatter(axes, points, lambda r: (amount(r), r.quality_pct or 0.0))
        printed = [(amount(r), quality) for r in ours if (quality := _printed(r)) is not None]
        ring: Any = {"linestyle": "", "marker": "o", "markersize": 3.5, "color": _PRINTED, "fillstyle": "none"}
        cross: Any = {"linestyle": "", "marker": "X", "markersize": 7, "color": _OTHER}
        axes.plot(*zip(*printed, strict=True), zorder=4, **ring) if printed else None
        places = [(amount(r), r.quality_pct or 0.0) for r in others]
        axes.plot(*zip(*places, strict=True), zorder=3, **cross) if places else None
        log_axis(axes, "x", [amount(r) for r in (*ours, *others)])
        keys = [
            Line2D([], [], label="the paper's own\nnumbers", **ring),
            Line2D([], [], label="other networks,\nits numbers", **cross),
        ]
        add_legend(figure, axes, points, *keys)
        axes.margins(y=0.09)
        axes.autoscale_view(scalex=False)
        taken = [(amount(r), r.quality_pct or 0.0) for r in points.results]
        place_labels(axes, [(*at, VARIANTS[r.variant].label) for at, r in zip(places, others, strict=True)], [*taken, *places])
        return files(figure, name)


def _with_public_accuracy(result: Result) -> Result | None:
    """A plain MobileNet with the accuracy of its public checkpoint; None for any other network."""
    quality = published(parse_cell(result.cell), DEFAULT_SOURCE)
    if quality is None or quality.metric != "imagenet_top1" or quality.source != DEFAULT_SOURCE:
        return None
    return replace(result, quality_pct=quality.quality_pct, quality_source=quality.provenance)


def _printed(result: Result) -> float | None:
    quality = published(parse_cell(result.cell), PAPER)
    return quality.quality_pct if quality else None
