"""The cost of a deployed design without running it: counts from its layers, and the exact size of its file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import add, itemgetter, mul
from typing import NamedTuple

from mnsweep.arch.channel_padding import Channels, pad_channels
from mnsweep.arch.cost import FP32_BYTES, layer_mult_adds, layer_params, peak_activation_bytes
from mnsweep.arch.expand import expand
from mnsweep.arch.factors import Width, factors, layers_of_width, sizes_of, width_of
from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.graph.file_size import onnx_bytes
from mnsweep.names import PRECISIONS

LONG_SIZE = 128  # pixels: ONNX writes a smaller input size with one byte less


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts of one network, for one image; see `arch/cost.py` for the conventions."""

    params: int
    mult_adds: int
    onnx_bytes: int
    peak_activation_bytes: int


def cost(layers: Sequence[Layer], precision: str = "fp32") -> Cost:
    """Counts of a whole network, from its layers."""
    return Cost(
        params=sum(map(layer_params, layers)),
        mult_adds=sum(map(layer_mult_adds, layers)),
        onnx_bytes=_file_bytes(layers, PRECISIONS[precision].file),
        peak_activation_bytes=peak_activation_bytes(layers, precision),
    )


def count(designs: Iterable[Design]) -> Iterator[Cost]:
    """`cost(expand(design))` for each design, a hundred times faster on a grid."""
    return map(deployed_cost, designs)


def deployed_cost(design: Design, channels: Channels | None = None, precision: str = "fp32") -> Cost:
    """`cost` of a design deployed with padded `channels`, without expanding its layers again for every resolution.

    In a MobileNet, each count is a product of channels and pixels (`arch/factors.py`); a property test compares it with the
    counts of the layers. For other networks the layers are counted.
    """
    padding = tuple(sorted(channels.items())) if channels else ()
    if not factors(design):
        return _of_layers(design, padding, precision)
    resolution = LONG_SIZE if design.resolution >= LONG_SIZE else LONG_SIZE // 2
    fixed = _of_width(width_of(design), resolution, padding, PRECISIONS[precision].file)
    pixels = fixed.pixels_of(sizes_of(design).written)
    item_bytes, fp32_bytes = PRECISIONS[precision].item_bytes, FP32_BYTES
    first, last = list(map(mul, fixed.first, pixels)), list(map(mul, fixed.last, pixels))
    image, logits = fixed.image_channels * design.resolution**2, first.pop()
    peak_bytes = max(
        fp32_bytes * image + item_bytes * first[0],
        item_bytes * max(map(mul, fixed.pairs, pixels)),
        item_bytes * max(map(add, last, first[1:])),
        item_bytes * last[-2] + fp32_bytes * logits,
    )
    mult_adds = sum(map(mul, fixed.weights, pixels))
    return Cost(params=fixed.params, mult_adds=mult_adds, onnx_bytes=fixed.onnx_bytes, peak_activation_bytes=peak_bytes)


def _file_bytes(layers: Sequence[Layer], file: str) -> int:
    """Bytes of the ONNX file, at the precision of the file."""
    return onnx_bytes(layers, PRECISIONS[file].quantized)


class _Fixed(NamedTuple):
    """Counts that do not depend on the resolution.

    A stage is a run of layers whose feature maps have one size; the logits are the last stage. By stage, `weights` are summed,
    `first` and `last` are the output channels of its first and last layer, and `pairs` the most channels of two successive
    feature maps. `pixels_of` takes the pixels of each stage from those of each layer.
    """

    params: int
    onnx_bytes: int
    image_channels: int
    weights: list[int]
    first: list[int]
    last: list[int]
    pairs: list[int]
    pixels_of: Callable[[tuple[int, ...]], tuple[int, ...]]


@lru_cache(maxsize=4096)
def _of_layers(design: Design, padding: tuple[tuple[int, int], ...], precision: str) -> Cost:
    return cost(pad_channels(expand(design), dict(padding)), precision)


@lru_cache(maxsize=4096)
def _of_width(width: Width, resolution: int, padding: tuple[tuple[int, int], ...], file: str) -> _Fixed:
    layers = pad_channels(layers_of_width(width, resolution), dict(padding))
    starts = [i for i, layer in enumerate(layers) if layer.in_size != layer.out_size]
    starts = sorted({0, *starts, len(layers) - 1})
    stages = [layers[start:end] for start, end in zip(starts, [*starts[1:], len(layers)], strict=True)]
    return _Fixed(
        params=sum(map(layer_params, layers)),
        onnx_bytes=_file_bytes(layers, file),
        image_channels=layers[0].in_channels,
        weights=[sum(layer.weights for layer in stage) for stage in stages],
        first=[stage[0].out_channels for stage in stages],
        last=[stage[-1].out_channels for stage in stages],
        pairs=[max((a.out_channels + b.out_channels for a, b in pairwise(stage)), default=0) for stage in stages],
        pixels_of=itemgetter(*starts),
    )
