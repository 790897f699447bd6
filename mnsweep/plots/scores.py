"""Plots of scores: a map of places, true against false accepts, and the average precision of each class."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from mnsweep.plots.figure import blank_figure, files, own_style

Numbers = NDArray[np.floating]
_WITHIN = ((25, "#1b7837"), (200, "#7fbf7b"), (750, "#e6ab02"), (2500, "#d95f02"), (np.inf, "#b3202c"))  # km, and a colour
_LINE, _QUIET = "#00224e", "#9aa0a8"
_LEAST_RATE = 1e-5


def map_plot(places: Numbers, answers: Numbers, distances_km: Numbers, name: str, caption: str) -> dict[str, bytes]:
    """`NAME.png` and `.svg`: places (n, 2) of pictures in degrees, coloured by how far the answers are, with lines to them."""
    with own_style():
        figure, axes = _figure("Where the pictures are, and where the network puts them", caption)
        wrong = distances_km > _WITHIN[0][0]
        for place, answer in zip(places[wrong], answers[wrong], strict=True):
            if abs(place[1] - answer[1]) <= 180:
                axes.plot([place[1], answer[1]], [place[0], answer[0]], color=_QUIET, linewidth=0.4, alpha=0.5, zorder=1)
        least = 0.0
        for most, colour in _WITHIN:
            chosen = (distances_km > least) & (distances_km <= most) if least else distances_km <= most
            words = f"within {most:,} km" if np.isfinite(most) else f"more than {least:,.0f} km"
            axes.scatter(
                places[chosen, 1], places[chosen, 0], s=9, color=colour, zorder=2, label=f"{words}: {int(chosen.sum()):,}"
            )
            least = most
        axes.set(xlim=(-180, 180), ylim=(-90, 90), xlabel="longitude (degrees)", ylabel="latitude (degrees)")
        axes.set_xticks(range(-180, 181, 60))
        axes.set_yticks(range(-90, 91, 30))
        axes.legend(
            frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="pictures placed", alignment="left"
        )
        return files(figure, name)


def roc_plot(same: Numbers, different: Numbers, name: str, caption: str) -> dict[str, bytes]:
    """`NAME.png` and `.svg`: accepted shares of equal pairs against those of different pairs, from distances."""
    with own_style():
        figure, axes = _figure("Pairs of one identity that are accepted", caption)
        thresholds = np.unique(np.concatenate([same, different]))
        true, false = (np.searchsorted(np.sort(pairs), thresholds, side="right") / len(pairs) for pairs in (same, different))
        axes.step(100 * np.maximum(false, _LEAST_RATE), 100 * true, where="post", color=_LINE, linewidth=1.5)
        axes.axvline(1.0, color=_QUIET, linewidth=0.8, linestyle="--")
        axes.text(1.1, 2, "1 %: the quality", color="#444444", fontsize=8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(xlim=(100 * _LEAST_RATE, 100), ylim=(0, 100.5))
        axes.set(
            xlabel="pairs of different identities that are accepted (%)", ylabel="pairs of one identity that are accepted (%)"
        )
        return files(figure, name)


def bar_plot(of: Mapping[str, float], name: str, caption: str) -> dict[str, bytes]:
    """`NAME.png` and `.svg`: the average precision in % of each class or attribute, the best on top."""
    with own_style():
        figure, axes = _figure("Average precision", caption)
        ordered = sorted(of.items(), key=lambda item: item[1])
        axes.barh([label for label, _ in ordered], [pct for _, pct in ordered], color=_LINE, height=0.7)
        for place, (_, pct) in enumerate(ordered):
            axes.text(pct + 0.8, place, f"{pct:.1f}", va="center", fontsize=8)
        axes.set(xlim=(0, 108), xlabel="average precision (%)")
        axes.grid(axis="y", visible=False)
        return files(figure, name)


def _figure(title: str, caption: str) -> tuple[Figure, Axes]:
    figure, foot = blank_figure(caption)
    axes = figure.add_axes((0.13, foot, 0.6, 0.92 - foot))
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    return figure, axes
