"""The networks to compare with: accepted counts, their papers' map sizes, and one answer from graph, module and textbook."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from mnsweep.arch.channel_padding import ALIGNMENTS, NARROW, WIDE, multiples_of, pad_channels, padding
from mnsweep.arch.cost import layer_mult_adds
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Design
from mnsweep.counting import cost
from mnsweep.graph.lowering import Range, map_names
from mnsweep.graph.onnx_file import build_onnx, build_open_onnx
from mnsweep.graph.quantize import assumed_ranges, quantized
from mnsweep.graph.torch_net import from_torch, to_torch
from mnsweep.graph.weights import Array, Weights, random_weights
from mnsweep.prepare.images import synthetic_images
from mnsweep.worker.ranges import ranges
from mnsweep.worker.runtimes import load
from tests.families import NATIVE_RESOLUTION
from tests.test_build import one_thread, run_onnx, run_torch
from tests.test_quantize import session_of

__all__ = ["one_thread"]  # a fixture

# Params as Caffe's model zoo and torchvision have them; mult-adds as torchvision prints them, where it has the very network
# (15.47 and 5.71 G), and for AlexNet by the arithmetic of its paper's map sizes.
ACCEPTED = {
    "alexnet": (60_965_224, 724_406_816),
    "squeezenet": (1_248_424, None),
    "vgg16": (138_357_544, 15_470_264_320),
    "googlenet": (6_998_552, None),
    "inception-v3": (23_834_568, 5_713_216_096),
}
SMALL = ("squeezenet", "googlenet", "inception-v3")  # drawing the weights of the other two takes longer than everything else


def rows_of(variant: str, classes: int | None = None) -> tuple[Layer, ...]:
    return expand(Design.of(1.0, NATIVE_RESOLUTION[variant], variant=variant, classes=classes))


@cache
def small_weights(variant: str) -> Weights:
    return random_weights(rows_of(variant, 10))


def picture(variant: str) -> Array:
    return synthetic_images(NATIVE_RESOLUTION[variant])[0]


@pytest.mark.parametrize(("variant", "accepted"), ACCEPTED.items(), ids=ACCEPTED)
def test_counts_are_the_accepted_ones(variant: str, accepted: tuple[int, int | None]) -> None:
    counted = cost(rows_of(variant))
    assert counted.params == accepted[0]
    assert accepted[1] in (counted.mult_adds, None)


def test_keras_counts_inception_v3_with_statistics_and_without_scales() -> None:
    """23,851,784 in its documentation: a shift, a mean and a variance for each channel, where ours is scale and shift."""
    rows = rows_of("inception-v3")
    normed = sum(row.out_channels for row in rows if row.batch_norm)
    assert cost(rows).params - 2 * normed + 3 * normed == 23_851_784


def test_mult_adds_of_alexnet_are_those_of_its_papers_maps() -> None:
    """Krizhevsky et al. 2012, section 3.5: kernels and neurons of each layer; the 2nd, 4th and 5th see half the maps."""
    convolutions = [(55, 96, 11 * 11 * 3), (27, 256, 5 * 5 * 48), (13, 384, 3 * 3 * 256), (13, 384, 3 * 3 * 192)]
    convolutions += [(13, 256, 3 * 3 * 192)]
    linear = 6 * 6 * 256 * 4096 + 4096 * 4096 + 4096 * 1000
    assert sum(size**2 * out * fan_in for size, out, fan_in in convolutions) + linear == ACCEPTED["alexnet"][1]


# Map sizes and channels as the papers print them, at the rows that they name.
PRINTED: dict[str, Mapping[str, tuple[int, int]]] = {
    "alexnet": {"conv1": (55, 96), "conv2": (27, 256), "conv5": (13, 256), "pool3": (6, 256)},
    "squeezenet": {
        "conv1": (111, 96), "pool1": (55, 96), "fire2": (55, 128), "fire4": (55, 256), "pool2": (27, 256), "fire8": (27, 512),
        "pool3": (13, 512), "fire9": (13, 512), "conv10": (13, 1000), "pool": (1, 1000),
    },
    "vgg16": {"pool1": (112, 64), "pool2": (56, 128), "pool3": (28, 256), "pool4": (14, 512), "pool5": (7, 512)},
    "googlenet": {
        "conv1": (112, 64), "pool1": (56, 64), "norm2": (56, 192), "pool2": (28, 192), "inception3a": (28, 256),
        "inception3b": (28, 480), "pool3": (14, 480), "inception4a": (14, 512), "inception4b": (14, 512),
        "inception4c": (14, 512), "inception4d": (14, 528), "inception4e": (14, 832), "pool4": (7, 832),
        "inception5a": (7, 832), "inception5b": (7, 1024), "pool": (1, 1024),
    },
    "inception-v3": {
        "conv1": (149, 32), "conv2": (147, 32), "conv3": (147, 64), "pool1": (73, 64), "pool2": (35, 192), "mixed1": (35, 256),
        "mixed3": (35, 288), "mixed4": (17, 768), "mixed8": (17, 768), "mixed9": (8, 1280), "mixed11": (8, 2048),
        "pool": (1, 2048),
    },
}  # fmt: skip


@pytest.mark.parametrize("variant", PRINTED)
def test_maps_are_those_that_the_papers_print(variant: str) -> None:
    maps = {row.name: (row.out_size, row.out_channels) for row in rows_of(variant)}
    assert {name: maps[name] for name in PRINTED[variant]} == PRINTED[variant]


def test_mult_adds_of_googlenets_modules_are_those_of_its_table() -> None:
    """Szegedy et al. 2014, Table 1, column "ops" in millions. It has 54 for 5a, whose columns multiply out to 51."""
    printed = {"3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5b": 71}
    for name, millions in printed.items():
        own = [layer_mult_adds(row) for row in rows_of("googlenet") if row.name.startswith(f"inception{name}")]
        assert sum(own) / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize("variant", NATIVE_RESOLUTION)
def test_every_row_reads_what_earlier_rows_wrote(variant: str) -> None:
    written = {"image": (3, NATIVE_RESOLUTION[variant])}
    for row in rows_of(variant):
        assert row.name not in written
        channels, sizes = zip(*(written[name] for name in row.inputs), strict=True)
        assert (sum(channels), set(sizes)) == (row.in_channels, {row.in_size})
        written[row.name] = (row.out_channels, row.out_size)
    read = {name for row in rows_of(variant) for name in row.inputs}
    assert written.keys() - read == {rows_of(variant)[-1].name}, "nothing is made for nobody"
    assert list(written.values())[-1] == (1000, 1)


@pytest.mark.parametrize("variant", SMALL)
def test_the_graph_computes_what_the_module_computes(variant: str) -> None:
    rows, weights, image = rows_of(variant, 10), small_weights(variant), picture(variant)
    expected = run_torch(to_torch(rows, weights), image)
    logits = run_onnx(build_onnx(rows, weights), image)
    assert logits.shape == expected.shape == (1, 10)
    assert abs(logits - expected).max() <= 1e-3 * abs(expected).max()
    assert expected.std() > 1e-2


def lean_rows(variant: str) -> tuple[Layer, ...]:
    """A network with narrow linear layers, so that drawing weights takes no time; everything else stays."""

    def lean(row: Layer) -> Layer:
        if row.op != "linear":
            return row
        channels = row.in_channels if row.name == "fc1" else 16
        return replace(row, in_channels=channels, out_channels=16 if row.activation == "relu" else 10)

    return tuple(map(lean, rows_of(variant)))


@pytest.mark.parametrize("variant", ["alexnet", "vgg16"])
def test_the_graph_of_a_network_with_wide_linear_layers_computes_what_its_module_computes(variant: str) -> None:
    rows, image = lean_rows(variant), picture(variant)
    weights = random_weights(rows)
    expected = run_torch(to_torch(rows, weights), image)
    logits = run_onnx(build_onnx(rows, weights), image)
    assert abs(logits - expected).max() <= 1e-3 * abs(expected).max()
    assert expected.std() > 1e-2


def textbook_alexnet(weights: Weights, image: Array) -> Array:
    """bvlc_alexnet, layer by layer: convolution, ReLU, normalization, pooling; then three linear layers."""
    w = {name: torch.from_numpy(array) for name, array in weights.arrays.items()}

    def convolve(x: torch.Tensor, i: int, padding: int, groups: int = 1, stride: int = 1) -> torch.Tensor:
        return functional.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], stride, padding, groups=groups).relu()

    def norm(x: torch.Tensor) -> torch.Tensor:
        """x / (1 + 1e-4 / 5 · sum of squares over five channels) ^ 0.75."""
        near = functional.pad((x**2).transpose(1, 3), (2, 2)).unfold(3, 5, 1).sum(-1).transpose(1, 3)
        return x / (1 + 1e-4 / 5 * near) ** 0.75

    def pool(x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    x = pool(norm(convolve(torch.from_numpy(image), 1, 0, stride=4)))
    x = pool(norm(convolve(x, 2, 2, groups=2)))
    x = convolve(convolve(x, 3, 1), 4, 1, groups=2)
    x = pool(convolve(x, 5, 1, groups=2)).flatten(1)
    for name in ("fc1", "fc2"):
        x = functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"]).relu()
    return functional.linear(x, w["classifier.weight"], w["classifier.bias"]).numpy()


def test_alexnet_is_the_textbooks() -> None:
    rows, image = lean_rows("alexnet"), 20 * picture("alexnet")  # so large that normalization matters
    weights = random_weights(rows)
    expected = textbook_alexnet(weights, image)
    np.testing.assert_allclose(run_onnx(build_onnx(rows, weights), image), expected, rtol=1e-3, atol=1e-3 * abs(expected).max())


def test_a_module_of_inception_v3_is_the_textbooks() -> None:
    """The block with kernels of 1 × 7 and 7 × 1, as torchvision has it: which of the two comes first matters."""
    rows, weights = rows_of("inception-v3", 10), small_weights("inception-v3")
    net = to_torch(rows, weights)
    seen: dict[str, torch.Tensor] = {}
    for name, module in net.parts.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    run_torch(net, picture("inception-v3"))

    def convolve(x: torch.Tensor, name: str) -> torch.Tensor:
        arrays = {
            part: torch.from_numpy(weights.arrays[f"{name}.{part}"])
            for part in ("weight", "scale", "shift", "mean", "variance")
        }
        high, wide = arrays["weight"].shape[2:]
        x = functional.conv2d(x, arrays["weight"], padding=(high // 2, wide // 2))
        norm = functional.batch_norm(x, arrays["mean"], arrays["variance"], arrays["scale"], arrays["shift"], eps=1e-3)
        return norm.relu()

    x = seen["mixed4"]
    long, longer = x, x
    for letter, shape in zip("abc", ((1, 1), (1, 7), (7, 1)), strict=True):
        assert weights.arrays[f"mixed5_2{letter}.weight"].shape[2:] == shape
        long = convolve(long, f"mixed5_2{letter}")
    for letter, shape in zip("abcde", ((1, 1), (7, 1), (1, 7), (7, 1), (1, 7)), strict=True):
        assert weights.arrays[f"mixed5_3{letter}.weight"].shape[2:] == shape
        longer = convolve(longer, f"mixed5_3{letter}")
    pooled = convolve(functional.avg_pool2d(x, 3, 1, 1), "mixed5_4b")
    expected = torch.cat([convolve(x, "mixed5_1a"), long, longer, pooled], 1)
    torch.testing.assert_close(seen["mixed5"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", SMALL)
def test_weights_go_to_torch_and_come_back(variant: str) -> None:
    weights = small_weights(variant)
    back = from_torch(to_torch(rows_of(variant, 10), weights)).arrays
    assert back.keys() == weights.arrays.keys()
    assert all(np.array_equal(back[name], array) for name, array in weights.arrays.items())


@pytest.mark.parametrize("variant", NATIVE_RESOLUTION)
def test_onnx_bytes_is_the_size_of_the_file_in_both_precisions(variant: str) -> None:
    rows = rows_of(variant, 10) if variant in SMALL else lean_rows(variant)
    weights = random_weights(rows)
    files = build_onnx(rows, weights), build_onnx(rows, weights, ranges=assumed_ranges(rows))
    assert tuple(map(len, files)) == (cost(rows).onnx_bytes, cost(rows, "int8").onnx_bytes)
    for file in files:
        onnx.checker.check_model(onnx.load_from_string(file), full_check=True)


@cache
def calibrated(variant: str) -> dict[str, Range]:
    rows = rows_of(variant, 10)
    return ranges(build_open_onnx(rows, small_weights(variant)), synthetic_images(NATIVE_RESOLUTION[variant])[:2])


@pytest.mark.parametrize("variant", SMALL)
def test_int8_answers_are_near_the_fp32_ones(variant: str) -> None:
    rows, weights, image = rows_of(variant, 10), small_weights(variant), picture(variant)
    assert list(calibrated(variant)) == ["image", "logits", *map_names(rows)[1:]]
    exact = run_onnx(build_onnx(rows, weights), image)
    for runtime in ("onnxruntime", "openvino"):
        file = build_onnx(rows, weights, ranges=calibrated(variant), weight_bits=7)
        answer = load(runtime).open(file, "int8", 1).outputs(image)["logits"]
        assert np.corrcoef(exact.ravel(), answer.ravel())[0, 1] > 0.97
        assert abs(answer - exact).max() > 1e-4, "this would be the fp32 network"


def test_a_max_pool_has_the_scale_of_what_it_reads() -> None:
    """Its greatest value is its input's, and the least is 0 behind a ReLU: runtimes then pool the 8-bit numbers themselves."""
    rows, weights = rows_of("googlenet", 10), small_weights("googlenet")
    arrays = quantized(rows, weights, calibrated("googlenet"))
    pools = [row for row in rows if row.op == "max_pool"]
    assert len(pools) == 4 + 9
    for row in pools:
        assert arrays[f"{row.name}.scale"] == arrays[f"{row.inputs[0]}.scale"]
        assert arrays[f"{row.name}.zero_point"] == arrays[f"{row.inputs[0]}.zero_point"]


