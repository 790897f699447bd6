"""Factors of a MobileNet: channels do not depend on the resolution, and feature-map sizes do not depend on α.

Counts and latency features of a grid are then products of a term per width and a term per size, so a hundred thousand
designs take no longer than a few hundred.
"""

from functools import lru_cache
from typing import NamedTuple

from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.names import TASKS, VARIANTS

ANY_RESOLUTION = 224  # pixels: channels are computed at this resolution


class Width(NamedTuple):
    """The settings of a design that determine its channels."""

    alpha: float
    variant: str
    task: str
    classes: int
    width_rule: str
    activation: str  # changes the graph, not the channel counts
    conv_padding: str  # Keras's networks have no minimum width


class Sizes(NamedTuple):
    """Pixels (height × width) of each layer's input and output feature map, in the order of the layers."""

    read: tuple[int, ...]
    written: tuple[int, ...]


def factors(design: Design) -> bool:
    """Whether channels and sizes of a design are independent: true for every MobileNet that is not a detector."""
    return not (VARIANTS[design.variant].compares or TASKS[design.task].detects)


def width_of(design: Design) -> Width:
    """The settings that determine the channels of a design: all but the resolution."""
    return Width(*(getattr(design, name) for name in Width._fields))


@lru_cache(maxsize=4096)
def layers_of_width(width: Width, resolution: int = ANY_RESOLUTION) -> tuple[Layer, ...]:
    """The layers of a design that `factors`, at a resolution in pixels; the channels are the same at every resolution."""
    return expand(Design.of(resolution=resolution, **width._asdict()))


def sizes_of(design: Design) -> Sizes:
    """Pixels of the feature maps of a design that `factors`."""
    return _sizes(design.variant, design.resolution, design.conv_padding)


@lru_cache(maxsize=4096)
def _sizes(variant: str, resolution: int, conv_padding: str) -> Sizes:
    layers = expand(Design.of(1.0, resolution, variant=variant, conv_padding=conv_padding))
    return Sizes(tuple(layer.in_size**2 for layer in layers), tuple(layer.out_size**2 for layer in layers))
