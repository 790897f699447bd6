"""Static int8 quantization: the numbers that go into the int8 graph of `graph/lowering.py`.

Affine: real = scale · (q − zero point). The range of a feature map always holds 0 (padding must be exact), and takes the 256
values of a signed byte; weights are symmetric, with a scale for each output channel, at most ±127, or ±63 for processors
whose 8-bit sums of two products saturate at 16 bits (x86 without VNNI: wrong numbers in every runtime); a bias
is a 32-bit whole number at the product of both scales. Source: Jacob et al. 2018 (arXiv 1712.05877), section 2;
ranges are the least and the greatest value seen in calibration.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.expand import Layer
from mnsweep.errors import MnsweepError
from mnsweep.graph.lowering import CLIPPING, UINT8, Range, map_names, map_type
from mnsweep.graph.weights import Weights, folded

LEAST, MOST, LEVELS = -128, 127, 255
BIAS_MOST = 2**30  # the other half of 32 bits is for the sum that the runtime adds to it
NOTHING = 1e-30  # a weight scale below is no scale: its product with a feature map's would be 0 in fp32


def assumed_ranges(layers: Sequence[Layer]) -> dict[str, Range]:
    """Ranges for timing alone, where nothing was calibrated: least and greatest value by feature map.

    Images go from −1 to 1, feature maps from 0 to 6 or from −6 to 6.
    """
    clipped: dict[str, bool] = {"image": False}
    for layer in layers:
        reads_clipped = all(clipped[name] for name in layer.inputs)
        clipped[layer.name] = layer.activation in CLIPPING or (layer.op not in ("conv", "linear") and reads_clipped)
    return {"image": (-1.0, 1.0)} | {name: (0.0 if clipped[name] else -6.0, 6.0) for name in map_names(layers)[1:]}


def quantized(
    layers: Sequence[Layer], weights: Weights, ranges: Mapping[str, Range], weight_bits: int = 8
) -> dict[str, NDArray[Any]]:
    """Every constant of the int8 graph, by name.

    Of a feature map: scale () fp32 and zero point () int8, or uint8 where several layers read one. Of a layer: weight
    (out, in / groups, high, wide) or (out, in) int8 of at most `weight_bits`, bias (out,) int32, and for both a scale (out,)
    fp32 and a zero point (out,) of their type. Raises `MnsweepError` when the range of a feature map is missing or not finite.
    """
    most = 2 ** (weight_bits - 1) - 1
    arrays: dict[str, NDArray[Any]] = {}
    is_unsigned = map_type(layers) == UINT8
    for name in map_names(layers):
        if name not in ranges or not np.isfinite(ranges[name]).all():
            raise MnsweepError(f"calibration: feature map {name} has no range, or one that is not finite")
        arrays[f"{name}.scale"], zero_point = map_scale(*ranges[name])
        arrays[f"{name}.zero_point"] = _unsigned(zero_point) if is_unsigned else zero_point
    for layer in layers:
        if layer.weight_shape:
            arrays |= _quantized_layer(layer, weights, float(arrays[f"{layer.inputs[0]}.scale"]), most)
    return arrays


def map_scale(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Scale and zero point, both (), with which a signed byte spans `low` to `high`, widened so that it holds 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / LEVELS) or np.float32(1)  # a feature map that is 0 everywhere takes any scale
    zero_point = np.clip(np.rint(LEAST - low / scale), LEAST, MOST)
    return np.asarray(scale), np.asarray(zero_point, np.int8)


def _unsigned(zero_point: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The same values as an unsigned byte."""
    return np.asarray(zero_point.astype(np.int16) - LEAST, np.uint8)


def _quantized_layer(layer: Layer, weights: Weights, input_scale: float, most: int) -> dict[str, NDArray[Any]]:
    weight, bias = (array.astype(np.float64) for array in folded(layer, weights))
    by_channel = weight.reshape(layer.out_channels, -1)
    scale = np.abs(by_channel).max(axis=1) / most
    scale = np.maximum(scale, np.abs(bias) / (input_scale * BIAS_MOST))  # a bias beside tiny weights must still fit
    scale = np.where(scale > NOTHING, scale, 1.0).astype(np.float32)  # a padded channel: all zeros at any scale
    bias_scale = (scale * np.float32(input_scale)).astype(np.float32)
    rounded = np.clip(np.rint(by_channel / scale[:, None]), -most, most).reshape(weight.shape)
    whole_bias = np.clip(np.rint(bias / bias_scale), -BIAS_MOST, BIAS_MOST)
    name = layer.name
    return {
        f"{name}.weight": rounded.astype(np.int8),
        f"{name}.weight.scale": scale,
        f"{name}.weight.zero_point": np.zeros(layer.out_channels, np.int8),
        f"{name}.bias": whole_bias.astype(np.int32),
        f"{name}.bias.scale": bias_scale,
        f"{name}.bias.zero_point": np.zeros(layer.out_channels, np.int32),
    }
