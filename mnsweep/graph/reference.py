"""A network computed with numpy alone: what a runtime's answers are held against before a file is handed over.

Floats are computed in float64. Integers are computed as TensorFlow Lite's reference kernels do, bit for bit: 32-bit sums, then
a fixed-point multiplication that rounds twice. Sums of products of bytes stay below 2⁵³, so float64 holds them exactly and
BLAS may add them up. Source: `tensorflow/lite/kernels/internal/common.h` (MultiplyByQuantizedMultiplier), `kernel_util.cc`
(GetQuantizedConvolutionMultipler, PopulateConvolutionQuantizationParams).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mnsweep.arch.layer import IMAGE, Layer
from mnsweep.errors import MnsweepError
from mnsweep.graph.integers import SHIFT, Integers
from mnsweep.graph.weights import Weights, folded

Array = NDArray[np.float64]
LEAST, MOST = 0, 255
HALF_BITS = 31


def has_reference(layers: Sequence[Layer]) -> bool:
    """Whether these layers can be computed here: a chain of convolutions, a pool and a linear layer that gives logits."""
    known = all(len(layer.inputs) == 1 and (layer.weight_shape or layer.op == "global_pool") for layer in layers)
    return known and layers[-1].op == "linear" and layers[-1].activation == "none"


def float_logits(layers: Sequence[Layer], weights: Weights, image: NDArray[np.float32]) -> Array:
    """The last layer's output (outputs,) for one image (3, R, R); of MobileNets for classification."""
    value = image.astype(np.float64)
    for layer in layers:
        if layer.op == "global_pool":
            value = value.mean(axis=(1, 2))
        elif layer.weight_shape:
            weight, bias = (array.astype(np.float64) for array in folded(layer, weights))
            value = _activated(layer, _sums(layer, value, weight) + _by_channel(bias, layer))
        else:
            raise MnsweepError(f"layer {layer.name}: {layer.op} has no reference")
    return np.asarray(value)


def integer_logits(layers: Sequence[Layer], integers: Integers, image: NDArray[np.float32]) -> Array:
    """The last layer's output (outputs,), dequantized, for one image (3, R, R); the layers are folded."""
    arrays = integers.arrays
    is_signed = arrays[f"{layers[0].name}.weight"].dtype == np.int8
    scale, zero_point = float(arrays[f"{IMAGE}.scale"]), int(arrays[f"{IMAGE}.zero_point"])
    value = np.clip(np.rint(image / np.float32(scale)) + zero_point, LEAST, MOST).astype(np.float64)
    for layer in layers:
        before = int(arrays[f"{layer.inputs[0]}.zero_point"])
        if layer.op == "global_pool":
            value = _rescaled(_mean(value, is_signed), layer, arrays)
        elif layer.weight_shape:
            name = f"{layer.name}.weight"
            weight = arrays[name].astype(np.float64) - _by_weight(arrays[f"{name}.zero_point"], layer)
            sums = _sums(layer, value - before, weight) + _by_channel(arrays[f"{layer.name}.bias"].astype(np.float64), layer)
            value = _requantized(sums, layer, arrays)
        else:
            raise MnsweepError(f"layer {layer.name}: {layer.op} has no reference")
    last = layers[-1].name
    return np.asarray((value - int(arrays[f"{last}.zero_point"])) * float(arrays[f"{last}.scale"]))


def _sums(layer: Layer, value: Array, weight: Array) -> Array:
    """The convolution (out, size, size), or the linear layer (out,), without bias."""
    if layer.op == "linear":
        return np.asarray(weight @ value.reshape(-1))
    top, left, bottom, right = layer.pads
    padded = np.pad(value, ((0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, layer.kernel, axis=(1, 2))[:, :: layer.stride, :: layer.stride]
    if layer.groups > 1 or layer.kind == "depthwise":
        return np.asarray(np.einsum("chwij,cij->chw", windows, weight[:, 0]))
    return np.asarray(np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))))


def _by_channel(array: Array, layer: Layer) -> Array:
    return array if layer.op == "linear" else array[:, None, None]


def _by_weight(zero_point: NDArray[Any], layer: Layer) -> Array:
    return zero_point.astype(np.float64).reshape((-1, *[1] * (len(layer.weight_shape) - 1)))


def _activated(layer: Layer, value: Array) -> Array:
    if layer.activation == "relu":
        return np.maximum(value, 0)
    return np.clip(value, 0, 6) if layer.activation == "relu6" else value


def _mean(value: Array, is_signed: bool) -> Array:
    """The mean of each channel in bytes, rounded half away from zero: of signed bytes where the file has those."""
    count = value.shape[1] * value.shape[2]
    sums = value.sum(axis=(1, 2)) - (SHIFT * count if is_signed else 0)
    rounded = np.trunc((sums + np.where(sums > 0, 1, -1 if is_signed else 1) * (count // 2)) / count)
    return np.asarray(np.clip(rounded + (SHIFT if is_signed else 0), LEAST, MOST))


def _rescaled(value: Array, layer: Layer, arrays: Mapping[str, NDArray[Any]]) -> Array:
    """Bytes of the layer's input as bytes of its output, which may have another scale."""
    before, after = ((arrays[f"{name}.scale"], arrays[f"{name}.zero_point"]) for name in (layer.inputs[0], layer.name))
    if before == after:
        return value
    rescaled = np.rint((value - int(before[1])) * (float(before[0]) / float(after[0]))) + int(after[1])
    return np.asarray(np.clip(rescaled, LEAST, MOST))


def _requantized(sums: Array, layer: Layer, arrays: Mapping[str, NDArray[Any]]) -> Array:
    """The sums as bytes of the layer's output."""
    before, of_weight = arrays[f"{layer.inputs[0]}.scale"], arrays[f"{layer.name}.weight.scale"]
    after, zero_point = float(arrays[f"{layer.name}.scale"]), int(arrays[f"{layer.name}.zero_point"])
    if of_weight.ndim:
        factors = float(before) * of_weight.astype(np.float64) / after
    else:  # the product of both scales is rounded to 32 bits
        factors = np.full(layer.out_channels, float(np.float32(before) * np.float32(of_weight)) / after)
    out = np.stack([_multiplied(row, factor) for row, factor in zip(sums, factors, strict=True)])
    return np.asarray(np.clip(out + zero_point, LEAST, MOST))


def _multiplied(values: Array, factor: float) -> Array:
    """Whole numbers times a factor below 1, as fixed-point hardware does it: a high product, then a shift, both rounded."""
    mantissa, exponent = math.frexp(factor)
    fixed = round(mantissa * 2**HALF_BITS)
    if fixed == 2**HALF_BITS:
        fixed, exponent = fixed // 2, exponent + 1
    left, right = max(exponent, 0), max(-exponent, 0)
    whole = np.atleast_1d(values).astype(np.int64) << left
    product = whole * fixed
    nudged = product + np.where(product >= 0, 1 << (HALF_BITS - 1), 1 - (1 << (HALF_BITS - 1)))
    high = np.where(nudged >= 0, nudged >> HALF_BITS, -((-nudged) >> HALF_BITS))  # division truncates towards zero
    mask = (1 << right) - 1
    remainder, threshold = high & mask, (mask >> 1) + (high < 0)
    return np.asarray(((high >> right) + (remainder > threshold)).astype(np.float64).reshape(np.shape(values)))
