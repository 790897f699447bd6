"""int8: the numbers by closed forms, the graph by an implementation of its own in torch, the runtimes by both."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from torch import nn
from torch.nn import functional

from mnsweep.arch.channel_padding import multiples_of, pad_channels
from mnsweep.arch.expand import expand
from mnsweep.arch.layer import Layer, image
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.file_size import SYNTHETIC
from mnsweep.graph.lowering import Range, map_names
from mnsweep.graph.onnx_file import build_onnx, build_open_onnx
from mnsweep.graph.quantize import assumed_ranges, map_scale, quantized
from mnsweep.graph.torch_net import from_torch, to_torch
from mnsweep.graph.weights import Array, Weights, folded, padded, random_weights
from mnsweep.machine.fingerprint import read_machine
from mnsweep.prepare.images import synthetic_images
from mnsweep.worker.ranges import ranges
from mnsweep.worker.runtimes import load
from tests.test_build import one_thread

__all__ = ["one_thread"]  # a fixture
DESIGN = Design.of(0.3, 32, classes=10)
IMAGES = 200
NO_DOT_PRODUCTS = not read_machine().has_int8_dot_products
saturates = pytest.mark.skipif(NO_DOT_PRODUCTS, reason="without 8-bit dot products, sums of two products saturate at 16 bits")


def images(count: int, first_seed: int) -> Array:
    return np.concatenate([synthetic_images(DESIGN.resolution, seed=seed)[0] for seed in range(first_seed, first_seed + count)])


@cache
def lively() -> Weights:
    """Weights whose answers depend on the image, as a trained network's do and random ones' do not.

    Filters near the identity, and batch norm that has seen images.
    """
    layers = expand(DESIGN)
    arrays = dict(random_weights(layers).arrays)
    for layer in layers[:-2]:
        if layer.kind != "stem":
            weight = arrays[f"{layer.name}.weight"] * np.float32(0.3)
            out, centre = np.arange(layer.out_channels), layer.kernel[0] // 2
            weight[out, out % weight.shape[1], centre, centre] += 1
            arrays[f"{layer.name}.weight"] = weight
    net = to_torch(layers, Weights(arrays))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        net.train()(torch.from_numpy(images(50, 0)))
    return from_torch(net.eval())


@cache
def calibrated() -> dict[str, Range]:
    return ranges(build_open_onnx(expand(DESIGN), lively()), [images(1, seed) for seed in range(1000, 1040)])


@cache
def int8_file(batch: int | None = None, k: int = 1) -> bytes:
    layers = expand(DESIGN)
    deployed = pad_channels(layers, multiples_of(k, layers))
    return build_onnx(deployed, padded(lively(), deployed), batch, calibrated())


def session_of(model: bytes | Path, optimized: Path | None = None) -> onnxruntime.InferenceSession:
    """Node by node as the file says, or with every fusion, written to `optimized`."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(optimized or "")
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def as_written(model: bytes | Path, batch: Array) -> Array:
    (logits,) = session_of(model).run(None, {"image": batch})
    return np.asarray(logits, np.float32)


def like_fp32(logits: Array) -> tuple[float, float]:
    """How close int8 logits are to the fp32 ones: agreement on the first class, correlation of what differs between images."""
    exact = as_written(build_onnx(expand(DESIGN), lively(), None), images(IMAGES, 2000))
    assert len(set(exact.argmax(1))) > DESIGN.classes / 2, "a network that always says the same agrees with anything"
    apart = [(each - each.mean(axis=0)).ravel() for each in (exact, logits)]
    return float((exact.argmax(1) == logits.argmax(1)).mean()), float(np.corrcoef(*apart)[0, 1])


ENDS = st.floats(-1e30, 1e30).filter(lambda end: end == 0 or abs(end) > 1e-30)


