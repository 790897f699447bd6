"""Tables against values worked out by hand, and pictures against what may not happen in them."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from mnsweep.cell import parse_cell
from mnsweep.estimate.fit import Estimate
from mnsweep.plots.labels import place_labels
from mnsweep.plots.pareto import mult_adds_plot, pareto_plot
from mnsweep.result import Result
from mnsweep.sweep.counts import count_table, layer_rows
from mnsweep.sweep.store import SweepFolder
from mnsweep.sweep.table import measured_table, with_frontier
from tests.conftest import TRUTH_MS, make_result

Draw = Callable[[Sequence[Result], str], dict[str, bytes]]


def counted(cell: str, source: str = "slim-2018-08") -> Result:
    (result,) = count_table([parse_cell(cell)], source)
    return result


# Sums over the rows of the paper's Table 1, by hand. Peak: the largest input and output map of one layer.
@pytest.mark.parametrize(
    ("cell", "params", "mult_adds", "peak_bytes", "top1_pct", "top5_pct"),
    [
        ("a1.0_r224", 4_231_976, 568_740_352, 4 * (32 + 64) * 112**2, 70.9, 89.9),
        ("a0.25_r128", 470_072, 13_570_048, 4 * (8 + 16) * 64**2, 41.5, 66.3),
        ("a0.5_r160", 1_331_592, 76_524_800, 4 * (16 + 32) * 80**2, 59.1, 81.9),
        ("a0.33_r200", 698_965, 57_594_632, 4 * (10 + 21) * 100**2, None, None),
        ("a0.25_r128_b4", 470_072, 13_570_048, 4 * 4 * (8 + 16) * 64**2, 41.5, 66.3),
        ("a0.25_r128_c1001", 470_072 + 257, 13_570_048 + 256, 4 * (8 + 16) * 64**2, 41.5, 66.3),
        ("a0.25_r128_keras", 470_072, 13_570_048, 4 * (8 + 16) * 64**2, None, None),
        ("a0.25_r128_round8", 470_072, 13_570_048, 4 * (8 + 16) * 64**2, 41.5, 66.3),
    ],
)
def test_counts_and_published_accuracies(
    cell: str, params: int, mult_adds: int, peak_bytes: int, top1_pct: float | None, top5_pct: float | None
) -> None:
    r = counted(cell)
    assert (r.cell, r.params, r.mult_adds, r.peak_activation_bytes) == (cell, params, mult_adds, peak_bytes)
    assert (r.quality_pct, r.top5_pct) == (top1_pct, top5_pct)
    about = ("imagenet_top1", "published: slim-2018-08") if top1_pct else (None, None)
    assert (r.quality_metric, r.quality_source) == about
    assert (r.latency_p50_ms, r.latency_source, r.on_frontier) == (None, None, None)


def test_the_paper_as_a_source() -> None:
    r = counted("a0.5_r160", "paper")
    assert (r.quality_pct, r.top5_pct, r.quality_source) == (60.2, None, "published: paper")
    assert counted("a0.75_r192", "paper").quality_pct is None


def test_layer_rows_add_up() -> None:
    rows = layer_rows(parse_cell("a1.0_r224"))
    assert len(rows) == 1 + 2 * 13 + 2
    assert sum(int(row["params"]) for row in rows) == 4_231_976
    assert sum(int(row["mult_adds"]) for row in rows) == 568_740_352
    assert (rows[0]["name"], rows[0]["in_size"], rows[0]["out_size"], rows[0]["activation_bytes"]) == (
        "stem", 224, 112, 4 * 32 * 112**2,
    )  # fmt: skip


def estimate_of(p50_ms: float, **columns: float | None) -> Estimate:
    known: dict[str, Any] = {"relative_ci_pct": None, "p90_ms": None, "p99_ms": None, **columns}
    return Estimate(
        p50_ms=p50_ms, ci_low_ms=p50_ms * 0.9, ci_high_ms=p50_ms * 1.1, **known, samples=100, rounds=20, stability="stable"
    )


def test_measured_table_puts_latencies_beside_counts() -> None:
    cells = ["a0.25_r128", "a0.5_r128", "a0.25_r160", "a0.33_r200", "a1.0_r224"]
    estimates = {
        "a0.25_r128": estimate_of(1.23456789, relative_ci_pct=0.123456, p90_ms=1.3000004, p99_ms=1.4000006),
        "a0.5_r128": estimate_of(2.0),
        "a0.25_r160": estimate_of(2.5),  # slower and less accurate than a0.5_r128
        "a0.33_r200": estimate_of(0.5),  # no accuracy
    }
    rows = measured_table([parse_cell(cell) for cell in cells], estimates, "slim-2018-08")
    assert [r.cell for r in rows] == cells
    assert [r.on_frontier for r in rows] == [True, True, False, None, None]
    first, *_, last = rows
    assert (first.latency_p50_ms, first.latency_ci_low_ms, first.latency_ci_high_ms) == (1.234568, 1.111111, 1.358025)
    assert (first.relative_ci_pct, first.latency_p90_ms, first.latency_p99_ms) == (0.1235, 1.3, 1.400001)
    assert (first.samples, first.rounds, first.stability, first.latency_source) == (100, 20, "stable", "measured")
    assert (first.quality_pct, first.params) == (41.5, 470_072)
    assert rows[1].relative_ci_pct is rows[1].latency_p90_ms is rows[1].latency_p99_ms is None
    assert last == counted("a1.0_r224")


def measured(cell: str, p50_ms: float, quality_pct: float | None = 50.0, **columns: Any) -> Result:
    about = {"quality_metric": "imagenet_top1", "quality_source": "published: paper"} if quality_pct is not None else {}
    ends = {"latency_ci_low_ms": p50_ms * 0.95, "latency_ci_high_ms": p50_ms * 1.05}
    base = replace(make_result(cell, latency_p50_ms=p50_ms, quality_pct=quality_pct, **ends, **about), mult_adds=10_000_000)
    return replace(base, **columns)


THREE = with_frontier(
    [measured("a0.25_r128", 1.0, 41.5), measured("a0.5_r160_t2", 3.0, 59.1), measured("a1.0_r224", 15.0, 70.9)]
)
DRAWS: list[tuple[Draw, str]] = [(pareto_plot, "pareto"), (mult_adds_plot, "latency_mult_adds")]


def text_of(svg: bytes) -> list[str]:
    """Every text node of an SVG."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(("draw", "name"), DRAWS)
