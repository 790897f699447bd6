"""Plots drawn from a data frame into the caller's own axes: the plots of the commands, and nothing else is touched."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import mnsweep
from mnsweep.frames import NOWHERE, frame_of, results_of
from mnsweep.result import Result
from mnsweep.sweep.cells_file import from_csv
from tests.conftest import make_result
from tests.test_profile import CELL, lab
from tests.test_readme import ROOT


@pytest.fixture(autouse=True)
def _no_window(monkeypatch: pytest.MonkeyPatch) -> Any:
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


def reference(sweep: str) -> list[Result]:
    path = max((ROOT / "results" / "reference" / sweep).glob("*/cells.csv"))  # of several machines, one
    return from_csv(path.read_text(), path)


def own_axes() -> Axes:
    return Figure(figsize=(9, 5)).subplots()


def texts(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


@pytest.mark.parametrize("sweep", ["paper", "explore", "deploy", "cliffs"])
def test_a_frame_gives_back_the_results_it_was_made_of(sweep: str) -> None:
    results = reference(sweep)
    assert results_of(frame_of(results, NOWHERE)) == results


@pytest.mark.parametrize("sweep", ["paper", "explore", "deploy", "cliffs"])
def test_every_plot_draws_into_the_axes_that_it_is_given(sweep: str) -> None:
    frame = frame_of(reference(sweep), NOWHERE)
    for plot in (mnsweep.plot_pareto, mnsweep.plot_mult_adds, mnsweep.plot_cliffs):
        axes = own_axes()
        canvas = axes.figure.canvas
        assert plot(frame, axes) is axes
        assert axes.figure.canvas is canvas and not plt.get_fignums()
        assert axes.get_xlabel() or "were measured both" in texts(axes)


def test_the_frontier_is_that_of_the_command() -> None:
    axes = mnsweep.plot_pareto(frame_of(reference("paper"), NOWHERE), own_axes())
    assert axes.get_ylabel() == "ImageNet top-1 accuracy (%)" and axes.get_xlabel() == "latency per image (ms)"
    assert "α 0.25, 128 px" in texts(axes) and "α 1.0, 224 px" in texts(axes)
    assert axes.get_legend() is not None and axes.get_xscale() == "log"


def test_rows_may_be_left_out_and_predictions_and_nothing_are_drawn() -> None:
    frame = frame_of(reference("explore"), NOWHERE)
    for part in (frame[frame.latency_source == "predicted"], frame[frame.alpha > 0.5], frame.head(1), frame.head(0)):
        mnsweep.plot_pareto(part, own_axes())
        mnsweep.plot_mult_adds(part, own_axes())
    assert "no cell was measured" in texts(mnsweep.plot_mult_adds(frame.head(0), own_axes()))
    counted = mnsweep.count(0.25, [64, 96])
    assert "no cell has both" in texts(mnsweep.plot_pareto(counted, own_axes()))


def test_cliffs_are_those_of_the_command() -> None:
    axes = mnsweep.plot_cliffs(frame_of(reference("cliffs"), NOWHERE), own_axes())
    assert axes.get_xlabel() == "width multiplier α" and "as written" in texts(axes)


def test_the_roofline_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mnsweep.app.profile.WorkerProcess", lab(left=("depthwise1",)))
    frame = mnsweep.profile(CELL.design.alpha, CELL.design.resolution, pad=CELL.deployment.pad)
    axes = mnsweep.plot_roofline(frame, own_axes())
    assert axes.get_ylabel() == "GFLOP/s" and "matrix product" in texts(axes) and "memory" in texts(axes)
    assert "hollow" in "".join(text.get_text() for text in axes.get_legend().get_texts())  # type: ignore[union-attr]
    assert "no layer" in texts(mnsweep.plot_roofline(frame.head(0), own_axes()))


def test_without_axes_a_new_figure_is_made() -> None:
    axes = mnsweep.plot_pareto(frame_of(reference("paper"), NOWHERE))
    assert plt.gca() is axes


def test_the_caller_s_style_is_kept() -> None:
    with mpl.rc_context({"axes.labelsize": 23.0}):
        axes = mnsweep.plot_pareto(frame_of(reference("paper"), NOWHERE))
        assert axes.xaxis.label.get_fontsize() == 23.0


def test_axes_among_others_keep_their_place() -> None:
    left, right = Figure(figsize=(9, 5)).subplots(1, 2)
    before = left.get_position().bounds
    for plot in (mnsweep.plot_pareto, mnsweep.plot_mult_adds):
        plot(frame_of(reference("deploy"), NOWHERE), left)
    assert left.get_position().bounds == before
    assert not right.has_data()


@pytest.mark.parametrize("ax", [5, Figure(), [None, None]], ids=["number", "figure", "list"])
def test_what_is_no_axes_is_refused(ax: Any) -> None:
    with pytest.raises(mnsweep.MnsweepError, match="is not one matplotlib Axes"):
        mnsweep.plot_pareto(frame_of(reference("paper"), NOWHERE), ax)


@pytest.mark.parametrize("plot", [mnsweep.plot_pareto, mnsweep.plot_mult_adds, mnsweep.plot_cliffs, mnsweep.plot_roofline])
def test_another_frame_is_refused(plot: Any) -> None:
    for frame in (pd.DataFrame({"a": [1]}), mnsweep.paper(8), 5):
        with pytest.raises(mnsweep.MnsweepError, match=r"a frame without|is not a data frame"):
            plot(frame, own_axes())


def test_missing_values_come_back_as_none() -> None:
    result = replace(make_result(), latency_p50_ms=1.0, on_frontier=True)
    (back,) = results_of(frame_of([result], NOWHERE))
    assert back == result and back.samples is None and back.on_frontier is True
