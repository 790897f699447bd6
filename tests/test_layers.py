"""The rows of a network: against the paper's Table 1, TensorFlow's rule, and torch's own shapes."""

from collections.abc import Sequence
from dataclasses import astuple, replace
from fractions import Fraction
from math import ceil

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mnsweep.arch.cost import layer_mult_adds, layer_params
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer, pad_and_size
from mnsweep.arch.mobilenet import WIDTH_RULES
from mnsweep.cell import Design
from mnsweep.counting import deployed_cost

# Howard et al. 2017, Table 1: type, stride, filter shape, input size. The last depthwise layer is printed
# as stride 2, which contradicts the 7 × 7 input of the layer behind it: an erratum, stride 1 here.
TABLE_1 = """
    conv  s2  3x3x3x32    224x224x3
    dw    s1  3x3x32      112x112x32
    conv  s1  1x1x32x64   112x112x32
    dw    s2  3x3x64      112x112x64
    conv  s1  1x1x64x128  56x56x64
    dw    s1  3x3x128     56x56x128
    conv  s1  1x1x128x128 56x56x128
    dw    s2  3x3x128     56x56x128
    conv  s1  1x1x128x256 28x28x128
    dw    s1  3x3x256     28x28x256
    conv  s1  1x1x256x256 28x28x256
    dw    s2  3x3x256     28x28x256
    conv  s1  1x1x256x512 14x14x256
    dw    s1  3x3x512     14x14x512
    conv  s1  1x1x512x512 14x14x512
    dw    s1  3x3x512     14x14x512
    conv  s1  1x1x512x512 14x14x512
    dw    s1  3x3x512     14x14x512
    conv  s1  1x1x512x512 14x14x512
    dw    s1  3x3x512     14x14x512
    conv  s1  1x1x512x512 14x14x512
    dw    s1  3x3x512     14x14x512
    conv  s1  1x1x512x512 14x14x512
    dw    s2  3x3x512     14x14x512
    conv  s1  1x1x512x1024 7x7x512
    dw    s1  3x3x1024    7x7x1024
    conv  s1  1x1x1024x1024 7x7x1024
    pool  s1  7x7         7x7x1024
    fc    s1  1024x1000   1x1x1024
"""

DESIGNS = st.builds(
    Design.of,
    st.floats(0.01, 2),
    st.integers(32, 1024),
    width_rule=st.sampled_from(["paper", "round8"]),
    conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
    activation=st.sampled_from(["relu6", "relu"]),
)
SIZES = range(1, 301)


def as_printed(layer: Layer) -> list[str]:
    """A row in the notation of Table 1."""
    k, read, written = layer.kernel[0], layer.in_channels, layer.out_channels
    kind, shape = {
        "stem": ("conv", f"{k}x{k}x{read}x{written}"),
        "pointwise": ("conv", f"{k}x{k}x{read}x{written}"),
        "depthwise": ("dw", f"{k}x{k}x{written}"),
        "pool": ("pool", f"{k}x{k}"),
        "head": ("fc", f"{read}x{written}"),
    }[layer.kind]
    return [kind, f"s{layer.stride}", shape, f"{layer.in_size}x{layer.in_size}x{read}"]


def test_the_full_network_is_table_1() -> None:
    assert [as_printed(layer) for layer in expand(Design.of(1.0, 224))] == [line.split() for line in TABLE_1.split("\n")[1:-1]]


def test_the_last_depthwise_layer_has_stride_1_and_keeps_its_map() -> None:
    last = next(layer for layer in expand(Design.of(1.0, 224)) if layer.name == "depthwise13")
    assert (last.stride, last.in_size, last.out_size) == (1, 7, 7)


@given(DESIGNS)
@settings(max_examples=100, deadline=None)
def test_every_row_reads_what_an_earlier_row_wrote(design: Design) -> None:
    layers = expand(design)
    written = {"image": (3, design.resolution)}
    for layer in layers:
        assert layer.name not in written
        assert [written[name] for name in layer.inputs] == [(layer.in_channels, layer.in_size)]
        written[layer.name] = (layer.out_channels, layer.out_size)
    assert written[layers[-1].name] == (1000, 1)


@given(DESIGNS)
@settings(max_examples=50, deadline=None)
def test_convolutions_have_batch_norm_and_the_activation_and_the_classifier_a_bias(design: Design) -> None:
    *convolutions, pool, classifier = expand(design)
    assert {(c.op, c.batch_norm, c.bias, c.activation) for c in convolutions} == {("conv", True, False, design.activation)}
    assert (pool.batch_norm, pool.bias, pool.activation) == (False, False, "none")
    assert (classifier.batch_norm, classifier.bias, classifier.activation) == (False, True, "none")


def test_convolutions_are_depthwise_in_turn() -> None:
    layers = [layer for layer in expand(Design.of(0.5, 96)) if layer.op == "conv"]
    assert [layer.groups for layer in layers[1::2]] == [layer.in_channels for layer in layers[1::2]]
    assert {layer.groups for layer in [layers[0], *layers[2::2]]} == {1}