def test_a_plot_is_png_and_svg_the_same_bytes_twice(draw: Draw, name: str) -> None:
    files = draw(THREE, "caption")
    assert set(files) == {f"{name}.png", f"{name}.svg"}
    assert files[f"{name}.png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert any(text.startswith("caption") for text in text_of(files[f"{name}.svg"]))
    assert draw(THREE, "caption") == files


def test_plots_are_the_same_bytes_in_another_process(sweep_folder: SweepFolder) -> None:
    drawn = {path.name: digest(path.read_bytes()) for path in sweep_folder.path.iterdir()}
    code = (
        "import sys; from pathlib import Path; from mnsweep.sweep.derive import derive; "
        "from mnsweep.sweep.store import SweepFolder; "
        "derive(SweepFolder(Path(sys.argv[1])))"
    )
    for name in ("cells.csv", "pareto.png", "pareto.svg", "latency_mult_adds.png", "latency_mult_adds.svg"):
        (sweep_folder.path / name).unlink()
    command = [sys.executable, "-c", code, str(sweep_folder.path)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert {path.name: digest(path.read_bytes()) for path in sweep_folder.path.iterdir()} == drawn


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_frontier_points_carry_their_names_and_the_picture_its_caption() -> None:
    texts = text_of(pareto_plot(THREE, "Latency: a CPU.\nAccuracy: the paper.")["pareto.svg"])
    for expected in ("α 0.25, 128 px", "α 0.5, 160 px, 2 threads", "α 1.0, 224 px", "Latency: a CPU.", "Accuracy: the paper."):
        assert any(expected in text for text in texts)
    assert {"latency per image (ms)", "ImageNet top-1 accuracy (%)", "95 % interval", "frontier"} <= set(texts)


def test_dominated_points_stay_quiet() -> None:
    dominated = with_frontier([*THREE, measured("a0.75_r192", 20.0, 30.0)])
    assert not any("192 px" in text for text in text_of(pareto_plot(dominated, "c")["pareto.svg"]))


def test_caption_of_a_sweep_says_machine_runtime_and_source(sweep_folder: SweepFolder) -> None:
    text = " ".join(text_of((sweep_folder.path / "pareto.svg").read_bytes()))
    machine = sweep_folder.read_machine()
    for part in (str(machine.checked["cpu"]), "made-up 1", "6 of 7 cells", "published: slim-2018-08", "Sweep grid"):
        assert part in text
    for cell in TRUTH_MS:
        alpha, resolution = cell[1:].split("_r")
        assert (f"α {alpha}, {resolution} px" in text) is (cell not in ("a0.33_r200", "a1.0_r128"))


def draw_now(figure: Any) -> None:
    FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]


def figure_of(draw: Draw, results: Sequence[Result]) -> Figure:
    """The figure as it was when it was saved."""
    saved: list[Figure] = []

    def keep(figure: Figure, *_: object, **__: object) -> None:
        draw_now(figure)
        saved.append(figure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", keep)
        draw(results, "caption")
    return saved[0]


@pytest.mark.parametrize(("low_ms", "high_ms"), [(0.02, 300.0), (0.5, 30.0), (1.4, 1.5), (20.0, 80.0), (1000.0, 90_000.0)])
@pytest.mark.parametrize(("draw", "name"), DRAWS)
def test_ticks_are_plain_numbers(draw: Draw, name: str, low_ms: float, high_ms: float) -> None:
    ends = [
        measured("a0.25_r128", low_ms, 40.0, mult_adds=900_000),
        measured("a1.0_r224", high_ms, 70.0, mult_adds=47_000_000_000),
    ]
    results = with_frontier(ends)
    axes = figure_of(draw, results).axes[0]
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        shown = [label.get_text() for label in axis.get_ticklabels() if label.get_text()]
        assert all(re.fullmatch(r"−?[0-9]+(\.[0-9]+)?", text) for text in shown), shown
        assert any(low <= float(text) <= high for text in shown if text[0] != "−")
    svg = draw(results, "c")[f"{name}.svg"].decode()
    assert "10^" not in svg and "mathdefault" not in svg and "×10" not in svg


@pytest.mark.parametrize(("draw", "name"), DRAWS)
@pytest.mark.parametrize("results", [[], [make_result(quality_pct=41.5)]])
def test_nothing_to_draw_says_so(draw: Draw, name: str, results: list[Result]) -> None:
    texts = text_of(draw(results, "caption")[f"{name}.svg"])
    expected = {"pareto": "no cell has both a latency and a published accuracy", "latency_mult_adds": "no cell was measured"}
    assert expected[name] in texts and "caption" in texts


def test_missing_accuracies_are_said_and_do_not_hide_the_rest() -> None:
    bare = measured("a0.33_r200", 2.0, None)
    assert "no cell has both a latency and a published accuracy" in text_of(pareto_plot([bare], "c")["pareto.svg"])
    texts = text_of(pareto_plot([*THREE, bare], "c")["pareto.svg"])
    assert "no cell has both a latency and a published accuracy" not in texts
    assert len(figure_of(mult_adds_plot, [*THREE, bare]).axes[0].collections) == 4  # one for each resolution


@pytest.mark.parametrize(("draw", "name"), DRAWS)
def test_one_cell_is_drawn(draw: Draw, name: str) -> None:
    assert "0.25" in text_of(draw(with_frontier([measured("a0.25_r128", 1.4, 41.5)]), "c")[f"{name}.svg"])


@pytest.mark.parametrize(("draw", "name"), DRAWS)
def test_fifty_alphas_by_thirty_resolutions_are_drawn(draw: Draw, name: str) -> None:
    grid = [(i / 25, 32 * k) for i in range(1, 51) for k in range(1, 31)]
    results = [
        measured(f"a{a}_r{r}", 0.1 + a * a * r / 100, 20 + 20 * a + r / 50 - (a * r) % 7, mult_adds=round(a * r * 1e5))
        for a, r in grid
    ]
    texts = text_of(draw(with_frontier(results), "c")[f"{name}.svg"])
    assert "width multiplier α" in texts


def test_plots_do_not_depend_on_the_frontier_being_known() -> None:
    axes = figure_of(pareto_plot, [replace(r, on_frontier=None) for r in THREE]).axes[0]
    drawn = np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])
    assert {tuple(point) for point in drawn} == {(r.latency_p50_ms, r.quality_pct) for r in THREE}


