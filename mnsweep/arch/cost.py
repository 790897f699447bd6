"""What a network costs on paper: params, mult-adds, file size, peak activation memory.

Conventions (they differ between tools, so they stand here):
mult-adds are multiply-accumulates per image of convolutions and the fully connected layer, padding
counted like any pixel; no batch norm, bias, activation or pooling. 1 mult-add = 2 FLOPs. Params are
weights, biases, and batch norm's scale and shift, not its running statistics. Peak activation memory
is the largest sum of maps alive at once when the rows run in order, for one image: maps at the size of
their precision, image and logits in fp32. What a detector does to boxes multiplies nothing by weights, and is not counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import add, mul
from typing import Any

from mnsweep.arch.channel_padding import Channels, pad_channels
from mnsweep.arch.layers import Layer, expand
from mnsweep.arch.onnx_bytes import onnx_bytes
from mnsweep.cell import DETECTION, MOBILENETS, Design

FP32_BYTES = 4
MAP_BYTES = {"fp32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts of one network, for one image."""

    params: int
    mult_adds: int
    onnx_bytes: int
    peak_activation_bytes: int


def layer_params(layer: Layer) -> int:
    """Weights, biases and batch-norm scale and shift of one row."""
    return layer.weights + layer.out_channels * (layer.bias + 2 * layer.batch_norm)


def stored_params(layers: Sequence[Layer]) -> int:
    """All numbers that a framework stores for the rows: `params`, and batch norm's running mean and variance.

    What Keras prints as "total params": for MLPerf Tiny's visual wake words network 221,794.
    """
    return sum(layer_params(layer) + 2 * layer.batch_norm * layer.out_channels for layer in layers)


def layer_mult_adds(layer: Layer) -> int:
    """Multiply-accumulates of one row for one image: weights × output pixels."""
    return layer.weights * layer.out_size**2 * layer.maps


def layer_activation_bytes(layer: Layer) -> int:
    """Size of the map that one row writes, fp32, for one image."""
    return FP32_BYTES * layer.out_channels * layer.out_size**2 * layer.maps


def peak_activation_bytes(layers: Sequence[Layer], precision: str = "fp32") -> int:
    """Largest sum of live maps: each lives from the row that writes it to the last that reads it."""
    last_use = {name: i for i, layer in enumerate(layers) for name in layer.inputs}
    first = layers[0]
    live = {"image": FP32_BYTES * first.in_channels * first.in_size**2}
    peak = 0
    for i, layer in enumerate(layers):
        item_bytes = MAP_BYTES[precision] if layer is not layers[-1] else FP32_BYTES
        live[layer.name] = layer_activation_bytes(layer) // FP32_BYTES * item_bytes
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last_use.get(name, -1) > i}
    return peak


def cost(layers: Sequence[Layer], precision: str = "fp32") -> Cost:
    """Counts of a whole network, from its rows; in bf16 the file stays fp32, and the runtime rounds."""
    return Cost(
        sum(map(layer_params, layers)),
        sum(map(layer_mult_adds, layers)),
        onnx_bytes(layers, precision == "int8"),
        peak_activation_bytes(layers, precision),
    )


def count(designs: Iterable[Design]) -> Iterator[Cost]:
    """`cost(expand(design))` of each design, a hundred times faster on a grid."""
    return map(deployed_cost, designs)


def deployed_cost(design: Design, channels: Channels | None = None, precision: str = "fp32") -> Cost:
    """`cost` of the rows of a design, deployed on padded channels, without writing them out again for every resolution.

    In a MobileNet channels depend on α alone and map sizes on the resolution alone, so each count is
    one product of the two. A property test holds this against the rows. Of other networks the rows are counted.
    """
    if design.variant not in MOBILENETS or design.task in DETECTION:
        return _of_rows(design, tuple(sorted((channels or {}).items())), precision)
    file_size = 224 if design.resolution >= 128 else 32  # ONNX writes an input size below 128 in one byte less
    width = replace(design, resolution=file_size, conv_padding="same")
    padding = tuple(sorted((channels or {}).items()))
    params, file_bytes, pixel_mult_adds, image, *maps, logits = _of_width(width, padding, precision == "int8")
    pixels, image_pixels, *map_pixels, logit_pixels = _of_resolution(design.resolution, design.conv_padding, design.variant)
    map_bytes = [MAP_BYTES[precision] * n for n in map(mul, maps, map_pixels)]
    in_out = [FP32_BYTES * image * image_pixels, *map_bytes, FP32_BYTES * logits * logit_pixels]
    peak_bytes = max(map(add, in_out, in_out[1:]))
    return Cost(params, sum(map(mul, pixel_mult_adds, pixels)), file_bytes, peak_bytes)


@lru_cache(maxsize=4096)
def _of_rows(design: Design, padding: tuple[tuple[int, int], ...], precision: str) -> Cost:
    return cost(pad_channels(expand(design), dict(padding)), precision)


@lru_cache(maxsize=4096)
def _of_width(design: Design, padding: tuple[tuple[int, int], ...], int8: bool) -> tuple[Any, ...]:
    """Params, file size, mult-adds for a pixel of each row; then channels of the image and of what each row writes."""
    layers = pad_channels(expand(design), dict(padding))
    channels = [layers[0].in_channels, *(layer.out_channels for layer in layers)]
    return sum(map(layer_params, layers)), onnx_bytes(layers, int8), [layer.weights for layer in layers], *channels


@lru_cache(maxsize=4096)
def _of_resolution(resolution: int, conv_padding: str, variant: str) -> tuple[Any, ...]:
    """Pixels of what each row writes as a list; then of the image and the same again, one by one."""
    pixels = [layer.out_size**2 for layer in expand(Design(1.0, resolution, variant, conv_padding=conv_padding))]
    return pixels, resolution**2, *pixels