@given(DESIGNS)
@settings(max_examples=50, deadline=None)
def test_full_convolutions_make_the_same_maps_as_separable_ones(design: Design) -> None:
    separable = [row for row in expand(design) if row.kind in ("stem", "pointwise", "pool", "head")]
    full = expand(replace(design, variant="full-conv"))
    assert [(row.out_channels, row.out_size) for row in full] == [(row.out_channels, row.out_size) for row in separable]
    assert {(row.kernel, row.groups) for row in full if row.op == "conv"} == {((3, 3), 1)}


@given(DESIGNS)
@settings(max_examples=50, deadline=None)
def test_the_shallow_network_lacks_the_five_blocks_that_change_no_shape(design: Design) -> None:
    def shapes(rows: Sequence[Layer]) -> list[tuple[object, ...]]:
        return [astuple(row)[3:] for row in rows]  # without names

    rows = expand(design)
    repeated = [f"{kind}{i}" for i in range(7, 12) for kind in ("depthwise", "pointwise")]
    assert shapes(expand(replace(design, variant="shallow"))) == shapes([row for row in rows if row.name not in repeated])
    assert len({astuple(row)[3:] for row in rows if row.name in repeated}) == 2


@given(DESIGNS)
@settings(max_examples=50, deadline=None)
def test_the_network_of_mlperf_tiny_has_a_bias_beside_every_batch_norm(design: Design) -> None:
    rows = expand(replace(design, variant="conv-bias"))
    assert all(row.bias for row in rows if row.weight_shape)
    assert [replace(row, bias=row.bias and row.op == "linear") for row in rows] == list(expand(design))


def test_rows_are_of_the_kinds_that_table_2_knows_and_of_a_few_more() -> None:
    kinds = {
        row.name: row.kind
        for row in (*expand(Design.of(1.0, 227, variant="alexnet")), *expand(Design.of(1.0, 224, variant="googlenet")))
    }
    names = ("conv1", "norm1", "conv2", "pool1", "inception3a_1a", "inception3a_2b", "inception3a", "fc1", "classifier")
    expected = ["stem", "norm", "pointwise", "pool", "pointwise", "conv", "concat", "head", "head"]
    assert [
        kinds[name] for name in names
    ] == expected  # conv2 is GoogLeNet's 1 × 1; AlexNet's, in two groups, is no depthwise one
    assert {row.kind for row in expand(Design.of(1.0, 227, variant="alexnet")) if row.groups == 2} == {"conv"}
    assert [row.kind for row in expand(Design.of(1.0, 300, task="ssd"))][-1] == "boxes"


def windows(size: int, before: int, after: int, stride: int) -> list[range]:
    """Where a window of three pixels fits on a padded line; pixel 0 is the map's first."""
    line = range(-before, size + after)
    return [line[start : start + 3] for start in range(0, len(line), stride) if len(line[start : start + 3]) == 3]


@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_tensorflows_rule(stride: int) -> None:
    for size in SIZES:
        (before, after), out = pad_and_size(size, 3, stride, "same")
        assert out == ceil(size / stride) == len(windows(size, before, after, stride))
        assert after - before in (0, 1), "the odd pixel goes after"
        assert after == 0 or len(windows(size, before, after - 1, stride)) < out, "no more padding than it takes"


@pytest.mark.parametrize(("size", "padding"), [(224, (0, 1)), (112, (0, 1)), (25, (1, 1)), (7, (1, 1)), (1, (1, 1))])
def test_same_padding_at_stride_2_depends_on_parity(size: int, padding: tuple[int, int]) -> None:
    assert pad_and_size(size, 3, 2, "same")[0] == padding