@pytest.mark.parametrize("batch", [1, 4])
def test_cells_of_one_rate_lie_on_the_line(batch: int) -> None:
    work = {"a0.25_r128": 10_000_000, "a0.5_r128": 30_000_000, "a1.0_r128": 90_000_000}
    results = [measured(cell, batch * n / 1e7, None, mult_adds=n, batch=batch) for cell, n in work.items()]
    axes = figure_of(mult_adds_plot, results).axes[0]
    (line,) = (line for line in axes.lines if line.get_linestyle() == "--")
    (points,) = (np.asarray(points.get_offsets()) for points in axes.collections)
    ends = np.column_stack([line.get_xdata(), line.get_ydata()])
    assert len(points) == 3
    assert ends == pytest.approx(points[[points[:, 0].argmin(), points[:, 0].argmax()]])


Box = tuple[float, float, float, float]
HAIR = 0.5  # pixels: below what anyone sees


def box_of(label: Annotation) -> Box:
    extent = Text.get_window_extent(label)
    return (extent.x0 + HAIR, extent.y0 + HAIR, extent.x1 - HAIR, extent.y1 - HAIR)


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def assert_clear(
    axes: Axes, labels: Sequence[Annotation], points: Sequence[tuple[float, float]], line: Sequence[tuple[float, float]]
) -> None:
    """No label on another, on a marker (46 square points), on a segment, or outside the axes."""
    frame = axes.get_window_extent()
    radius = 46**0.5 / 2 * axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    markers = [axes.transData.transform(point) for point in points]
    corners = [axes.transData.transform(corner) for corner in line]
    taken = [(x - radius, y - radius, x + radius, y + radius) for x, y in markers]
    taken += [(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])) for a, b in pairwise(corners)]
    boxes = {label.get_text(): box_of(label) for label in labels}
    assert len(boxes) == len(labels)
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        assert not overlap(a, b), f"{one!r} is on {other!r}"
    for text, box in boxes.items():
        assert not any(overlap(box, other) for other in taken), f"{text!r} is on a point or the staircase"
        assert frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1, text


