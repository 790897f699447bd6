"""What stands beside and on a picture has room: legend, caption, labels and their leaders."""

from collections.abc import Sequence
from itertools import combinations, product
from random import Random

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from mnsweep.cell import Deployment
from mnsweep.plots.labels import place_labels
from mnsweep.plots.pareto import mult_adds_plot, pareto_plot
from mnsweep.sweep.table import with_frontier
from tests.test_plots import deployed
from tests.test_report import Draw, box_of, crowded, figure_of, measured, overlap, text_of

LONG = [Deployment(p, r, threads=t) for p, r, t in (
    ("fp32", "onnxruntime", 1), ("fp32", "onnxruntime:DnnlExecutionProvider", 1), ("int8", "onnxruntime", 2),
    ("int8", "onnxruntime:DnnlExecutionProvider", 2), ("int8", "openvino", 1), ("bf16", "openvino", 2),
)]  # fmt: skip
CAPTION = "\n".join(["Latency: " + "a machine with many words; " * 14, "At a speed.", "Accuracy: published."])


@pytest.mark.parametrize("draw", [pareto_plot, mult_adds_plot])
@pytest.mark.parametrize("alphas", [8, 12])
@pytest.mark.parametrize("used", [[Deployment()], LONG])
def test_legend_and_caption_have_room(draw: Draw, alphas: int, used: Sequence[Deployment]) -> None:
    designs = [((i + 1) / 10, 32 * k) for i in range(alphas) for k in range(1, 9)]
    figure = figure_of(lambda results, _: draw(results, CAPTION), deployed(*used, designs=designs))
    axes, *bars = figure.axes
    legend = axes.get_legend()
    assert legend is not None and len(bars) == (alphas > 8)
    (caption,) = figure.texts
    around = [axes.get_tightbbox(bbox_extra_artists=[]), *(bar.get_tightbbox() for bar in bars)]
    boxes = [legend.get_window_extent(), caption.get_window_extent(), *(box for box in around if box)]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_names_are_broken_behind_commas() -> None:
    texts = text_of(pareto_plot(deployed(*LONG), "c")["pareto.svg"])
    assert {"fp32, onnxruntime:Dnnl,", "int8, onnxruntime:Dnnl,", "1 thread", "2 threads"} <= set(texts)


def test_a_long_caption_keeps_its_words_and_its_line_breaks() -> None:
    lines = figure_of(lambda results, _: pareto_plot(results, CAPTION), []).texts[0].get_text().splitlines()
    assert len(lines) == 5 and lines[3:] == ["At a speed.", "Accuracy: published."]
    assert " ".join(lines[:3]) == CAPTION.splitlines()[0].strip()


@pytest.mark.parametrize("seed", range(8))
def test_no_leader_runs_through_a_label_or_another_point(seed: int) -> None:
    results = with_frontier([measured(f"a0.25_r{128 + i}", ms, pct) for i, (ms, pct) in enumerate(crowded(seed))])
    axes = figure_of(pareto_plot, results).axes[0]
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    for one, other in product(labels, labels):
        if one.arrow_patch is not None and one is not other:
            line = one.arrow_patch.get_path().interpolated(100).vertices
            path = one.arrow_patch.get_transform().transform(line)
            assert not any(overlap((x, y, x, y), box_of(other)) for x, y in path), (
                f"{one.get_text()} crosses {other.get_text()}"
            )


def axes_of(width: float = 6.0) -> Axes:
    return Figure(figsize=(width, 4), dpi=100).add_subplot(xlim=(0, 1), ylim=(0, 1))


def test_lines_of_a_label_are_joined_where_there_is_room() -> None:
    label = (0.9, 0.5, "α 0.25, 128 px\nint8, openvino, 2 threads")
    assert [a.get_text() for a in place_labels(axes_of(), [label], [])] == ["α 0.25, 128 px, int8, openvino, 2 threads"]
    assert [a.get_text() for a in place_labels(axes_of(2.6), [label], [])] == [label[2]]


def test_small_markers_leave_more_room() -> None:
    crowd = [(x / 24, y / 100) for x in range(25) for y in range(101)]
    assert place_labels(axes_of(), [(0.5, 0.5, "t")], crowd) == []
    assert place_labels(axes_of(), [(0.5, 0.5, "t")], [], small=crowd)


def test_a_label_keeps_off_intervals() -> None:
    for y, side in ((0.52, -1), (0.48, 1)):
        (label,) = place_labels(axes_of(), [(0.5, 0.5, "here")], [(0.5, 0.5)], bars=[(0.1, 0.9, y)])
        assert np.sign(label.xyann[1]) == side


@pytest.mark.parametrize("seed", range(4))
def test_a_label_that_must_be_far_displaces_none_that_is_near(seed: int) -> None:
    rng = Random(seed)
    labels = [(rng.random(), rng.random(), f"label number {i}") for i in range(30)]
    points = [(x, y) for x, y, _ in labels]
    places = {a.get_text(): a.xyann for a in place_labels(axes_of(), labels, points)}
    near = {text: at for text, at in places.items() if max(map(abs, at)) == 6}
    assert 0 < len(near) < len(places)
    alone = place_labels(axes_of(), [label for label in labels if label[2] in near], points)
    assert {a.get_text(): a.xyann for a in alone} == near