@given(st.integers(2, 64).map(lambda k: k / 32), st.integers(32, 1024))
@example(0.2, 127)
@example(0.25, 200)
@example(1.0, 127)
def test_keras_networks_are_those_of_its_source(alpha: float, resolution: int) -> None:
    """keras.applications.MobileNet: stem `same`; ZeroPadding2D((0, 1)) and `valid` before stride 2; int(filters * alpha)."""
    widths = [int(c * alpha) for c in (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)]
    size, read = -(-resolution // 2), widths[0]
    params, mult_adds = 27 * read + 2 * read, 27 * read * size**2
    for number, written in enumerate(widths[1:], 1):
        size = (size + 1 - 3) // 2 + 1 if number in (2, 4, 6, 12) else size
        params += 9 * read + 2 * read + read * written + 2 * written
        mult_adds += (9 * read + read * written) * size**2
        read = written
    design = Design.of(alpha, resolution, conv_padding="keras")
    expected = (params + read * 1000 + 1000, mult_adds + read * 1000)
    assert (sum(map(layer_params, expand(design))), sum(map(layer_mult_adds, expand(design)))) == expected
    found = deployed_cost(design)
    assert (found.params, found.mult_adds) == expected


def test_keras_pads_depthwise_layers_alone_in_its_own_way() -> None:
    layers = [layer for layer in expand(Design.of(1.0, 127, conv_padding="keras")) if layer.stride == 2]
    assert [(layer.kind, layer.pads, layer.out_size) for layer in layers] == [
        ("stem", (1, 1, 1, 1), 64), *(("depthwise", (0, 0, 1, 1), size) for size in (32, 16, 8, 4)),
    ]  # fmt: skip
    assert expand(Design.of(1.0, 127, conv_padding="keras"))[-1] == expand(Design.of(1.0, 127))[-1]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("convention", ["same", "keras", "symmetric"])
def test_map_sizes_are_those_of_torchs_convolution(convention: str, stride: int) -> None:
    kernel = torch.ones(1, 1, 3)
    for size in SIZES:
        padding, out = pad_and_size(size, 3, stride, convention)
        expected = {
            "same": padding,  # its padding is tested above
            "keras": (0, 1) if stride == 2 else (1, 1),
            "symmetric": (1, 1),
        }[convention]
        assert padding == expected
        if size + sum(expected) >= 3:  # torch refuses a kernel that fits nowhere
            line = functional.pad(torch.zeros(1, 1, size), expected)
            assert out == functional.conv1d(line, kernel, stride=stride).shape[-1]


@pytest.mark.parametrize("convention", ["same", "keras", "symmetric"])
def test_a_pointwise_convolution_is_never_padded(convention: str) -> None:
    assert [pad_and_size(size, 1, 1, convention) for size in SIZES] == [((0, 0), size) for size in SIZES]


def test_keras_makes_12_of_an_odd_map_of_25_where_tensorflow_makes_13() -> None:
    out_sizes = {
        convention: [layer.out_size for layer in expand(Design.of(1.0, 200, conv_padding=convention)) if layer.stride == 2]
        for convention in ("same", "keras", "symmetric")
    }
    assert out_sizes == {"same": [100, 50, 25, 13, 7], "keras": [100, 50, 25, 12, 6], "symmetric": [100, 50, 25, 13, 7]}


@pytest.mark.parametrize("convention", ["same", "keras", "symmetric"])
def test_no_map_vanishes_at_any_resolution(convention: str) -> None:
    for resolution in range(32, 1025):
        assert min(layer.out_size for layer in expand(Design.of(0.25, resolution, conv_padding=convention))) == 1


def widths(design: Design) -> list[int]:
    """Channels after the stem and after each pointwise layer."""
    return [layer.out_channels for layer in expand(design) if layer.kind in ("stem", "pointwise")]


@pytest.mark.parametrize(
    ("alpha", "rule", "expected"),
    [
        (1.0, "paper", [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]),
        (0.75, "paper", [24, 48, 96, 96, 192, 192, *[384] * 6, 768, 768]),
        (0.25, "paper", [8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256]),
        (0.35, "paper", [11, 22, 44, 44, 89, 89, *[179] * 6, 358, 358]),
        (0.35, "round8", [16, 24, 48, 48, 88, 88, *[176] * 6, 360, 360]),
        (0.01, "paper", [8, 8, 8, 8, 8, 8, *[8] * 6, 10, 10]),
        (0.01, "round8", [8, 8, 8, 8, 8, 8, *[8] * 6, 16, 16]),
    ],
)
def test_channels_of_both_width_rules(alpha: float, rule: str, expected: list[int]) -> None:
    assert widths(Design.of(alpha, 64, width_rule=rule)) == expected


@pytest.mark.parametrize("rule", ["paper", "round8"])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75, 1.0])
def test_both_width_rules_agree_where_the_paper_measured(alpha: float, rule: str) -> None:
    assert widths(Design.of(alpha, 64, width_rule=rule)) == [int(alpha * width) for width in widths(Design.of(1.0, 64))]


def nearest_multiple_of_8(width: Fraction) -> int:
    """Ties up; at least 8; the next one up where the nearest would lose more than a tenth."""
    candidates = range(8, int(width) + 17, 8)
    nearest = min(candidates, key=lambda multiple: (abs(multiple - width), -multiple))
    return next(multiple for multiple in candidates if multiple >= nearest and multiple >= width * Fraction(9, 10))


@given(st.sampled_from([32, 64, 128, 256, 512, 1024]), st.floats(0.001, 2) | st.integers(1, 128).map(lambda n: n / 64))
@settings(max_examples=150, deadline=None)
def test_width_rules_against_exact_fractions(base: int, alpha: float) -> None:
    exact = base * Fraction(alpha)
    assert WIDTH_RULES["paper"](base * alpha) == max(8, exact.numerator // exact.denominator)
    assert WIDTH_RULES["round8"](base * alpha) == nearest_multiple_of_8(exact)


@pytest.mark.parametrize(
    ("width", "expected"), [(0.1, 8), (8, 8), (8.9, 16), (11.2, 16), (12, 16), (19.2, 24), (20, 24), (44, 48), (43.9, 40)]
)
def test_round8_by_hand(width: float, expected: int) -> None:
    assert WIDTH_RULES["round8"](width) == expected == nearest_multiple_of_8(Fraction(width))