@given(ENDS, ENDS)
@example(-1.0, 1.0)
@example(0.5, 6.0)
@example(-3.0, -1.0)
def test_a_map_is_spanned_by_256_values_one_of_which_is_zero(one: float, other: float) -> None:
    assume(one or other)
    scale, zero_point = map_scale(min(one, other), max(one, other))
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    least, most = ((float(q) - float(zero_point)) * float(scale) for q in (-128, 127))
    assert scale.dtype == np.float32 and zero_point.dtype == np.int8
    assert float(scale) == pytest.approx((high - low) / 255, rel=1e-6)
    assert abs(least - low) <= 0.5001 * scale and abs(most - high) <= 0.5001 * scale
    assert least <= 0 <= most


@pytest.mark.parametrize(
    ("ends", "scale", "zero_point"),
    [((0, 6), 6 / 255, -128), ((-1, 1), 2 / 255, 0), ((-6, 0), 6 / 255, 127), ((0, 0), 1, -128), ((0, 1e-45), 1, -128)],
)
def test_known_ranges_have_known_scales(ends: Range, scale: float, zero_point: int) -> None:
    found = map_scale(*ends)
    assert float(found[0]) == pytest.approx(scale, rel=1e-6) and abs(int(found[1]) - zero_point) <= (ends == (-1, 1))


def dequantized(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    """(q − zero point) · scale, along the first axis."""
    whole, scale, zero = (arrays[f"{name}{part}"].astype(np.float64) for part in ("", ".scale", ".zero_point"))
    along = (-1, *[1] * (whole.ndim - 1)) if scale.ndim else ()
    return (whole - zero.reshape(along)) * scale.reshape(along)


def test_weights_and_biases_are_the_folded_ones_within_half_a_step() -> None:
    layers, weights = expand(DESIGN), lively()
    arrays = quantized(layers, weights, calibrated())
    for layer in (layer for layer in layers if layer.weight_shape):
        for part, exact in zip(("weight", "bias"), folded(layer, weights), strict=True):
            scale = arrays[f"{layer.name}.{part}.scale"].reshape(-1, *[1] * (exact.ndim - 1))
            assert (abs(dequantized(arrays, f"{layer.name}.{part}") - exact) <= 0.5001 * scale + 1e-6 * abs(exact)).all()
        by_channel = abs(arrays[f"{layer.name}.weight"].astype(int)).reshape(layer.out_channels, -1)
        assert (by_channel.max(axis=1) == 127).all(), "every channel uses its whole range"
        product = arrays[f"{layer.name}.weight.scale"] * arrays[f"{layer.inputs[0]}.scale"]
        np.testing.assert_allclose(arrays[f"{layer.name}.bias.scale"], product, rtol=1e-6)


def test_padded_channels_are_zero_and_the_others_stay() -> None:
    layers, weights = expand(DESIGN), lively()
    deployed = pad_channels(layers, multiples_of(16, layers))
    plain, wide = quantized(layers, weights, calibrated()), quantized(deployed, padded(weights, deployed), calibrated())
    for name, array in plain.items():
        inside = tuple(map(slice, array.shape))
        np.testing.assert_array_equal(wide[name][inside], array)
        if not name.endswith("scale"):
            assert np.count_nonzero(wide[name]) == np.count_nonzero(array)
        assert (wide[name] > 0).all() or not name.endswith("scale")


def one_convolution(weight: float, bias: float, inputs: int = 64) -> tuple[tuple[Layer, ...], Weights]:
    """One pointwise convolution of four channels, all of one weight and bias, whose mean is the logits."""
    convolution = replace(image(8), out_channels=inputs).conv("a", 4, bias=True, activation="relu6")
    pool = convolution.global_pool("b")
    rows = (convolution, pool, pool.linear("c", 4))
    arrays = {"a.weight": np.full((4, inputs, 1, 1), weight), "a.bias": np.full(4, bias)}
    arrays |= {"c.weight": np.eye(4), "c.bias": np.zeros(4)}
    return rows, Weights({name: array.astype(np.float32) for name, array in arrays.items()})


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("bias", [3.0, 0.0])
@pytest.mark.parametrize("weight", [0.0, *(10.0**-n for n in (3, 4, 5, 6, 7, 8, 12, 20, 30, 37, 38, 44))])
def test_a_bias_beside_tiny_weights_does_not_overflow(weight: float, bias: float, runtime: str) -> None:
    """The bias is a whole number at a scale as tiny as the weights', and the runtime adds to it in 32 bits."""
    rows, weights = one_convolution(weight, bias)
    model = build_onnx(rows, weights, ranges={"image": (0, 1), "a": (0, 6), "b": (0, 6)})
    logits = load(runtime).open(model, "int8", 1).outputs(np.ones((1, 64, 8, 8), np.float32))["logits"]
    np.testing.assert_allclose(logits, bias + 64 * weight, atol=2.1 * 6 / 255)


def quantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """ONNX QuantizeLinear: round half to even, saturate."""
    return torch.clamp(torch.round(x / scale) + zero_point, -128, 127)


def reference_row(layer: Layer, arrays: Mapping[str, NDArray[Any]], whole: torch.Tensor) -> torch.Tensor:
    """What one row of the int8 network makes of the 8-bit map before it, in real numbers, in float64."""
    scale, zero_point = (float(arrays[f"{layer.inputs[0]}.{part}"]) for part in ("scale", "zero_point"))
    x = (whole.double() - zero_point) * scale
    if layer.op == "global_pool":
        return x.mean((2, 3), keepdim=True)
    weight, bias = (torch.from_numpy(dequantized(arrays, f"{layer.name}.{part}")) for part in ("weight", "bias"))
    if layer.op == "linear":
        return x.flatten(1) @ weight.T + bias
    top, left, bottom, right = layer.pads
    return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, bias, layer.stride, groups=layer.groups)


