"""What a design costs on paper as it is deployed: counts from its layers, and the exact size of its file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import add, mul
from typing import Any

from mnsweep.arch.channel_padding import Channels, pad_channels
from mnsweep.arch.cost import FP32_BYTES, layer_mult_adds, layer_params, peak_activation_bytes
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.graph.file_size import onnx_bytes
from mnsweep.names import PRECISIONS, TASKS, VARIANTS


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts of one network, for one image."""

    params: int
    mult_adds: int
    onnx_bytes: int
    peak_activation_bytes: int


def cost(layers: Sequence[Layer], precision: str = "fp32") -> Cost:
    """Counts of a whole network, from its rows; in bf16 the file stays fp32, and the runtime rounds."""
    return Cost(
        sum(map(layer_params, layers)),
        sum(map(layer_mult_adds, layers)),
        onnx_bytes(layers, PRECISIONS[precision].quantized),
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
    if VARIANTS[design.variant].compares or TASKS[design.task].detects:
        return _of_rows(design, tuple(sorted((channels or {}).items())), precision)
    file_size = 224 if design.resolution >= 128 else 32  # ONNX writes an input size below 128 in one byte less
    width = replace(design, resolution=file_size, conv_padding="same")
    padding = tuple(sorted((channels or {}).items()))
    params, file_bytes, pixel_mult_adds, image, *maps, logits = _of_width(width, padding, PRECISIONS[precision].quantized)
    pixels, image_pixels, *map_pixels, logit_pixels = _of_resolution(design.resolution, design.conv_padding, design.variant)
    map_bytes = [PRECISIONS[precision].item_bytes * n for n in map(mul, maps, map_pixels)]
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
    pixels = [layer.out_size**2 for layer in expand(Design.of(1.0, resolution, variant=variant, conv_padding=conv_padding))]
    return pixels, resolution**2, *pixels