@pytest.mark.parametrize("variant", SMALL)
def test_onnxruntime_runs_every_convolution_in_int8(variant: str, tmp_path: Path) -> None:
    """Also where several read one map: with signed maps half of GoogLeNet's would stay in fp32."""
    rows, weights = rows_of(variant, 10), small_weights(variant)
    session_of(build_onnx(rows, weights, ranges=assumed_ranges(rows)), tmp_path / "optimized.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == sum(row.op == "conv" for row in rows)
    assert kinds.count("QLinearConcat") == sum(row.op == "concat" for row in rows)
    assert kinds.count("LRN") == sum(row.op == "lrn" for row in rows)
    assert not {"Conv", "FusedConv", "Gemm", "Concat"} & set(kinds)


@pytest.mark.parametrize("variant", [*SMALL, "alexnet"])
@pytest.mark.parametrize("pad", ["none", "auto", "24"])
def test_a_network_with_branches_or_groups_is_not_padded(variant: str, pad: str) -> None:
    rows = rows_of(variant, 10)
    assert padding(rows, pad, dict.fromkeys((*NARROW, *WIDE), 1.0)) == {}
    assert pad_channels(rows, {}) == rows


def test_vgg_is_padded_like_any_chain() -> None:
    rows = rows_of("vgg16")
    assert multiples_of(ALIGNMENTS[-1], rows) == {}
    assert multiples_of(48, rows).keys() == {64, 128, 256, 512, 4096}


def test_dropout_and_auxiliary_classifiers_are_left_out() -> None:
    for variant in NATIVE_RESOLUTION:
        rows = rows_of(variant)
        assert {row.op for row in rows} <= {"conv", "linear", "max_pool", "avg_pool", "global_pool", "concat", "lrn"}
        assert sum(row.out_channels == 1000 and bool(row.weight_shape) for row in rows) == 1


def test_activations_of_random_weights_stay_in_range_in_every_layer() -> None:
    for variant in SMALL:
        net = to_torch(rows_of(variant, 10), small_weights(variant))
        spread: list[float] = []
        for module in net.parts.values():
            module.register_forward_hook(lambda _module, _inputs, out, spread=spread: spread.append(float(out.std())))
        run_torch(net, picture(variant))
        assert len(spread) == len(net.parts)
        assert min(spread) > 1e-2 and max(spread) < 1e2


@pytest.mark.parametrize("variant", NATIVE_RESOLUTION)
def test_any_number_of_classes_is_made_by_the_last_layer_with_weights(variant: str) -> None:
    few, many = rows_of(variant, 7), rows_of(variant, 700)
    assert few[-1].out_channels == 7 and many[-1].out_channels == 700
    changed = [a.name for a, b in zip(few, many, strict=True) if a != b]
    assert changed == (["conv10", "pool"] if variant == "squeezenet" else ["classifier"])