def staircase(frontier: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    corners = list(frontier[:1])
    for (_, before), (x, y) in pairwise(frontier):
        corners += [(x, before), (x, y)]
    return corners


UNIT = st.integers(0, 40).map(lambda n: n / 40)
PLACES = st.lists(st.tuples(UNIT, UNIT), max_size=10)


@settings(max_examples=30, deadline=None)
@given(PLACES, PLACES)
def test_placed_labels_are_clear_of_everything(named: list[tuple[float, float]], others: list[tuple[float, float]]) -> None:
    axes = Figure(figsize=(6, 4), dpi=100).add_subplot(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
    line = staircase(sorted(set(named)))
    labels = [(x, y, f"α {i}, {100 + i} px") for i, (x, y) in enumerate(named)]
    placed = place_labels(axes, labels, [*named, *others], line)
    assert {label.get_text() for label in axes.texts} == {label.get_text() for label in placed}
    draw_now(axes.get_figure(root=True))
    assert_clear(axes, placed, [*named, *others], line)
    for label in placed:
        assert (*label.xy, label.get_text()) in labels


def test_a_label_with_room_is_placed_and_one_without_is_left_out() -> None:
    axes = Figure(figsize=(6, 4), dpi=100).add_subplot(xlim=(0, 1), ylim=(0, 1))
    assert [a.get_text() for a in place_labels(axes, [(0.2, 0.5, "left"), (0.8, 0.5, "right")], [])] == ["left", "right"]
    crowd = [(x / 50, y / 50) for x in range(51) for y in range(51)]
    assert place_labels(axes, [(0.5, 0.5, "nowhere to go")], crowd) == []


PAPER_CELLS = [f"a{a}_r{r}" for a in (0.25, 0.5, 0.75, 1.0) for r in (128, 160, 192, 224)]
PAPER_GRID = [(r.mult_adds / 3e7 + 0.3, r.quality_pct or 0.0) for r in map(counted, PAPER_CELLS)]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 200), st.floats(20, 80)), min_size=1, max_size=16))
@example(PAPER_GRID)
def test_labels_of_the_drawn_picture_are_clear_of_everything(points: list[tuple[float, float]]) -> None:
    assert_drawn_labels_are_clear(points)


def assert_drawn_labels_are_clear(points: list[tuple[float, float]]) -> None:
    results = with_frontier([measured(f"a0.25_r{128 + i}", ms, pct) for i, (ms, pct) in enumerate(points)])
    axes = figure_of(pareto_plot, results).axes[0]
    frontier = sorted((r.latency_p50_ms or 0.0, r.quality_pct or 0.0) for r in results if r.on_frontier)
    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    assert_clear(axes, labels, points, staircase(frontier))


def crowded(seed: int) -> list[tuple[float, float]]:
    """Close steps up a staircase: what leaves labels the least room."""
    rng = Random(seed)
    ms, pct, points = 2.0, 50.0, []
    for _ in range(rng.randint(4, 24)):
        ms *= 1 + rng.random() * rng.choice([0.05, 0.2, 0.5])
        pct += rng.random() * rng.choice([0.3, 1, 4])
        points.append((ms, pct))
    return points


@pytest.mark.parametrize("seed", [0, 35, 56, 81])  # labels met in the last three before limits were final
def test_labels_of_a_crowded_picture_are_clear_of_everything(seed: int) -> None:
    assert_drawn_labels_are_clear(crowded(seed))


def test_most_of_the_papers_frontier_is_named() -> None:
    results = with_frontier([measured(f"a0.25_r{128 + i}", ms, pct) for i, (ms, pct) in enumerate(PAPER_GRID)])
    axes = figure_of(pareto_plot, results).axes[0]
    assert len(axes.texts) >= 0.8 * sum(bool(r.on_frontier) for r in results)
