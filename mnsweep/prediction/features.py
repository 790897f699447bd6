"""Features of a cell for the latency model: mult-adds by kind of layer, bytes moved, and work off the fast path.

In a MobileNet, channels and feature map sizes are independent (`mnsweep.arch.factors`). Every term is therefore a sum over
layers of channels times pixels, and a hundred thousand cells take a second or two.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.channel_padding import Channels, pad_channels
from mnsweep.arch.factors import Sizes, layers_of_width, sizes_of, width_of
from mnsweep.arch.layer import Layer
from mnsweep.cell import Cell
from mnsweep.names import PRECISIONS
from mnsweep.prediction.terms import BLOCKS, TERMS

Array = NDArray[np.float64]
_INDEX = {name: i for i, name in enumerate(TERMS)}


class _Amounts(NamedTuple):
    """Work of one width: (terms, 2, layers) per pixel of each layer's input and output, and (terms,) per run."""

    for_a_pixel: Array
    once: Array


def work(cells: Sequence[Cell], channels: Sequence[Channels]) -> Array:
    """Work of each cell in one run of its batch: (cells, terms), in mult-adds, bytes and runs, in the order of `TERMS`.

    `channels` is the resolved padding of each cell. Every cell must be covered by the latency model (`is_modelled` of
    `mnsweep.prediction.deployments`): a MobileNet of depthwise separable convolutions, not a detector.
    """
    amounts: dict[Hashable, _Amounts] = {}
    sizes: dict[Hashable, Sizes] = {}
    keys: list[tuple[Hashable, Hashable]] = []
    for cell, padding in zip(cells, channels, strict=True):
        width, precision, pixels = width_of(cell.design), cell.deployment.precision, sizes_of(cell.design)
        key = (width, id(padding), precision)  # cells with equal channels mostly share one mapping object
        if key not in amounts:
            layers = pad_channels(layers_of_width(width), padding)
            amounts[key] = _amounts(layers, PRECISIONS[precision].item_bytes)
        sizes[id(pixels)] = pixels  # designs of one resolution mostly share one tuple: comparing ids is fast
        keys.append((key, id(pixels)))
    if not cells:
        return np.empty((0, len(TERMS)))
    batch = np.array([cell.deployment.batch for cell in cells])
    for_an_image, once = _gathered(amounts, sizes, keys)
    total: Array = batch[:, None] * for_an_image + once
    return total


def _gathered(
    amounts: Mapping[Hashable, _Amounts], sizes: Mapping[Hashable, Sizes], keys: Sequence[tuple[Hashable, Hashable]]
) -> tuple[Array, Array]:
    """Work of each cell per image and per run, each (cells, terms); `keys` select from `amounts` and `sizes`."""
    layers = max(len(pixels.read) for pixels in sizes.values())
    pixels = np.stack([_filled(np.array(each, dtype=float), layers) for each in sizes.values()], axis=1)
    by_width = np.stack([_filled(width.for_a_pixel, layers) @ pixels for width in amounts.values()])
    width_number, size_number = ({key: i for i, key in enumerate(known)} for known in (amounts, sizes))
    widths, columns = [width_number[width] for width, _ in keys], [size_number[size] for _, size in keys]
    return by_width[widths, :, columns], np.stack([width.once for width in amounts.values()])[widths]


def _filled(array: Array, layers: int) -> Array:
    """Pad (…, 2, n) with zeros to (…, 2, layers), and flatten it to (…, 2 · layers)."""
    missing = layers - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]).reshape(*array.shape[:-2], -1)


def _amounts(layers: Sequence[Layer], item_bytes: int) -> _Amounts:
    for_a_pixel, once = np.zeros((len(TERMS), 2, len(layers))), np.zeros(len(TERMS))
    for i, layer in enumerate(layers):
        for name, mult_adds in _mult_adds(layer).items():
            for_a_pixel[_INDEX[name], 1, i] = mult_adds
        for_a_pixel[_INDEX["maps"], :, i] = item_bytes * layer.in_channels, item_bytes * layer.out_channels
        once[_INDEX["weights"]] += item_bytes * layer.weights
    once[_INDEX["constant"]] = 1.0
    return _Amounts(for_a_pixel, once)


def _mult_adds(layer: Layer) -> dict[str, float]:
    """Mult-adds per output pixel of a layer, by term."""
    if layer.kind == "pool":
        return {}
    channels = (layer.in_channels, layer.out_channels)
    blocked = layer.kind in ("depthwise", "pointwise")
    off = [name for name, multiple in BLOCKS.items() if blocked and any(count % multiple for count in channels)]
    return dict.fromkeys([layer.kind, *(f"{layer.kind} off {name}" for name in off)], float(layer.weights))
