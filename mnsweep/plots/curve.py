"""The curve of a training: loss and accuracy on the left, learning rate and speed on the right, by epoch."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mnsweep.plots.figure import blank_figure, files, own_style

_TRAINED, _VALIDATED, _OTHER = "#00224e", "#b3202c", "#5a6270"


class Epoch(Protocol):
    """What is drawn of an epoch (`mnsweep.training.loop.Epoch`)."""

    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def loss(self) -> float: ...  # noqa: D102
    @property
    def validation_loss(self) -> float: ...  # noqa: D102
    @property
    def validation_pct(self) -> float: ...  # noqa: D102
    @property
    def lr(self) -> float: ...  # noqa: D102
    @property
    def images_per_s(self) -> float: ...  # noqa: D102


def curve_plot(epochs: Sequence[Epoch], name: str, metric: str, caption: str) -> dict[str, bytes]:
    """`NAME.png` and `.svg`: losses, validation by a metric in %, learning rate, and pictures trained on per second."""
    numbers = [epoch.epoch for epoch in epochs]
    with own_style():
        figure, foot = blank_figure(caption)
        high = (0.9 - foot - 0.12) / 2
        places = [(x, y) for y in (foot + high + 0.12, foot) for x in (0.085, 0.575)]
        axes = [figure.add_axes((x, y, 0.39, high)) for x, y in places]
        figure.text(0.085, 0.955, f"Training of {name}", fontsize=11, fontweight="bold")
        loss, accuracy, rate, speed = axes
        _line(loss, numbers, [e.loss for e in epochs], _TRAINED, "training, with its augmentations")
        _line(loss, numbers, [e.validation_loss for e in epochs], _VALIDATED, "validation")
        loss.legend(frameon=False, fontsize=8)
        _line(accuracy, numbers, [e.validation_pct for e in epochs], _VALIDATED, "")
        _line(rate, numbers, [e.lr for e in epochs], _OTHER, "")
        _line(speed, numbers, [e.images_per_s for e in epochs], _OTHER, "")
        labels = ("loss", f"validation {metric} (%)", "learning rate", "pictures per second")
        for ax, label in zip(axes, labels, strict=True):
            ax.set_ylabel(label)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_ylim(bottom=0)
        return files(figure, name)


def _line(axes: Axes, x: Sequence[int], y: Sequence[float], colour: str, label: str) -> None:
    axes.plot(x, y, color=colour, marker="o", markersize=3, linewidth=1.2, label=label)
