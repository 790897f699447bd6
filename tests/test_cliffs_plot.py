"""Cliffs: which cells make a panel, what is said of the worst, and what the picture shows."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.path import Path
from matplotlib.text import Annotation, Text

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.plots.cliffs import Cliffs, cliffs_plot, find_cliffs
from mnsweep.plots.intervals import ABSOLUTE, RELATIVE
from mnsweep.result import Result
from tests.conftest import make_result
from tests.test_report import figure_of, measured, text_of

ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7)
MORE = (*ALPHAS, 0.8)
WRITTEN_MS, PADDED_MS = (3.66, 3.0, 2.6, 6.7, 8.1), (1.664, 2.1, 2.61, 4.2, 5.1)


def cell(alpha: float, resolution: int = 224, **settings: Any) -> str:
    return Cell(Design.of(alpha, resolution), Deployment(**settings)).id


def curve(
    written: Sequence[float] = WRITTEN_MS,
    padded: Sequence[float] = PADDED_MS,
    pad: str = "auto",
    pct: float = 1,
    **settings: Any,
) -> list[Result]:
    """One group, measured within `pct` %; α rises by tenths from 0.3."""
    times = [*zip(MORE, ["none"] * 6, written, strict=False), *zip(MORE, [pad] * 6, padded, strict=False)]
    results = [measured(cell(alpha, pad=name, **settings), ms, None) for alpha, name, ms in times]
    ends = [((r.latency_p50_ms or 0) * (1 - pct / 100), (r.latency_p50_ms or 0) * (1 + pct / 100)) for r in results]
    return [replace(r, latency_ci_low_ms=a, latency_ci_high_ms=b) for r, (a, b) in zip(results, ends, strict=True)]


def only(results: Sequence[Result]) -> Cliffs:
    (cliffs,) = find_cliffs(results)
    return cliffs


@pytest.mark.parametrize("seed", range(20))
def test_panels_are_all_that_was_measured_both_ways(seed: int) -> None:
    rng = Random(seed)
    grid = list(product(range(1, 9), (128, 224), ("fp32", "int8"), ("none", "auto", "16")))
    cells = [cell(i / 10, px, precision=precision, pad=pad) for i, px, precision, pad in rng.sample(grid, rng.randint(60, 96))]
    results = [make_result(name, latency_p50_ms=rng.choice([None, *range(1, 9)])) for name in cells]
    known = {r.cell for r in results if r.latency_p50_ms is not None}
    expected: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for (resolution, precision), pad in product(product((128, 224), ("fp32", "int8")), ("auto", "16")):
        two = [[cell(i / 10, resolution, precision=precision, pad=p) for p in ("none", pad)] for i in range(1, 9)]
        both = [(written, padded) for written, padded in two if {written, padded} <= known]
        if len(both) >= 5 and len(both) > len(expected.get((resolution, precision), [])):
            expected[resolution, precision] = both
    found = [(c.pairs[0][0], [(written.cell, padded.cell) for written, padded in c.pairs]) for c in find_cliffs(results)]
    assert {(first.resolution, first.precision): pairs for first, pairs in found} == expected
    assert len(found) == len(expected)
    assert [len(pairs) for _, pairs in found] == sorted((len(pairs) for _, pairs in found), reverse=True)


@pytest.mark.parametrize(
    "setting", [{"resolution": 192}, {"precision": "int8"}, {"runtime": "openvino"}, {"threads": 2}, {"batch": 4}]
)
def test_settings_are_never_mixed_in_a_panel(setting: dict[str, Any]) -> None:
    halves = [*curve(padded=[]), *curve(written=[], **setting)]
    assert find_cliffs(halves) == [] and cliffs_plot(halves, "c") == {}
    other_design = [replace(r, cell=f"{r.cell}_round8", width_rule="round8") for r in curve() if r.pad == "none"]
    assert find_cliffs([*other_design, *(r for r in curve() if r.pad != "none")]) == []


TIMES = st.lists(st.tuples(st.floats(1, 10), st.floats(1, 10)), min_size=5, max_size=5)


@given(TIMES)
def test_the_worst_is_the_largest_clear_ratio(times: list[tuple[float, float]]) -> None:
    cliffs = only(curve([a for a, _ in times], [b for _, b in times]))
    clear = [(a / b, alpha) for alpha, (a, b) in zip(ALPHAS, times, strict=True) if a * 0.99 > b * 1.01]
    written, padded = cliffs.worst
    assert written.alpha == padded.alpha and (written.pad, padded.pad) == ("none", "auto")
    assert (written.latency_p50_ms or 0) / (padded.latency_p50_ms or 1) == max(clear or [(a / b, 0) for a, b in times])[0]
    assert cliffs.steep is any(1 - 1 / ratio >= 0.05 for ratio, _ in clear)
    faster = [
        a
        for a, (_, b) in zip(ALPHAS, times, strict=True)
        if a > written.alpha and b * 1.01 < 0.99 * (written.latency_p50_ms or 0)
    ]
    assert (cliffs.overtaken.alpha if cliffs.overtaken else None) == max(faster, default=None)


def test_a_ratio_that_intervals_do_not_tell_apart_is_no_cliff() -> None:
    vague = [
        replace(r, latency_ci_low_ms=0.5) if r.cell == "a0.7_r224_pnone" else r for r in curve((3, 2, 2, 2, 9), (2, 2, 2, 2, 2))
    ]
    assert only(vague).worst[0].alpha == 0.3 and only(vague).steep


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (curve(), "α 0.3 as written: 3.66 ms,\n2.2 × as long as padded,\nlonger than α 0.5 padded (2.61 ms)"),
        (curve((1.1, 2, 3, 4, 5), (1, 2, 3, 4, 5)), "α 0.3 as written: 1.10 ms,\n1.10 × as long as padded"),
        (curve((1.04, 2, 3, 4, 5), (1, 2, 3, 4, 5)), "no cliff: at no α does padding\nclearly save 5 % or more"),
        (curve(pct=60), "no cliff: at no α does padding\nclearly save 5 % or more"),
        (curve(PADDED_MS, WRITTEN_MS), "no cliff: at no α does padding\nclearly save 5 % or more"),
    ],
)  # fmt: skip
def test_the_worst_in_words(results: list[Result], words: str) -> None:
    assert only(results).in_words() == words


def test_without_intervals_latencies_are_taken_as_they_are() -> None:
    bare = [replace(r, latency_ci_low_ms=None, latency_ci_high_ms=None) for r in curve()]
    assert only(bare).in_words() == only(curve()).in_words()
    assert set(cliffs_plot(bare, "c")) == {"cliffs.png", "cliffs.svg"}


@pytest.mark.parametrize("results", [[], curve(WRITTEN_MS[:4]), curve(padded=[]), curve(pad="none"), [make_result()] * 5])
def test_no_file_where_too_few_cells_have_both(results: list[Result]) -> None:
    assert cliffs_plot(results, "c") == {}


def test_the_picture_is_the_same_bytes_twice_and_says_what_it_shows() -> None:
    files = cliffs_plot(curve(), "the caption")
    assert files == cliffs_plot(curve(), "the caption") and files["cliffs.png"].startswith(b"\x89PNG\r\n\x1a\n")
    texts = text_of(files["cliffs.svg"])
    shown = {
        "Is a smaller α always faster here?",
        "224 px",
        "as written:",
        "the paper's channels",
        "zero-padded,",
        "same logits",
    }
    shown |= {
        "time wasted",
        "bars: 95 % intervals,",
        "thin: absolute, thick:",
        "against others",
        "width multiplier α",
        "latency per image (ms)",
        "the caption Thin bars include the changes in the machine's speed, which all cells share; thick ones compare cells.",
    }
    assert shown <= set(texts) and "2.2 × as long as padded," in texts


def area(path: Path) -> float:
    x, y = np.asarray(path.vertices).T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def test_lines_are_the_latencies_and_the_waste_lies_where_padding_is_faster() -> None:
    axes = figure_of(cliffs_plot, curve()).axes[0]
    lines = {
        tuple(np.asarray(line.get_ydata())): list(np.asarray(line.get_xdata()))
        for line in axes.lines
        if line.get_linestyle() == "-" and line.get_label() not in (ABSOLUTE, RELATIVE)
    }
    assert lines == {WRITTEN_MS: list(ALPHAS), PADDED_MS: list(ALPHAS)}
    (waste,) = (artist for artist in axes.collections if isinstance(artist, PolyCollection))
    grid = np.linspace(0.3, 0.7, 100_001)
    saved = np.interp(grid, ALPHAS, WRITTEN_MS) - np.interp(grid, ALPHAS, PADDED_MS)
    assert sum(map(area, waste.get_paths())) == pytest.approx(np.trapezoid(saved.clip(0), grid), rel=1e-6)
    middles = [(a, (b + c) / 2) for a, b, c in zip(ALPHAS, WRITTEN_MS, PADDED_MS, strict=True)]
    inside = [any(path.contains_point(middle) for path in waste.get_paths()) for middle in middles[1:4]]
    assert inside == [True, False, True]  # at 0.5 padding is slower
    assert axes.get_ylim()[0] == 0 and axes.get_yscale() == axes.get_xscale() == "linear"


def bars_of(results: list[Result]) -> set[tuple[float, float]]:
    """Both ends of every thin bar."""
    bars = [line for line in figure_of(cliffs_plot, results).axes[0].lines if line.get_label() == ABSOLUTE]
    return {(round(float(low), 6), round(float(high), 6)) for low, high in (np.asarray(bar.get_ydata()) for bar in bars)}


def test_bars_are_the_intervals() -> None:
    results = curve(pct=7)
    assert bars_of(results) == {(round(r.latency_ci_low_ms or 0, 6), round(r.latency_ci_high_ms or 0, 6)) for r in results}


GROUPS: list[dict[str, Any]] = [
    {"precision": p, "runtime": r, "threads": t} for p in ("fp32", "int8") for r in ("onnxruntime", "openvino") for t in (1, 2)
]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_a_panel_for_each_group_up_to_four(count: int) -> None:
    results = [r for group in GROUPS[:count] for r in curve(**group)]
    figure = figure_of(cliffs_plot, results)
    names = ["", "fp32, onnxruntime, 1 thread", "fp32, onnxruntime, 2 threads", "fp32, openvino, 1 thread"]
    assert len(figure.axes) == min(count, 4)
    if count > 4:
        assert [axes.get_title("left") for axes in figure.axes[:3]] == [f"224 px, {name}" for name in names[1:]]
    assert [bool(axes.get_ylabel()) for axes in figure.axes] == [True, False, True, False][: min(count, 4)]
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == {3: [False, True, True]}.get(
        count, [True] * count if count < 3 else [False, False, True, True]
    )
    texts = text_of(cliffs_plot(results, "c")["cliffs.svg"])
    assert (f"4 of {count} settings" in texts) is (count > 4)
    for axes in figure.axes:
        (words,) = (text for text in axes.texts if isinstance(text, Annotation))
        text, highest = Text.get_window_extent(words), axes.transData.transform((0, max(WRITTEN_MS)))[1]
        assert text.y0 > highest and axes.bbox.x0 - 1 <= text.x0 and text.x1 <= axes.bbox.x1 + 1


def test_panels_with_most_alphas_come_first() -> None:
    few, many = curve(precision="int8"), curve((*WRITTEN_MS, 9.0), (*PADDED_MS, 8.0))
    assert [c.pairs[0][0].precision for c in find_cliffs([*few, *many])] == ["fp32", "int8"]


def test_of_two_paddings_auto_is_shown_unless_the_other_has_more() -> None:
    sixteen = curve(pad="16")
    assert only([*sixteen, *curve()]).pairs[0][1].pad == "auto"
    assert only([*sixteen, *(r for r in curve() if r.alpha > 0.3)]).pairs[0][1].pad == "16"


def test_panels_say_their_padding_where_it_differs() -> None:
    results = [*curve(pad="16"), *curve(precision="int8")]
    assert [axes.get_title("left") for axes in figure_of(cliffs_plot, results).axes] == [
        "224 px, fp32, pad 16",
        "224 px, int8, pad auto",
    ]


def test_batches_and_other_width_rules_are_called_what_they_are() -> None:
    assert "latency per batch (ms)" in text_of(cliffs_plot(curve(batch=4), "c")["cliffs.svg"])
    rounded = [replace(r, width_rule="round8") for r in curve()]
    assert not any("paper" in text for text in text_of(cliffs_plot(rounded, "c")["cliffs.svg"]))
