"""One layer of a network: an operation on square feature maps that refers to its inputs by name."""

from dataclasses import KW_ONLY, dataclass
from math import prod
from typing import Any

LRN_ALPHA, LRN_BETA, LRN_BIAS = 1e-4, 0.75, 1.0  # Caffe's AlexNet and GoogLeNet; the window is `kernel` channels
IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Layer:
    """An operation on square feature maps; sizes are in pixels.

    `inputs` are names of earlier layers (`image` is the network's input). `kernel` is (height, width), `pads` are (top,
    left, bottom, right) in ONNX order. `batch_norm` and `bias` describe the logical layer: batch norm is folded into a bias
    when deployed. `repeats` is the number of times the layer runs for one image: once, or once per proposal.
    """

    name: str
    op: str  # conv, linear, max_pool, avg_pool, global_pool, concat, lrn, and those of detection.py
    inputs: tuple[str, ...]
    _: KW_ONLY
    in_channels: int  # of all inputs together
    out_channels: int
    in_size: int
    out_size: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    batch_norm: bool = False
    bias: bool = False
    activation: str = "none"  # none, relu, relu6, sigmoid, l2_norm
    repeats: int = 1

    @property
    def kind(self) -> str:
        """The layer's group in the paper's Table 2: stem, depthwise, pointwise, pool or head; other layers have other kinds."""
        if self.op == "conv":
            if self.groups == self.in_channels and (self.groups > 1 or (self.kernel != (1, 1) and self.out_channels == 1)):
                return "depthwise"
            return "stem" if self.inputs == (IMAGE,) else "pointwise" if self.kernel == (1, 1) else "conv"
        if self.op.endswith("pool"):
            return "pool"
        return {"linear": "head", "concat": "concat", "lrn": "norm"}.get(self.op, "boxes")

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, height, width) of a convolution, (out, in) of a linear layer on a flattened input, else ()."""
        if self.op == "conv":
            return (self.out_channels, self.in_channels // self.groups, *self.kernel)
        return (self.out_channels, self.in_channels * self.in_size**2) if self.op == "linear" else ()

    @property
    def weights(self) -> int:
        """Number of weights, without biases and batch norm."""
        return prod(self.weight_shape) if self.weight_shape else 0

    @property
    def values(self) -> int:
        """Number of output values for one image."""
        return self.out_channels * self.out_size**2 * self.repeats

    def then(self, name: str, op: str, **settings: Any) -> "Layer":
        """A layer that reads the output of this one; channels, size and repeats are the same unless `settings` differ.

        >>> stem = image(224).conv("stem", 32, kernel=(3, 3), stride=2, convention="same")
        >>> pool = stem.then("pool", "global_pool", kernel=(112, 112), out_size=1)
        >>> pool.inputs, pool.in_channels, pool.out_channels
        (('stem',), 32, 32)
        """
        kept = {"out_channels": self.out_channels, "out_size": self.out_size, "repeats": self.repeats} | settings
        return Layer(name, op, (self.name,), in_channels=self.out_channels, in_size=self.out_size, **kept)

    def conv(
        self,
        name: str,
        out_channels: int,
        *,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        convention: str = "same",
        **settings: Any,
    ) -> "Layer":
        """A convolution of the output of this layer, padded by a convention of `pad_and_size`."""
        (top, bottom), out_size = pad_and_size(self.out_size, kernel[0], stride, convention)
        (left, right), _ = pad_and_size(self.out_size, kernel[1], stride, convention)
        settings |= {"kernel": kernel, "stride": stride, "pads": (top, left, bottom, right)}
        return self.then(name, "conv", out_channels=out_channels, out_size=out_size, **settings)

    def global_pool(self, name: str) -> "Layer":
        """A global average pool: the mean of each channel."""
        return self.then(name, "global_pool", out_size=1, kernel=(self.out_size, self.out_size))

    def linear(self, name: str, out_channels: int, **settings: Any) -> "Layer":
        """A fully connected layer with a bias on the flattened output of this layer."""
        return self.then(name, "linear", out_channels=out_channels, out_size=1, bias=True, **settings)


def image(resolution: int) -> Layer:
    """The network's input, for the first layer to read: three channels, `resolution` × `resolution` pixels."""
    return Layer(IMAGE, IMAGE, (), in_channels=3, out_channels=3, in_size=resolution, out_size=resolution)


def pad_and_size(size: int, kernel: int, stride: int, convention: str) -> tuple[tuple[int, int], int]:
    """Padding (before, after) and output size, all in pixels, of a convolution along one axis of `size` pixels.

    Except for `valid`, the conventions differ at stride 2 only. `same` (TensorFlow): the least padding that gives
    ceil(size / stride) pixels, the odd pixel after. `keras` (not its stem): ZeroPadding2D((0, 1)), then valid. `symmetric`
    (PyTorch): kernel // 2 on both sides. `valid`: none.
    """
    if convention == "valid":
        before, after = 0, 0
    elif convention == "keras" and stride > 1:
        before, after = 0, 1
    elif convention == "same":
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
    else:
        before, after = kernel // 2, kernel // 2
    return (before, after), (size + before + after - kernel) // stride + 1
