"""Pictures of sweeps with several deployments: fills, names, what a crowd leaves out, and what has room beside them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.plots.deployments import FILLS, Fills, differing, in_words
from mnsweep.plots.intervals import ABSOLUTE, RELATIVE
from mnsweep.plots.markers import CROWD, MARKERS
from mnsweep.plots.pareto import mult_adds_plot, pareto_plot
from mnsweep.result import Result
from mnsweep.sweep.table import with_frontier
from tests.conftest import make_result
from tests.test_report import Draw, figure_of, measured, text_of

PAPER = tuple(product((0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224)))
FOUR = tuple(product(("fp32", "int8"), ("onnxruntime", "openvino")))


def deployed(*deployments: Deployment, designs: Sequence[tuple[float, int]] = PAPER) -> list[Result]:
    """Every design in every deployment: later deployments are faster, int8 loses a point, wider and larger gains some."""
    results = []
    for i, ((alpha, resolution), deployment) in enumerate(product(designs, deployments)):
        work = alpha**1.9 * resolution**2  # no two alike
        ms = work / 1e3 / (1 + 0.3 * (i % len(deployments)))
        pct = 40 + 10 * np.log10(work) - (deployment.precision == "int8")
        cell = Cell(Design.of(alpha, resolution), deployment)
        results.append(measured(cell.id, ms, float(pct), mult_adds=round(work * 1e4)))
    return with_frontier(results)


def deployments(count: int = 4, **settings: Any) -> list[Deployment]:
    return [Deployment(precision, runtime, **settings) for precision, runtime in FOUR][:count]


# Words


@pytest.mark.parametrize(
    ("cell", "settings", "words"),
    [
        ("a0.5_r160_int8_openvino_t2", ("precision", "runtime", "threads"), "int8, openvino, 2 threads"),
        ("a0.5_r160", ("precision", "runtime"), "fp32, onnxruntime"),
        ("a0.5_r160", ("threads", "batch"), "1 thread, batch 1"),
        ("a0.5_r160_pnone", ("pad",), "pad none"),
        ("a0.5_r160_onnxruntime-DnnlExecutionProvider_p16", ("runtime", "pad"), "onnxruntime:Dnnl, pad 16"),
        ("a0.5_r160_c10_round8_keras_relu", ("classes", "width_rule", "conv_padding", "activation"),
         "10 classes, round8 widths, keras padding, relu"),
        ("a0.5_r160", (), ""),
    ],
)  # fmt: skip
def test_settings_in_words(cell: str, settings: tuple[str, ...], words: str) -> None:
    assert in_words(make_result(cell), settings) == words


def test_what_differs_is_found_whatever_the_size_of_the_networks() -> None:
    assert differing([make_result("a0.25_r128"), make_result("a0.5_r160")]) == ()
    assert differing([make_result(cell) for cell in ("a0.25_r128_t2_pnone", "a0.5_r160_t2", "a0.5_r160_relu_int8_t2")]) == (
        "activation",
        "precision",
        "pad",
    )


# Fills

RUNTIMES = ("onnxruntime", "openvino", "onnxruntime:DnnlExecutionProvider")
DEPLOYMENTS = st.builds(
    Deployment,
    st.sampled_from(["fp32", "bf16", "int8"]),
    st.sampled_from(RUNTIMES),
    threads=st.integers(1, 3),
    pad=st.sampled_from(["auto", "none"]),
)


def fills_of(used: Sequence[Deployment]) -> tuple[list[Result], Fills]:
    results = [make_result(Cell(Design.of(0.5, 128), deployment).id) for deployment in used]
    return results, Fills.of(results, results)


THREADS = [Deployment(threads=t) for t in range(1, 9)]
MANY = [Deployment(p, r, pad=pad) for p in ("fp32", "bf16", "int8") for r in RUNTIMES for pad in ("auto", "none")]


@example(THREADS)
@example(MANY)
@given(st.lists(DEPLOYMENTS, min_size=1, max_size=30))
def test_a_fill_stands_for_one_deployment_or_says_what_it_hides(used: list[Deployment]) -> None:
    results, fills = fills_of(used)
    kinds = list(dict.fromkeys(used))
    if len(kinds) > len(FILLS) and len({(d.precision, d.runtime) for d in used}) > 1:
        grouped = [Deployment(d.precision, d.runtime) for d in used]
        hidden = {"threads", "pad"} & set(fills.differ)
    else:
        grouped, hidden = used, set()
    ranked = sorted(dict.fromkeys(grouped), key=lambda d: -grouped.count(d))  # stable: else as they came
    few = len(ranked) <= len(FILLS)
    expected = dict(zip(ranked, FILLS if few else ("full", "left", "right", "top", "bottom"), strict=False))
    assert [fills.fill(r) for r in results] == [expected.get(d, "none") for d in grouped]
    assert set(fills.differ) - set(fills.settings) == hidden
    names = {fills.fill(r): in_words(r, fills.settings) for r in results if few or fills.fill(r) != "none"}
    others = [] if few else [("none", "others")]
    assert list(fills.names) == ([*((fill, names[fill]) for fill in expected.values()), *others] if len(kinds) > 1 else [])


def test_a_fill_is_named_by_what_differs_in_the_sweep_and_not_only_in_the_picture() -> None:
    sweep = [make_result("a0.5_r128"), make_result("a0.5_r128_int8")]
    assert Fills.of(sweep[:1], sweep).names == (("full", "fp32"),)
    assert Fills.of([], []).names == ()


# Markers


def drawn_paths(axes: Axes) -> Iterator[tuple[tuple[float, float], Path, tuple[float, ...], float]]:
    """Place, path, colour and area of everything that was scattered, from the bottom to the top."""
    for collection in axes.collections:
        assert isinstance(collection, PathCollection)
        paths, offsets = collection.get_paths(), np.asarray(collection.get_offsets())
        colours, sizes = np.asarray(collection.get_facecolor()), np.asarray(collection.get_sizes())
        for i, (x, y) in enumerate(offsets):
            yield (x, y), paths[i % len(paths)], tuple(colours[i]), float(sizes[i % len(sizes)])


def outline(marker: str) -> Path:
    style = MarkerStyle(marker)
    return style.get_path().transformed(style.get_transform())


@pytest.mark.parametrize("draw", [pareto_plot, mult_adds_plot])
@pytest.mark.parametrize("used", [FOUR[:1], FOUR, [*FOUR, ("bf16", "onnxruntime"), ("bf16", "openvino")]])
def test_every_cell_is_drawn_in_its_colour_shape_and_fill(draw: Draw, used: Sequence[tuple[str, str]]) -> None:
    results = deployed(*(Deployment(*words) for words in used))
    found = list(drawn_paths(figure_of(draw, results).axes[0]))
    halves = {"left": (-0.5, 0, -0.5, 0.5), "right": (0, 0.5, -0.5, 0.5), "top": (-0.5, 0.5, 0, 0.5)}
    for r in results:
        place = (r.latency_p50_ms, r.quality_pct) if draw is pareto_plot else (r.mult_adds / 1e6, r.latency_p50_ms)
        parts = [(path, colour) for at, path, colour, _ in found if at == pytest.approx(place)]
        shape = outline(MARKERS[(128, 160, 192, 224).index(r.resolution)])
        colour = mpl.colormaps["cividis"]((r.alpha - 0.25) / 0.75)[:3]
        fill = FILLS[used.index((r.precision, r.runtime))]
        white = (1.0, 1.0, 1.0)
        assert [part[:3] for _, part in parts] == {"full": [colour], "none": [colour, white]}.get(fill, [white, colour])
        assert np.allclose(parts[0][0].vertices, shape.vertices)
        if fill == "none":
            inner, outer = (path.get_extents().extents for path in (parts[1][0], shape))
            assert np.all(inner[:2] > outer[:2]) and np.all(inner[2:] < outer[2:])
        elif fill in halves and r.resolution == 160:  # a square
            x0, y0, x1, y1 = parts[1][0].get_extents().extents
            assert (x0, x1, y0, y1) == pytest.approx(halves[fill])
    assert len(found) == sum(1 if FILLS[used.index((r.precision, r.runtime))] == "full" else 2 for r in results)


def test_a_ring_stays_within_its_shape() -> None:
    results = deployed(*deployments(2), designs=[(0.5, 32 * k) for k in range(1, 9)])
    found = list(drawn_paths(figure_of(mult_adds_plot, results).axes[0]))
    rings = [(below[1], hole[1]) for below, hole in pairwise(found) if hole[2][:3] == (1.0, 1.0, 1.0)]
    assert len(rings) == len(MARKERS)
    for shape, hole in rings:
        assert np.all(shape.contains_points(np.asarray(hole.vertices)))
        centres = [np.asarray(path.to_polygons()[0])[:-1].mean(axis=0) for path in (shape, hole)]
        assert np.allclose(centres[0], centres[1], atol=0.01)


def test_dominated_markers_lie_below_the_frontier_and_shrink_in_a_crowd() -> None:
    for count in (2, 4):
        results = deployed(*deployments(count))
        frontier = {(r.latency_p50_ms, r.quality_pct) for r in results if r.on_frontier}
        found = list(drawn_paths(figure_of(pareto_plot, results).axes[0]))
        loud = [at in frontier for at, *_ in found]
        assert loud == sorted(loud) and {False, True} == set(loud)
        assert {colour[3] for (*_, colour, _), on in zip(found, loud, strict=True) if on} == {1.0}
        assert max(colour[3] for (*_, colour, _), on in zip(found, loud, strict=True) if not on) < 0.5
        sizes = [{size for (*_, size), on in zip(found, loud, strict=True) if on is which} for which in (False, True)]
        assert (max(sizes[0]) < min(sizes[1])) is (len(results) > CROWD)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_intervals_of_a_crowd_are_those_of_the_frontier(count: int) -> None:
    results = deployed(*deployments(count))
    crowd = len(results) > CROWD
    drawn = figure_of(pareto_plot, results).axes[0].lines
    ends = {tuple(np.asarray(line.get_xdata())) for line in drawn if line.get_label() == ABSOLUTE}
    assert ends == {(r.latency_ci_low_ms, r.latency_ci_high_ms) for r in results if r.on_frontier or not crowd}
    texts = text_of(pareto_plot(results, "c")["pareto.svg"])
    assert ("(of the frontier)" in " ".join(texts)) is crowd


ABOUT_INTERVALS = re.compile("interval")


def test_without_intervals_none_is_drawn_and_none_is_spoken_of() -> None:
    some = deployed(Deployment())
    bare = [replace(r, latency_ci_low_ms=None, latency_ci_high_ms=None, relative_ci_pct=None) for r in some]
    assert not [line for line in figure_of(pareto_plot, bare).axes[0].lines if line.get_label() == ABSOLUTE]
    for draw, results, expected in (
        (pareto_plot, some, True),
        (pareto_plot, [*bare[1:], some[0]], True),
        (pareto_plot, bare, False),
        (mult_adds_plot, some, True),
        (mult_adds_plot, bare, False),
    ):
        (svg,) = (content for name, content in draw(results, "c").items() if name.endswith("svg"))
        assert bool(ABOUT_INTERVALS.search(" ".join(text_of(svg)))) is expected


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 25.0])
@pytest.mark.parametrize("count", [1, 3])
def test_ends_of_intervals_are_within_the_axes(share: float, count: int) -> None:
    designs = [(0.25 * (i + 1), 128) for i in range(count)]
    wide = [
        replace(r, latency_ci_low_ms=ms / (1 + share), latency_ci_high_ms=ms * (1 + share))
        for r in deployed(Deployment(), designs=designs)
        if (ms := r.latency_p50_ms)
    ]
    axes = figure_of(pareto_plot, wide).axes[0]
    left, right = axes.get_xlim()
    ends = [x for line in axes.lines if line.get_label() == ABSOLUTE for x in np.asarray(line.get_xdata())]
    assert len(ends) == 2 * count and left < min(ends) and max(ends) < right


def test_predicted_cells_alone_and_outside_the_measured_ones_are_within_the_axes() -> None:
    results = deployed(Deployment())
    for measured_ones in (0, 1):
        mixed = [replace(r, latency_source="predicted", on_frontier=None) for r in results[measured_ones:]]
        axes = figure_of(pareto_plot, [*results[:measured_ones], *mixed]).axes[0]
        left, right = axes.get_xlim()
        assert all(left < (r.latency_p50_ms or 0) < right for r in results)


@pytest.mark.parametrize("batches", [(1, 8), (8,)])
def test_mult_adds_and_latency_are_both_per_image(batches: Sequence[int]) -> None:
    """Cells with the same work and time per image lie at one place and on the line, whatever their batch."""
    results = [
        measured(f"a0.5_r128{f'_b{batch}' if batch > 1 else ''}", 2.0 * batch, mult_adds=50_000_000) for batch in batches
    ]
    axes = figure_of(mult_adds_plot, results).axes[0]
    assert axes.get_ylabel() == "latency per image (ms)"
    assert {at for at, *_ in drawn_paths(axes)} == {(50.0, 2.0)}
    (line,) = (line for line in axes.lines if line.get_label() not in (ABSOLUTE, RELATIVE))
    assert np.allclose(np.asarray(line.get_ydata()), 2.0) and "25 G mult-adds/s" in str(line.get_label())


# Names


def test_the_frontier_is_named_by_what_differs_on_it_and_the_legend_says_the_rest() -> None:
    results = deployed(Deployment(), Deployment(pad="none"), Deployment("int8", pad="none"))
    assert {(r.precision, r.pad) for r in results if r.on_frontier} == {("fp32", "none"), ("int8", "none")}
    texts = text_of(pareto_plot(results, "c")["pareto.svg"])
    assert {"deployment", "fp32, pad auto", "fp32, pad none", "int8, pad none", "frontier: all pad none"} <= set(texts)
    named = [text for text in texts if re.fullmatch("α [0-9.]+, [0-9]+ px(, (fp32|int8))?", text)]
    assert len(named) >= 8 and not any("pad" in text for text in named)
    assert any("int8" in text for text in texts if text in named)


def test_one_deployment_needs_no_words() -> None:
    for deployment in (Deployment("int8"), Deployment("int8", threads=2, pad="none")):
        slow = replace(deployed(deployment)[0], latency_p50_ms=1000.0)
        results = with_frontier([*deployed(deployment), slow])
        figure = figure_of(pareto_plot, results)
        texts = text_of(pareto_plot(results, "c")["pareto.svg"])
        assert not [text for text in texts if "deployment" in text or "int8" in text or "thread" in text]
        assert figure.axes[0].get_position().width == pytest.approx(0.73)
        assert len(figure.axes[0].collections) == 4  # by resolution; nothing is moved to the front
        assert "frontier" in texts


def test_what_no_fill_tells_apart_is_said() -> None:
    results = deployed(*deployments(), *deployments(pad="none"))
    assert "deployment (any pad)" in text_of(mult_adds_plot(results, "c")["latency_mult_adds.svg"])
