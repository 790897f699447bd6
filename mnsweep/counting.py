"""The cost of a deployed design without running it: counts from its layers, and the exact size of its file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, mul
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
    padding = tuple(sorted((channels or {}).items()))
    if not factors(design):
        return _of_layers(design, padding, precision)
    resolution = LONG_SIZE if design.resolution >= LONG_SIZE else LONG_SIZE // 2
    fixed = _of_width(width_of(design), resolution, padding, PRECISIONS[precision].file)
    pixels = sizes_of(design).written
    item_bytes = PRECISIONS[precision].item_bytes
    *inner, logits = map(mul, fixed.channels, pixels)
    image = fixed.image_channels * design.resolution**2
    maps_bytes = [FP32_BYTES * image, *[item_bytes * n for n in inner], FP32_BYTES * logits]
    return Cost(
        params=fixed.params,
        mult_adds=sum(map(mul, fixed.weights, pixels)),
        onnx_bytes=fixed.onnx_bytes,
        peak_activation_bytes=max(map(add, maps_bytes, maps_bytes[1:])),
    )


def _file_bytes(layers: Sequence[Layer], file: str) -> int:
    """Bytes of the ONNX file, at the precision of the file."""
    return onnx_bytes(layers, PRECISIONS[file].quantized)


class _Fixed(NamedTuple):
    """Counts that do not depend on the resolution; `weights` and output `channels` are per layer."""

    params: int
    onnx_bytes: int
    image_channels: int
    weights: tuple[int, ...]
    channels: tuple[int, ...]


@lru_cache(maxsize=4096)
def _of_layers(design: Design, padding: tuple[tuple[int, int], ...], precision: str) -> Cost:
    return cost(pad_channels(expand(design), dict(padding)), precision)


@lru_cache(maxsize=4096)
def _of_width(width: Width, resolution: int, padding: tuple[tuple[int, int], ...], file: str) -> _Fixed:
    layers = pad_channels(layers_of_width(width, resolution), dict(padding))
    return _Fixed(
        params=sum(map(layer_params, layers)),
        onnx_bytes=_file_bytes(layers, file),
        image_channels=layers[0].in_channels,
        weights=tuple(layer.weights for layer in layers),
        channels=tuple(layer.out_channels for layer in layers),
    )
