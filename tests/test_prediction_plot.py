"""The picture of predictions against measurements, and the layer of predictions below the frontier of what was measured."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from mnsweep.plots.intervals import ABSOLUTE
from mnsweep.plots.pareto import pareto_plot
from mnsweep.plots.predictions import BAND_PCT, prediction_plot
from mnsweep.prediction.validation import Check
from mnsweep.result import MEASURED, PREDICTED, Result
from mnsweep.sweep.table import with_frontier
from tests.conftest import make_result
from tests.test_report import figure_of, measured, text_of


def check(cell: str, measured_ms: float, predicted_ms: float, low_ms: float, high_ms: float, *, fitted: bool) -> Check:
    return Check(cell=cell, measured_ms=measured_ms, predicted_ms=predicted_ms, low_ms=low_ms, high_ms=high_ms, fitted=fitted)


CHECKS = [
    check("a0.25_r128", 1.0, 1.02, 1.02, 1.02, fitted=True),
    check("a0.5_r128", 2.0, 1.91, 1.91, 1.91, fitted=True),
    check("a0.5_r160", 4.0, 4.4, 4.0, 4.8, fitted=False),
    check("a1.0_r224", 20.0, 19.8, 19.0, 21.0, fitted=False),
]
RESULTS = [make_result(c.cell) for c in CHECKS]


def drawn(checks: Sequence[Check], results: Sequence[Result] = RESULTS) -> Figure:
    return figure_of(lambda rows, caption: prediction_plot(checks, rows, caption), results)


def points(axes: Axes, marker: str) -> list[tuple[float, float]]:
    return [
        (x, y)
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(*(np.asarray(data, dtype=float).tolist() for data in line.get_data()), strict=True)
    ]


def test_png_and_svg_the_same_bytes_twice_and_nothing_without_checks() -> None:
    files = prediction_plot(CHECKS, RESULTS, "where and when")
    assert set(files) == {"prediction.png", "prediction.svg"}
    assert files["prediction.png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert "where and when" in text_of(files["prediction.svg"])
    assert prediction_plot(CHECKS, RESULTS, "where and when") == files
    assert prediction_plot([], RESULTS, "where and when") == {}


def test_every_check_is_drawn_twice_by_its_kind() -> None:
    above, below = drawn(CHECKS).axes
    for marker, fitted in (("o", True), ("D", False)):
        its = [c for c in CHECKS if c.fitted is fitted]
        assert points(above, marker) == [(c.measured_ms, c.predicted_ms) for c in its]
        expected = [(c.measured_ms, 100 * (c.predicted_ms - c.measured_ms) / c.measured_ms) for c in its]
        assert np.array(points(below, marker)) == pytest.approx(np.array(expected))
    for x, y in points(below, "o") + points(below, "D"):
        assert below.get_xlim()[0] < x < below.get_xlim()[1] and below.get_ylim()[0] < y < below.get_ylim()[1]
    assert below.get_xlim() == above.get_xlim()


@pytest.mark.parametrize("worst", [0.001, 0.3, 2.5])
def test_errors_stay_inside_however_large_and_the_band_is_always_seen(worst: float) -> None:
    checks = [*CHECKS, check("a0.25_r224", 3.0, 3.0 * (1 + worst), 3.0, 9.0, fitted=False)]
    above, below = drawn(checks).axes
    low, high = below.get_ylim()
    assert low == -high and high > max(100 * worst, BAND_PCT)
    assert above.get_ylim()[1] > 3.0 * (1 + worst)


def test_the_band_is_five_percent_around_what_was_measured() -> None:
    above, below = drawn(CHECKS).axes
    (corners,) = [path.vertices for path in above.collections[0].get_paths()]
    x, y = np.asarray(corners).T
    assert set(np.round(y / x, 9)) >= {0.95, 1.05} and (y / x).min() >= 0.95 - 1e-9 and (y / x).max() <= 1.05 + 1e-9
    ends = below.patches[0].get_extents().transformed(below.transData.inverted())
    assert (ends.y0, ends.y1) == pytest.approx((-5.0, 5.0))


def test_the_legend_sums_up() -> None:
    texts = text_of(prediction_plot(CHECKS, RESULTS, "caption")["prediction.svg"])
    said = " ".join(texts)
    for words in (
        "mean error 4.4 %",
        "worst 10.0 %",
        "3 of 4 within ± 5 %",
        "± 5 %",
        "fitted cell, left out in turn",
        "cell not fitted",
    ):
        assert words in said, said
    assert "predicted latency per image (ms)" in texts and "measured latency per image (ms)" in texts
    fitted_only = " ".join(text_of(prediction_plot(CHECKS[:2], RESULTS, "caption")["prediction.svg"]))
    assert "cell not fitted" not in fitted_only and "fitted cell, left out in turn" in fitted_only


def test_batches_are_called_so() -> None:
    said = text_of(prediction_plot(CHECKS, [make_result("a0.5_r128_b4")], "caption")["prediction.svg"])
    assert "measured latency per batch (ms)" in said


# The predicted layer of the frontier plot

MEASURED_CELLS = [measured("a0.25_r128", 1.0, 41.5), measured("a0.5_r160", 3.0, 59.1), measured("a1.0_r224", 15.0, 70.9)]
BELIEVED = [("a0.3_r128", 1.3, 45.0), ("a0.4_r160", 2.4, 60.0), ("a0.7_r200", 8.0, 68.0), ("a0.9_r136", 9.0, 64.0)]


def explored() -> list[Result]:
    rows = [replace(r, latency_source=MEASURED) for r in MEASURED_CELLS]
    rows += [measured(cell, ms, pct, latency_source=PREDICTED, quality_sd_pct=0.3) for cell, ms, pct in BELIEVED]
    on = {"a0.25_r128", "a0.3_r128", "a0.4_r160", "a0.7_r200", "a1.0_r224"}
    return [replace(r, predicted_on_frontier=r.cell in on) for r in with_frontier(rows)]


def dots(axes: Axes) -> dict[tuple[float, float], float]:
    """Area of everything scattered, by its place."""
    found: dict[tuple[float, float], float] = {}
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            sizes = np.resize(collection.get_sizes(), len(np.asarray(collection.get_offsets())))
            for (x, y), size in zip(np.asarray(collection.get_offsets()), sizes, strict=True):
                found[float(x), float(y)] = max(float(size), found.get((float(x), float(y)), 0.0))
    return found


def test_predicted_cells_are_quiet_dots_below_what_was_measured() -> None:
    axes = figure_of(pareto_plot, explored()).axes[0]
    areas = dots(axes)
    quiet = {areas[ms, pct] for _, ms, pct in BELIEVED}
    solid = {areas[r.latency_p50_ms or 0, r.quality_pct or 0] for r in MEASURED_CELLS}
    assert max(quiet) * 3 < min(solid)
    layers = [(c.get_zorder(), len(np.asarray(c.get_offsets()))) for c in axes.collections if isinstance(c, PathCollection)]
    assert min(layers) == (min(z for z, _ in layers), len(BELIEVED))


def test_the_predicted_frontier_is_a_dotted_staircase_and_the_measured_one_a_solid_line() -> None:
    axes = figure_of(pareto_plot, explored()).axes[0]
    lines = {line.get_linestyle(): line for line in axes.lines if len(np.asarray(line.get_xdata())) > 2}
    steps = list(zip(*(np.asarray(data).tolist() for data in lines[":"].get_data()), strict=True))
    assert steps == [(1.0, 41.5), (1.3, 41.5), (1.3, 45.0), (2.4, 45.0), (2.4, 60.0), (8.0, 60.0), (8.0, 68.0), (15.0, 68.0),
                     (15.0, 70.9)]  # fmt: skip
    solid = list(zip(*(np.asarray(data).tolist() for data in lines["-"].get_data()), strict=True))
    assert solid[::2] == [(1.0, 41.5), (3.0, 59.1), (15.0, 70.9)]


def test_the_legend_tells_them_apart_only_where_something_was_predicted() -> None:
    said = text_of(pareto_plot(explored(), "caption")["pareto.svg"])
    assert {"predicted frontier", "predicted only", "frontier"} <= set(said)
    without = text_of(pareto_plot(with_frontier(MEASURED_CELLS), "caption")["pareto.svg"])
    assert not {"predicted frontier", "predicted only"} & set(without)


def test_only_measured_cells_are_named_and_have_intervals() -> None:
    said = " ".join(text_of(pareto_plot(explored(), "caption")["pareto.svg"]))
    for r in MEASURED_CELLS:
        assert f"α {r.alpha}, {r.resolution} px" in said
    assert not [cell for cell, *_ in BELIEVED if f"α {make_result(cell).alpha}, {make_result(cell).resolution} px" in said]
    axes = figure_of(pareto_plot, explored()).axes[0]
    bars = [line for line in axes.lines if line.get_label() == ABSOLUTE]
    assert len(bars) == len(MEASURED_CELLS)
