"""Static int8 quantization: the constants of the int8 graph of `graph/lowering.py`.

Quantization is affine: real = scale · (q − zero point).

- Feature maps: ranges are the minimum and maximum seen in calibration, widened to contain 0 (zero padding must be exact),
  and use all 256 values of a byte.
- Weights: symmetric, with one scale per output channel, at most ±127. The limit is ±63 on processors that saturate sums of
  two 8-bit products at 16 bits (x86 without VNNI), where larger weights give wrong results in every runtime.
- Biases: 32-bit integers; the scale is input scale × weight scale.

Source: Jacob et al. 2018 (arXiv 1712.05877), section 2.
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
BIAS_MOST = 2**30  # leaves half of the 32-bit range to the sum that the runtime adds
NOTHING = 1e-30  # a smaller weight scale, times the scale of a feature map, would underflow to 0 in fp32


def assumed_ranges(layers: Sequence[Layer]) -> dict[str, Range]:
    """(minimum, maximum) by feature map for timing without calibration.

    Images range from −1 to 1, clipped feature maps from 0 to 6, others from −6 to 6.
    """
    clipped: dict[str, bool] = {"image": False}
    for layer in layers:
        reads_clipped = all(clipped[name] for name in layer.inputs)
        clipped[layer.name] = layer.activation in CLIPPING or (layer.op not in ("conv", "linear") and reads_clipped)
    return {"image": (-1.0, 1.0)} | {name: (0.0 if clipped[name] else -6.0, 6.0) for name in map_names(layers)[1:]}


def quantized(
    layers: Sequence[Layer], weights: Weights, ranges: Mapping[str, Range], weight_bits: int = 8
) -> dict[str, NDArray[Any]]:
    """All weights, biases, scales and zero points of the int8 graph, by name.

    Each feature map has a scale () fp32 and a zero point () of `map_type` (int8 or uint8). Each layer has a weight
    (out, in / groups, height, width) or (out, in) int8 with at most `weight_bits` bits, and a bias (out,) int32; both have a
    scale (out,) fp32 and a zero point (out,) of their type.
    Raises `MnsweepError` when the range of a feature map is missing or not finite.
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
    """Scale and zero point, both (), that map `low` to `high` onto a signed byte; the range is widened to contain 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / LEVELS) or np.float32(1)  # any scale suits a feature map that is all zeros
    zero_point = np.clip(np.rint(LEAST - low / scale), LEAST, MOST)
    return np.asarray(scale), np.asarray(zero_point, np.int8)


def _unsigned(zero_point: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Convert a zero point from int8 to uint8."""
    return np.asarray(zero_point.astype(np.int16) - LEAST, np.uint8)


def _quantized_layer(layer: Layer, weights: Weights, input_scale: float, most: int) -> dict[str, NDArray[Any]]:
    weight, bias = (array.astype(np.float64) for array in folded(layer, weights))
    by_channel = weight.reshape(layer.out_channels, -1)
    scale = np.abs(by_channel).max(axis=1) / most
    scale = np.maximum(scale, np.abs(bias) / (input_scale * BIAS_MOST))  # a bias must fit even when the weights are tiny
    scale = np.where(scale > NOTHING, scale, 1.0).astype(np.float32)  # padded channels are all zeros: any scale
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
