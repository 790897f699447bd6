"""The MobileNet as the paper's Table 1, and the paper's other forms of it.

Source: Howard et al. 2017 (arXiv 1704.04861), Table 1; Tables 4 and 5 for the other forms.
"""

from collections.abc import Callable

from mnsweep.arch.layer import Layer, pad_and_size
from mnsweep.cell import Design
from mnsweep.names import VARIANTS

STEM_CHANNELS = 32


def _round8(width: float) -> int:
    """Nearest multiple of 8, at least 8, never more than 10 % down (TensorFlow's `make_divisible`)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


WIDTH_RULES: dict[str, Callable[[float], int]] = {
    "paper": lambda width: max(int(width), 8),  # TF-slim's depth(): truncation, at least 8
    "round8": _round8,
}


def scaled(design: Design, channels: int) -> int:
    """So many channels at the design's α, by its width rule."""
    return WIDTH_RULES[design.width_rule](channels * design.alpha)


def body(design: Design) -> list[Layer]:
    """The rows up to the last map: stem, then (depthwise, pointwise) pairs, or a 3 × 3 convolution each in `full-conv`."""
    rows = [conv(design, "stem", "image", 3, scaled(design, STEM_CHANNELS), design.resolution, 3, 2)]
    for i, (stride, base) in enumerate(_blocks(design), 1):
        rows += block(design, i, rows[-1], stride, base)
    return rows


def last_blocks(design: Design) -> list[tuple[int, int, int]]:
    """Number, stride and output channels of the blocks behind the last map of stride 16."""
    blocks = [(i, *each) for i, each in enumerate(_blocks(design), 1)]
    return blocks[-2:]


def _blocks(design: Design) -> tuple[tuple[int, int], ...]:
    return VARIANTS[design.variant].blocks


def block(design: Design, i: int, before: Layer, stride: int, base: int, maps: int = 1) -> tuple[Layer, ...]:
    """A depthwise 3 × 3 convolution and the pointwise one behind it, or both in one; on every one of `maps` maps."""
    channels, size, wider = before.out_channels, before.out_size, scaled(design, base)
    if not VARIANTS[design.variant].separable:
        return (conv(design, f"conv{i}", before.name, channels, wider, size, 3, stride, maps=maps),)
    depthwise = conv(design, f"depthwise{i}", before.name, channels, channels, size, 3, stride, channels, maps)
    return depthwise, conv(design, f"pointwise{i}", depthwise.name, channels, wider, depthwise.out_size, maps=maps)


def conv(
    design: Design,
    name: str,
    before: str,
    channels: int,
    out: int,
    size: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    maps: int = 1,
) -> Layer:
    """A convolution with batch norm and activation, padded by the design's convention."""
    padding, out_size = pad_and_size(size, kernel, stride, design.conv_padding)
    row = Layer(name, "conv", (before,), channels, out, size, out_size, kernel, stride, padding, groups, maps=maps)
    return row._replace(batch_norm=True, bias=VARIANTS[design.variant].bias, activation=design.activation)