def test_the_graph_is_the_quantized_network() -> None:
    """Every 8-bit map that onnxruntime makes is what torch makes of the one before it: at most a rounding apart."""
    layers, names = expand(DESIGN), map_names(expand(DESIGN))
    arrays = quantized(layers, lively(), calibrated())
    model = onnx.load_from_string(int8_file())
    for name in names:
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}.quantized", onnx.TensorProto.INT8, None))
    batch = images(8, 2000)
    outputs = ["logits", *(f"{name}.quantized" for name in names)]
    logits, *found = session_of(model.SerializeToString()).run(outputs, {"image": batch})
    maps = {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}
    real = {"image": torch.from_numpy(batch).double()}
    real |= {layer.name: reference_row(layer, arrays, maps[layer.inputs[0]]) for layer in layers}
    for name in names:
        apart = abs(quantize(real[name], float(arrays[f"{name}.scale"]), int(arrays[f"{name}.zero_point"])) - maps[name])
        assert apart.max() <= 1 and apart.mean() < 1e-3
        assert len(np.unique(maps[name])) > 50, "a map with nothing in it agrees with anything"
    np.testing.assert_allclose(logits, real["classifier"], rtol=1e-5, atol=1e-5)


def test_int8_answers_are_near_the_fp32_ones() -> None:
    agreement, correlation = like_fp32(as_written(int8_file(), images(IMAGES, 2000)))
    assert agreement >= 0.85 and correlation >= 0.97


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """The images of `calibrated`, for onnxruntime's quantizer."""

    def __init__(self) -> None:
        self.batches: Iterator[dict[str, Array]] = iter([{"image": images(1, seed)} for seed in range(1000, 1040)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.batches, None)


def test_int8_is_as_good_as_onnxruntimes_own_quantizer_makes_it(tmp_path: Path) -> None:
    (tmp_path / "fp32.onnx").write_bytes(build_onnx(expand(DESIGN), lively(), None))
    signed = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8, "per_channel": True}
    quantize_static(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", Reader(), **signed)
    theirs = like_fp32(as_written(tmp_path / "int8.onnx", images(IMAGES, 2000)))
    ours = like_fp32(as_written(int8_file(), images(IMAGES, 2000)))
    assert ours[0] >= theirs[0] - 0.04 and ours[1] >= theirs[1] - 0.005


@pytest.mark.parametrize("weight_bits", [7, pytest.param(8, marks=saturates)])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_answers_as_the_file_says(runtime: str, weight_bits: int) -> None:
    """With weights of 7 bits on every processor; with 8 on those whose sums do not saturate."""
    batch, layers = images(IMAGES, 2000), expand(DESIGN)
    file = build_onnx(layers, lively(), IMAGES, calibrated(), weight_bits=weight_bits)
    fused = load(runtime).open(file, "int8", 1).outputs(batch)["logits"]
    written = as_written(build_onnx(layers, lively(), None, calibrated(), weight_bits=weight_bits), batch)
    assert (fused.argmax(1) == written.argmax(1)).mean() >= 0.95


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_padding_changes_no_int8_answer(runtime: str) -> None:
    batch = images(IMAGES, 2000)
    plain, wide = (load(runtime).open(int8_file(IMAGES, k), "int8", 1).outputs(batch)["logits"].argmax(1) for k in (1, 16))
    assert len(set(plain)) > DESIGN.classes / 2
    assert (plain == wide).mean() >= 0.99


@pytest.mark.parametrize("k", [1, 16])
def test_onnxruntime_runs_every_convolution_in_int8(tmp_path: Path, k: int) -> None:
    session_of(int8_file(1, k), tmp_path / "optimized.onnx")
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("QLinearConv") == 27 and kinds.count("QGemm") == kinds.count("QLinearGlobalAveragePool") == 1
    assert kinds.count("QuantizeLinear") == 1 and not {"Conv", "FusedConv", "DequantizeLinear", "Gemm"} & set(kinds)


@pytest.mark.parametrize("activation", ["relu6", "relu"])
def test_the_file_is_valid_and_leaves_clipping_to_the_quantization(activation: str) -> None:
    layers = expand(Design.of(0.3, 32, classes=10, activation=activation))
    model = onnx.load_from_string(build_onnx(layers, random_weights(layers), ranges=assumed_ranges(layers)))
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Conv", "GlobalAveragePool", "Flatten", "Gemm", "QuantizeLinear", "DequantizeLinear"}


def test_a_symbolic_batch_takes_any_number_of_images() -> None:
    batch = images(3, 0)
    one_by_one = [as_written(int8_file(1), image[None]) for image in batch]
    np.testing.assert_allclose(as_written(int8_file(), batch), np.concatenate(one_by_one), rtol=1e-5, atol=1e-5)
    assert onnx.load_from_string(int8_file()).graph.input[0].type.tensor_type.shape.dim[0].dim_param


def properties(model: bytes) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}


def test_the_file_says_on_what_its_ranges_were_measured() -> None:
    layers = expand(DESIGN)
    on_pictures = build_onnx(layers, lively(), ranges=calibrated(), calibration="12 images")
    assert properties(int8_file()) == {"calibration": SYNTHETIC}
    assert properties(on_pictures) == {"calibration": "12 images"}
    assert properties(build_onnx(layers, lively())) == {}


@pytest.mark.parametrize("end", [None, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["image", "depthwise7", "pool"])
def test_a_map_without_a_range_is_named(name: str, end: float | None) -> None:
    kept = {other: range_ for other, range_ in calibrated().items() if other != name}
    with pytest.raises(MnsweepError, match=f"calibration: feature map {name} .*") as caught:
        build_onnx(expand(DESIGN), lively(), ranges=kept if end is None else kept | {name: (0.0, end)})
    assert "\n" not in str(caught.value)


def test_assumed_ranges_cover_every_map() -> None:
    layers = expand(DESIGN)
    assumed = assumed_ranges(layers)
    assert list(assumed) == map_names(layers)
    assert assumed["image"] == (-1, 1) and set(list(assumed.values())[1:]) == {(0, 6)}
