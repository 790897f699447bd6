"""One row of a network: an operation on square maps, with what it reads by name."""

from math import prod
from typing import NamedTuple

LRN_ALPHA, LRN_BETA, LRN_BIAS = 1e-4, 0.75, 1.0  # as Caffe's AlexNet and GoogLeNet have them; `kernel` channels wide


class Layer(NamedTuple):
    """One row: an operation on square maps, with what it reads by name.

    `inputs` are names of earlier rows (`image` is the network's input). Sizes are in pixels; `padding`
    is (before, after), the same on both axes. `batch_norm` and `bias` say what the logical layer has:
    batch norm is folded into a bias when deployed. A kernel that is `across` pixels wide is `kernel` high, stands at
    stride 1 and keeps its map. `maps` counts how often the row runs for one image: once, or for every proposal.
    """

    name: str
    op: str  # conv, linear, max_pool, avg_pool, global_pool, concat, lrn, and those of heads.py
    inputs: tuple[str, ...]
    in_channels: int  # of all inputs together
    out_channels: int
    in_size: int
    out_size: int
    kernel: int = 1
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    batch_norm: bool = False
    bias: bool = False
    activation: str = "none"  # none, relu, relu6, sigmoid, l2_norm
    across: int = 0  # pixels; 0 where the kernel is square
    maps: int = 1

    @property
    def kind(self) -> str:
        """The group that the paper's Table 2 counts it in: stem, depthwise, pointwise, pool, head; others have their own."""
        if self.op == "conv":
            if 1 < self.groups == self.in_channels:
                return "depthwise"
            return "stem" if self.inputs == ("image",) else "pointwise" if self.kernel_shape == (1, 1) else "conv"
        if self.op.endswith("pool"):
            return "pool"
        return {"linear": "head", "concat": "concat", "lrn": "norm"}.get(self.op, "boxes")

    @property
    def kernel_shape(self) -> tuple[int, int]:
        """(high, wide) in pixels."""
        return self.kernel, self.across or self.kernel

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Pixels of padding as ONNX has them: top, left, bottom, right."""
        before, after = self.padding
        left, right = (self.across // 2,) * 2 if self.across else self.padding
        return before, left, after, right

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, high, wide) of a convolution, (out, in) of a linear layer on flattened maps, else ()."""
        if self.op == "conv":
            return (self.out_channels, self.in_channels // self.groups, *self.kernel_shape)
        return (self.out_channels, self.in_channels * self.in_size**2) if self.op == "linear" else ()

    @property
    def weights(self) -> int:
        """How many weights it has, without biases and batch norm."""
        return prod(self.weight_shape) if self.weight_shape else 0


def pad_and_size(size: int, kernel: int, stride: int, convention: str) -> tuple[tuple[int, int], int]:
    """Padding (before, after) and output size of a convolution over `size` pixels.

    The conventions differ at stride 2 only. `same` (TensorFlow): as little as gives ceil(size / stride),
    the odd pixel after. `keras`: ZeroPadding2D((0, 1)), then valid. `symmetric` (PyTorch): kernel // 2. `valid`: none.
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
