"""A network that was trained with quantization: its own integers, scales and zero points, never calibrated.

Such a network is another one than the float network that its integers stand for: what has the published accuracy is the integer
arithmetic with these scales. `form_of` says how an int8 graph stores them; the values that they stand for stay the same.
Source: Jacob et al. 2018 (arXiv 1712.05877), sections 2 and 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.layer import IMAGE, Layer
from mnsweep.errors import MnsweepError
from mnsweep.graph.nodes import INT8, UINT8, Form
from mnsweep.graph.weights import Weights

SHIFT = 128  # between a signed byte and the unsigned one that stands for the same value
SIGNED_BITS = 8  # of weights that this processor's signed kernels multiply without saturating


@dataclass(frozen=True, slots=True)
class Integers:
    """Arrays by name, for the layers of a network whose batch norm is folded.

    Every feature map (the image, and each layer's output) has a `NAME.scale` () fp32 and a `NAME.zero_point` () uint8. A layer
    with weights has a `NAME.weight` (out, in / groups, height, width) or (out, in), uint8 or int8, with a scale and a zero
    point of that type, both () or (out,), and a `NAME.bias` (out,) int32 whose scale is input scale × weight scale.
    """

    arrays: Mapping[str, NDArray[Any]]

    @property
    def is_per_channel(self) -> bool:
        """Whether the weights of a layer have a scale for each output channel."""
        return any(name.endswith(".weight.scale") and array.ndim for name, array in self.arrays.items())


def integer_shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all arrays; those of weight scales and zero points may be () or (out,)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in (IMAGE, *(layer.name for layer in layers)):
        shapes |= {f"{name}.scale": (), f"{name}.zero_point": ()}
    for layer in layers:
        if layer.weight_shape:
            channels = (layer.out_channels,)
            parts = {"weight": layer.weight_shape, "weight.scale": channels, "weight.zero_point": channels, "bias": channels}
            shapes |= {f"{layer.name}.{part}": shape for part, shape in parts.items()}
    return shapes


def check_integers(layers: Sequence[Layer], integers: Integers) -> None:
    """Raise `MnsweepError` when an array that the layers need is missing or has the wrong shape."""
    for name, shape in integer_shapes(layers).items():
        if name not in integers.arrays:
            raise MnsweepError(f"weights: {name} is missing", f"add an array of shape {shape}")
        got = integers.arrays[name].shape
        if got != shape and not (got == () and ".weight." in name):
            raise MnsweepError(f"weights: {name} has shape {got}, the network needs {shape}")


def form_of(integers: Integers, weight_bits: int) -> Form:
    """The form whose arithmetic is exact and fastest on a processor whose signed kernels allow `weight_bits` bits.

    Where they allow 8, signed weights are as exact as unsigned ones and faster. Elsewhere sums of two products saturate at 16
    bits with signed weights of 8 bits, and unsigned kernels, which widen first, are the exact ones.
    """
    weights = INT8 if weight_bits >= SIGNED_BITS else UINT8
    return Form(maps=UINT8, weights=weights, per_channel=integers.is_per_channel, ends_in_8_bits=True)


def in_form(layers: Sequence[Layer], integers: Integers, form: Form) -> dict[str, NDArray[Any]]:
    """The constants of the int8 graph of `layers` in this form: the same values, stored as signed or unsigned bytes."""
    arrays = {}
    for name, array in integers.arrays.items():
        kind = form.weights if name.endswith((".weight", ".weight.zero_point")) else form.maps
        arrays[name] = _as_type(array, kind) if name.endswith((".weight", ".zero_point")) else array
    for layer in layers:
        if layer.weight_shape:
            scale = arrays[f"{layer.inputs[0]}.scale"] * arrays[f"{layer.name}.weight.scale"]
            arrays[f"{layer.name}.bias.scale"] = scale.astype(np.float32)
            arrays[f"{layer.name}.bias.zero_point"] = np.zeros(scale.shape, np.int32)
    return arrays


def _as_type(array: NDArray[Any], kind: str) -> NDArray[Any]:
    if array.dtype == kind:
        return array
    return np.asarray(array.astype(np.int16) + (SHIFT if kind == UINT8 else -SHIFT), kind)


def padded_integers(integers: Integers, deployed: Sequence[Layer]) -> Integers:
    """The same network for layers with padded channels: the added weights stand for 0, the added biases are 0."""
    arrays = dict(integers.arrays)
    for layer in deployed:
        if not layer.weight_shape:
            continue
        weight, channels = f"{layer.name}.weight", layer.out_channels
        zero_point, logical = arrays[f"{weight}.zero_point"], arrays[weight]
        zero = zero_point.reshape(-1)[0]  # runtimes want one zero point for all channels
        arrays[weight] = np.full(layer.weight_shape, zero, logical.dtype)
        arrays[weight][tuple(map(slice, logical.shape))] = logical
        for part, filler in (("weight.scale", 1), ("weight.zero_point", zero), ("bias", 0)):
            array = arrays[f"{layer.name}.{part}"]
            if array.ndim:
                arrays[f"{layer.name}.{part}"] = np.concatenate([array, np.full(channels - len(array), filler, array.dtype)])
    return Integers(arrays)


def dequantized(layers: Sequence[Layer], integers: Integers) -> Weights:
    """The float weights and biases that the integers stand for: another network, with other answers."""
    arrays = {}
    for layer in layers:
        if not layer.weight_shape:
            continue
        name, axes = layer.name, (-1, *[1] * (len(layer.weight_shape) - 1))
        scale, zero_point = (integers.arrays[f"{name}.weight.{part}"] for part in ("scale", "zero_point"))
        weight = integers.arrays[f"{name}.weight"].astype(np.float64) - zero_point.astype(np.float64).reshape(axes)
        arrays[f"{name}.weight"] = (weight * scale.astype(np.float64).reshape(axes)).astype(np.float32)
        bias_scale = integers.arrays[f"{layer.inputs[0]}.scale"].astype(np.float64) * scale
        arrays[f"{name}.bias"] = (integers.arrays[f"{name}.bias"] * bias_scale).astype(np.float32)
    return Weights(arrays, is_folded=True)
