"""Weights of a network from any source, as named arrays for its layers.

A convolution `name` has `name.weight` (out, in / groups, height, width), a linear layer (out, in). A layer with batch norm
also has `name.scale`, `name.shift`, `name.mean` and `name.variance`, a layer with a bias `name.bias`, each (out,).
All arrays are fp32, channels first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnsweep.arch.expand import Layer
from mnsweep.errors import MnsweepError

Array = NDArray[np.float32]
TF_EPSILON = 1e-3  # batch norm's epsilon in TF-slim and Keras; timm uses 1e-5


@dataclass(frozen=True, slots=True)
class Weights:
    """Named arrays, and the batch-norm epsilon that the network was trained with.

    With `is_folded`, batch norm is folded into weights and biases already: they are for layers without it (`folded_layers`).
    """

    arrays: Mapping[str, Array]
    epsilon: float = TF_EPSILON
    is_folded: bool = False


def folded_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same layers with a bias in place of batch norm: the same network, once batch norm is folded."""
    return tuple(replace(layer, batch_norm=False, bias=True) if layer.weight_shape else layer for layer in layers)


def shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that a layer needs."""
    if not layer.weight_shape:
        return {}
    needed = {f"{layer.name}.weight": layer.weight_shape}
    parts = ["scale", "shift", "mean", "variance"] * layer.batch_norm + ["bias"] * layer.bias
    return needed | {f"{layer.name}.{part}": (layer.out_channels,) for part in parts}


def random_weights(layers: Sequence[Layer], seed: int = 0) -> Weights:
    """Seeded random weights with He scaling: suitable for timing, useless for accuracy.

    He scaling keeps the activations of all layers in the same range. Without it they shrink to denormals, which
    make the same graph run 5 to 30 times slower.
    """
    rng = np.random.default_rng(seed)
    return Weights({name: array for layer in layers for name, array in _draw(layer, rng)})


def _draw(layer: Layer, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    for name, shape in shapes(layer).items():
        part = name.rpartition(".")[2]
        if part == "weight":
            fan_in = int(np.prod(shape[1:]))
            yield name, rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
        elif part in ("scale", "variance"):
            yield name, rng.uniform(0.8, 1.25, shape).astype(np.float32)
        else:  # bias, shift and mean: small compared with activations of order 1
            yield name, rng.normal(0.0, 0.1, shape).astype(np.float32)


def check(layers: Sequence[Layer], weights: Weights) -> None:
    """Raise `MnsweepError` when an array that the layers need is missing or has the wrong shape."""
    for name, shape in (item for layer in layers for item in shapes(layer).items()):
        if name not in weights.arrays:
            raise MnsweepError(f"weights: {name} is missing", f"add an array of shape {shape}")
        if (got := weights.arrays[name].shape) != shape:
            raise MnsweepError(f"weights: {name} has shape {got}, the network needs {shape}")


def padded(weights: Weights, deployed: Sequence[Layer]) -> Weights:
    """The same weights for layers with padded channels (`arch/channel_padding.py`), with zeros in the added channels.

    A channel with zero weights, scale 0 and shift 0 is still 0 after batch norm and activation.
    """
    arrays = {}
    for name, shape in (item for layer in deployed for item in shapes(layer).items()):
        logical = weights.arrays[name]
        arrays[name] = np.zeros(shape, logical.dtype)
        arrays[name][tuple(map(slice, logical.shape))] = logical
    return replace(weights, arrays=arrays)


def folded(layer: Layer, weights: Weights) -> tuple[Array, Array]:
    """Weight (`layer.weight_shape`) and bias (out,) of one layer with batch norm folded in, both fp32.

    Computed in float64 with the epsilon of `weights`: γ (w·x − μ) / √(σ² + ε) + β = w'·x + b'.
    """
    arrays = weights.arrays
    weight = arrays[f"{layer.name}.weight"]
    bias = arrays[f"{layer.name}.bias"] if layer.bias else np.zeros(layer.out_channels, np.float32)
    if not layer.batch_norm:
        return weight, bias
    scale, shift, mean, variance = (
        arrays[f"{layer.name}.{part}"].astype(np.float64) for part in ("scale", "shift", "mean", "variance")
    )
    factor = scale / np.sqrt(variance + weights.epsilon)
    kernel = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return kernel.astype(np.float32), (shift + (bias - mean) * factor).astype(np.float32)


def folded_arrays(layers: Sequence[Layer], weights: Weights) -> dict[str, Array]:
    """The weight and bias of every layer that has some, by name, with batch norm folded in."""
    arrays: dict[str, Array] = {}
    for layer in layers:
        if layer.weight_shape:
            arrays[f"{layer.name}.weight"], arrays[f"{layer.name}.bias"] = folded(layer, weights)
    return arrays
