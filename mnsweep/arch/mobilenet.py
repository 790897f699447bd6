"""The MobileNet of the paper's Table 1, and the paper's other forms of it.

Source: Howard et al. 2017 (arXiv 1704.04861), Table 1; Tables 4 and 5 for the other forms. The blocks of each form are data
in `mnsweep/names/variants.py`.
"""

from collections.abc import Callable

from mnsweep.arch.layer import IMAGE, Layer, image
from mnsweep.cell import Design
from mnsweep.names import VARIANTS

STEM_CHANNELS = 32
KERAS = "keras"  # the convention of keras.applications.MobileNet


def _round8(width: float) -> int:
    """Nearest multiple of 8, at least 8 and at least 90 % of `width` (TensorFlow's `make_divisible`)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


WIDTH_RULES: dict[str, Callable[[float], int]] = {
    "paper": lambda width: max(int(width), 8),  # TF-slim's depth(): truncation, at least 8
    "round8": _round8,
}


def scaled(design: Design, channels: int) -> int:
    """A channel count of Table 1 at the design's α, by its width rule; Keras's own networks have no minimum of 8."""
    if design.conv_padding == KERAS and design.width_rule == "paper":
        return max(int(channels * design.alpha), 1)
    return WIDTH_RULES[design.width_rule](channels * design.alpha)


def body(design: Design) -> list[Layer]:
    """The layers up to the last feature map: the stem, then the blocks."""
    layers = [conv(design, image(design.resolution), "stem", scaled(design, STEM_CHANNELS), kernel=3, stride=2)]
    for number, (stride, channels) in enumerate(VARIANTS[design.variant].blocks, 1):
        layers += block(design, layers[-1], number, stride=stride, channels=channels)
    return layers


def last_blocks(design: Design) -> list[tuple[int, tuple[int, int]]]:
    """The last two blocks, which follow the last feature map with stride 16: number and (stride, output channels)."""
    return list(enumerate(VARIANTS[design.variant].blocks, 1))[-2:]


def block(design: Design, before: Layer, number: int, *, stride: int, channels: int) -> list[Layer]:
    """A depthwise 3 × 3 and a pointwise convolution, or one full 3 × 3 convolution, as the variant has it."""
    wider = scaled(design, channels)
    if not VARIANTS[design.variant].separable:
        return [conv(design, before, f"conv{number}", wider, kernel=3, stride=stride)]
    narrow = before.out_channels
    depthwise = conv(design, before, f"depthwise{number}", narrow, kernel=3, stride=stride, groups=narrow)
    return [depthwise, conv(design, depthwise, f"pointwise{number}", wider)]


def conv(
    design: Design, before: Layer, name: str, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> Layer:
    """A convolution with batch norm and activation, padded by the design's convention.

    Keras pads the layers of its blocks in its own way; its stem is `same`.
    """
    variant = VARIANTS[design.variant]
    convention = "same" if design.conv_padding == KERAS and before.name == IMAGE else design.conv_padding
    return before.conv(
        name,
        out_channels,
        kernel=(kernel, kernel),
        stride=stride,
        convention=convention,
        groups=groups,
        batch_norm=variant.batch_norm,
        bias=variant.bias,
        activation=design.activation,
    )
