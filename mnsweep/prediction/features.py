"""What a cell does, in the terms that its latency is predicted from: mult-adds by kind, bytes, work off the fast path.

In a MobileNet channels depend on α alone and map sizes on the resolution alone, so every term is a product of the two
summed over rows: a hundred thousand cells take a second or two.
"""

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.channel_padding import Channels, pad_channels
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Cell, Design
from mnsweep.names import PRECISIONS

Array = NDArray[np.float64]
_OFF = {"fours": 4, "eights": 8, "sixteens": 16}  # multiples that blocked kernels want
MULT_ADDS, BYTES, RUNS = "ns per mult-add", "ns per byte", "ns"
UNITS = {  # of what a term is multiplied with
    "stem": MULT_ADDS,
    "depthwise": MULT_ADDS,
    "pointwise": MULT_ADDS,
    "head": MULT_ADDS,
    "maps": BYTES,
    "weights": BYTES,
    **{f"{kind} off {name}": MULT_ADDS for kind in ("depthwise", "pointwise") for name in _OFF},
    "constant": RUNS,
}
TERMS = tuple(UNITS)


def work(cells: Sequence[Cell], channels: Sequence[Channels]) -> Array:
    """(cells, terms): what each cell does in one run, on the channels that it is deployed with."""
    widths: dict[Hashable, int] = {}
    resolutions: dict[Hashable, int] = {}
    by_width, by_resolution = [], []
    at = np.empty((len(cells), 2), dtype=int)
    for i, (cell, padding) in enumerate(zip(cells, channels, strict=True)):
        design, how = cell.design, cell.deployment
        width = (*_width(design), id(padding), how.precision)  # of cells that share channels most share the mapping too
        if width not in widths:
            widths[width] = len(widths)
            by_width.append(_of_width(design, padding, PRECISIONS[how.precision].item_bytes))
        resolution = (design.resolution, design.conv_padding)
        if resolution not in resolutions:
            resolutions[resolution] = len(resolutions)
            by_resolution.append(_pixels(*resolution))
        at[i] = widths[width], resolutions[resolution]
    if not cells:
        return np.empty((0, len(TERMS)))
    pixels = np.stack(by_resolution, axis=1)
    for_an_image = np.stack([per_pixel @ pixels for per_pixel, _ in by_width])[at[:, 0], :, at[:, 1]]
    once = np.stack([once for _, once in by_width])[at[:, 0]]
    batch = np.array([cell.deployment.batch for cell in cells])
    done: Array = batch[:, None] * for_an_image + once
    return done


def _width(design: Design) -> tuple[Hashable, ...]:
    """All of a design that its channels depend on."""
    return design.alpha, design.variant, design.task, design.classes, design.width_rule


def _of_width(design: Design, padding: Channels, item_bytes: int) -> tuple[Array, Array]:
    """(terms, 2 × rows) for each pixel read and written by each row, and (terms,) for each run."""
    layers = pad_channels(expand(design), padding)
    by_pixel, once = np.zeros((len(TERMS), 2 * len(layers))), np.zeros(len(TERMS))
    for i, layer in enumerate(layers):
        read, written = i, len(layers) + i
        for name, amount in _pixel_mult_adds(layer).items():
            by_pixel[TERMS.index(name), written] = amount
        by_pixel[TERMS.index("maps"), [read, written]] = item_bytes * layer.in_channels, item_bytes * layer.out_channels
        once[TERMS.index("weights")] += item_bytes * np.prod(layer.weight_shape or (0,))
    once[TERMS.index("constant")] = 1.0
    return by_pixel, once


def _pixel_mult_adds(layer: Layer) -> dict[str, float]:
    if layer.kind == "pool":
        return {}
    amount = float(np.prod(layer.weight_shape))
    channels = (layer.in_channels, layer.out_channels)
    off = [name for name, k in _OFF.items() if any(c % k for c in channels)] if layer.kind in ("depthwise", "pointwise") else []
    return {layer.kind: amount} | {f"{layer.kind} off {name}": amount for name in off}


@lru_cache(maxsize=1024)
def _pixels(resolution: int, conv_padding: str) -> Array:
    layers = expand(Design.of(1.0, resolution, conv_padding=conv_padding))
    return np.array([layer.in_size**2 for layer in layers] + [layer.out_size**2 for layer in layers], dtype=float)
