"""A MobileNet factored: channels depend on everything but the resolution, sizes on the resolution alone.

Counts and latency features of a grid are then products of a term for each width and a term for each size, and a hundred
thousand designs take no longer than a few hundred.
"""

from functools import lru_cache
from typing import NamedTuple

from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.names import TASKS, VARIANTS

ANY_RESOLUTION = 224  # where channels are looked up


class Width(NamedTuple):
    """All of a design that its channels depend on."""

    alpha: float
    variant: str
    task: str
    classes: int
    width_rule: str
    activation: str  # changes no channel count, but the graph around them


class Sizes(NamedTuple):
    """Pixels of each layer's input and output feature map, in the order of the layers."""

    read: tuple[int, ...]
    written: tuple[int, ...]


def factors(design: Design) -> bool:
    """Whether channels and sizes of a design are independent: a MobileNet that detects nothing."""
    return not (VARIANTS[design.variant].compares or TASKS[design.task].detects)


def width_of(design: Design) -> Width:
    """What designs of the same channels share, whatever their resolution and padding at stride 2."""
    return Width(design.alpha, design.variant, design.task, design.classes, design.width_rule, design.activation)


@lru_cache(maxsize=4096)
def layers_of_width(width: Width, resolution: int = ANY_RESOLUTION) -> tuple[Layer, ...]:
    """The layers of a design that `factors`, at a resolution in pixels: their channels are right at any other one."""
    return expand(Design.of(resolution=resolution, **width._asdict()))


def sizes_of(design: Design) -> Sizes:
    """Pixels of the layers of a design that `factors`."""
    return _sizes(design.variant, design.resolution, design.conv_padding)


@lru_cache(maxsize=4096)
def _sizes(variant: str, resolution: int, conv_padding: str) -> Sizes:
    layers = expand(Design.of(1.0, resolution, variant=variant, conv_padding=conv_padding))
    return Sizes(tuple(layer.in_size**2 for layer in layers), tuple(layer.out_size**2 for layer in layers))
