"""The paper's Figures 4 and 5 again: every network at its place, whose number it is, and nothing where nothing is compared."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from mnsweep.plots.reproduction import paper_figures
from mnsweep.result import Result
from mnsweep.space import Space
from mnsweep.sweep.counts import count_table
from tests.test_report import text_of

AMOUNTS: dict[str, Callable[[Result], float]] = {
    "figure4": lambda r: r.mult_adds / 1e6,
    "figure5": lambda r: r.params / 1e6,
    "figure4_measured": lambda r: r.latency_p50_ms or 0.0,
}
PUBLIC = {r.cell: r for r in count_table(Space().cells(), "slim-2018-08")}


def networks(*variants: str, timed: bool = True) -> list[Result]:
    """The 16 MobileNets, and others at 224 px or their own size, with the paper's accuracies; times are made up."""
    others = [Space(alpha=1.0, res=224 if v in ("shallow", "full-conv") else None, variant=v) for v in variants]
    counted = count_table([cell for space in (Space(), *others) for cell in space.cells()], "paper")
    return [replace(r, latency_p50_ms=r.mult_adds**0.9 / 1e7) if timed else r for r in counted]


def axes_of(results: Sequence[Result]) -> dict[str, Axes]:
    """The axes of each figure, as they were when it was saved."""
    saved: list[Axes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure.axes[0]))
        paper_figures(results, "")
    return dict(zip(AMOUNTS, saved[::2], strict=True))  # each as PNG and SVG


def markers(axes: Axes, marker: str) -> list[tuple[float, float]]:
    lines: list[Any] = [line.get_data() for line in axes.lines if line.get_marker() == marker]
    return sorted((float(x), float(y)) for xs, ys in lines for x, y in zip(xs, ys, strict=True))


@pytest.mark.parametrize("name", AMOUNTS)
def test_every_network_is_at_its_place(name: str) -> None:
    results, amount = networks("vgg16", "googlenet", "shallow"), AMOUNTS[name]
    axes = axes_of(results)[name]
    ours = sorted((amount(r), PUBLIC[r.cell].quality_pct or 0.0) for r in results if r.cell in PUBLIC)
    offsets = [at for c in axes.collections if isinstance(c, PathCollection) for at in np.asarray(c.get_offsets()).tolist()]
    assert len(ours) == 16 and np.array(sorted(offsets)) == pytest.approx(np.array(ours))
    others = sorted((amount(r), r.quality_pct or 0.0) for r in results if r.variant != "mobilenet")
    assert len(others) == 3 and np.array(markers(axes, "X")) == pytest.approx(np.array(others))
    printed = sorted((amount(r), r.quality_pct) for r in results if r.cell in PUBLIC and r.quality_pct)
    assert len(printed) == 8 and np.array(markers(axes, "o")) == pytest.approx(np.array(printed))
    low, high = axes.get_xlim()
    assert all(low < x < high for x, _ in ours + others)


def test_comparison_networks_are_named_and_it_is_said_whose_numbers_are_whose() -> None:
    files = paper_figures(networks("vgg16", "squeezenet"), "where and when")
    assert set(files) == {f"{name}.{kind}" for name in AMOUNTS for kind in ("png", "svg")}
    for name in AMOUNTS:
        text = " ".join(text_of(files[f"{name}.svg"]))
        assert "VGG-16" in text and "SqueezeNet" in text and "AlexNet" not in text
        assert "the paper's accuracies" in text and "published accuracies of slim-2018-08" in text and "where and when" in text
    assert files == paper_figures(networks("vgg16", "squeezenet"), "where and when"), "the same bytes"


def test_there_is_no_figure_of_a_sweep_that_compares_nothing() -> None:
    assert paper_figures(networks(), "") == {}
    assert paper_figures([r for r in networks("vgg16") if r.variant == "vgg16"], "") == {}


def test_without_times_the_measured_figure_says_so() -> None:
    files = paper_figures(networks("vgg16", timed=False), "")
    assert any("was measured" in text for text in text_of(files["figure4_measured.svg"]))
