"""MobileNet as the paper's Table 1, expanded to rows that anyone can print.

One description, many readers: cost, torch module, ONNX graph and latency features all read the rows
that `expand` returns. Source: Howard et al. 2017 (arXiv 1704.04861), Table 1.
"""

from collections.abc import Callable
from typing import NamedTuple

from mnsweep.cell import Design

STEM_CHANNELS = 32
# (stride, output channels) of each depthwise separable block. The paper prints the last depthwise
# layer as stride 2; it is stride 1: only that gives the 7 × 7 map and the 569 M mult-adds it reports.
BLOCKS = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *[(1, 512)] * 5,
    (2, 1024),
    (1, 1024),
)


class Layer(NamedTuple):
    """One row: an operation on square maps, with what it reads by name.

    `inputs` are names of earlier rows (`image` is the network's input). Sizes are in pixels; `padding`
    is (before, after), the same on both axes. `batch_norm` and `bias` say what the logical layer has:
    batch norm is folded into a bias when deployed.
    """

    name: str
    op: str  # conv, global_pool, linear
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    kernel: int = 1
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    batch_norm: bool = False
    bias: bool = False
    activation: str = "none"  # none, relu, relu6

    @property
    def kind(self) -> str:
        """The group that the paper's Table 2 counts it in: stem, depthwise, pointwise, pool, head."""
        if self.op == "conv":
            return "depthwise" if self.groups > 1 else "pointwise" if self.kernel == 1 else "stem"
        return "head" if self.op == "linear" else "pool"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in / groups, kernel, kernel) of a convolution, (out, in) of a linear layer, else ()."""
        if self.op == "conv":
            return (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel)
        return (self.out_channels, self.in_channels) if self.op == "linear" else ()


def _round8(width: float) -> int:
    """Nearest multiple of 8, at least 8, never more than 10 % down (TensorFlow's `make_divisible`)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


WIDTH_RULES: dict[str, Callable[[float], int]] = {
    "paper": lambda width: max(int(width), 8),  # TF-slim's depth(): truncation, at least 8
    "round8": _round8,
}


def pad_and_size(size: int, kernel: int, stride: int, convention: str) -> tuple[tuple[int, int], int]:
    """Padding (before, after) and output size of a convolution over `size` pixels.

    The conventions differ at stride 2 only. `same` (TensorFlow): as little as gives ceil(size / stride),
    the odd pixel after. `keras`: ZeroPadding2D((0, 1)), then valid. `symmetric` (PyTorch): kernel // 2.
    """
    if convention == "keras" and stride > 1:
        before, after = 0, 1
    elif convention == "same":
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
    else:
        before, after = kernel // 2, kernel // 2
    return (before, after), (size + before + after - kernel) // stride + 1


def expand(design: Design) -> tuple[Layer, ...]:
    """The rows of `design`, input to logits: stem, 13 × (depthwise, pointwise), pool, classifier."""
    width = WIDTH_RULES[design.width_rule]
    alpha, convention, activation = design.alpha, design.conv_padding, design.activation
    size, channels = design.resolution, width(STEM_CHANNELS * alpha)
    padding, out = pad_and_size(size, 3, 2, convention)
    rows = [Layer("stem", "conv", ("image",), 3, channels, size, out, 3, 2, padding, 1, True, False, activation)]
    for i, (stride, base) in enumerate(BLOCKS, 1):
        size, (padding, out) = out, pad_and_size(out, 3, stride, convention)
        dw, pw, after, wider = f"depthwise{i}", f"pointwise{i}", (rows[-1].name,), width(base * alpha)
        rows.append(
            Layer(dw, "conv", after, channels, channels, size, out, 3, stride, padding, channels, True, False, activation)
        )
        rows.append(Layer(pw, "conv", (dw,), channels, wider, out, out, 1, 1, (0, 0), 1, True, False, activation))
        channels = wider
    rows.append(Layer("pool", "global_pool", (rows[-1].name,), channels, channels, out, 1, out))
    rows.append(Layer("classifier", "linear", ("pool",), channels, design.classes, 1, 1, bias=True))
    return tuple(rows)
