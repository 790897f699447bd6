"""The cost of a network from its layers alone: params, mult-adds, peak activation memory.

Conventions, since they differ between tools:

- Mult-adds are multiply-accumulates of convolutions and fully connected layers, per image. Padding counts like any pixel;
  batch norm, bias, activation and pooling do not count. 1 mult-add = 2 FLOPs. The box operations of a detector have no
  weights and do not count.
- Params are weights, biases, and batch norm's scale and shift, not its running statistics.
- Peak activation memory is the largest sum of feature maps that are alive at once when the layers run in order, for one
  image. Feature maps have the item size of the precision; image and logits are fp32.
"""

from collections.abc import Sequence

from mnsweep.arch.layer import Layer
from mnsweep.names import PRECISIONS

FP32_BYTES = PRECISIONS["fp32"].item_bytes


def layer_params(layer: Layer) -> int:
    """Weights, biases and batch-norm scale and shift of one layer."""
    return layer.weights + layer.out_channels * (layer.bias + 2 * layer.batch_norm)


def stored_params(layers: Sequence[Layer]) -> int:
    """All numbers that a framework stores for the layers: params, and batch norm's running mean and variance.

    Keras prints this as "total params", e.g. 221,794 for MLPerf Tiny's visual wake words network.
    """
    return sum(layer_params(layer) + 2 * layer.batch_norm * layer.out_channels for layer in layers)


def layer_mult_adds(layer: Layer) -> int:
    """Multiply-accumulates of one layer for one image: weights × output pixels."""
    return layer.weights * layer.out_size**2 * layer.repeats


def layer_activation_bytes(layer: Layer) -> int:
    """Bytes of the output feature map of one layer, in fp32, for one image."""
    return FP32_BYTES * layer.values


def peak_activation_bytes(layers: Sequence[Layer], precision: str = "fp32") -> int:
    """Largest sum of live feature maps, in bytes, for one image.

    A feature map is live from the layer that writes it to the last layer that reads it.
    """
    last_use = {name: i for i, layer in enumerate(layers) for name in layer.inputs}
    first = layers[0]
    live = {"image": FP32_BYTES * first.in_channels * first.in_size**2}
    peak = 0
    for i, layer in enumerate(layers):
        item_bytes = PRECISIONS[precision].item_bytes if layer is not layers[-1] else FP32_BYTES
        live[layer.name] = layer.values * item_bytes
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last_use.get(name, -1) > i}
    return peak
