"""One network, three ways to run it: our ONNX graph, our torch module, and torch's own exporters."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.torch_net import Conv, TorchNet, from_torch, to_torch
from mnsweep.graph.weights import Array, Weights, folded, random_weights

PAPER_DESIGNS = [Design.of(alpha, resolution) for alpha in (0.25, 0.5, 0.75, 1.0) for resolution in (128, 160, 192, 224)]
SMALL_DESIGNS = st.builds(
    Design.of,
    st.floats(0.01, 0.5),
    st.integers(32, 100),
    variant=st.sampled_from(["mobilenet", "conv-bias"]),
    classes=st.integers(1, 12),
    width_rule=st.sampled_from(["paper", "round8"]),
    conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
    activation=st.sampled_from(["relu6", "relu"]),
)
ODD_KERAS = Design.of(0.35, 75, classes=10, conv_padding="keras", activation="relu")
TINY = Design.of(0.25, 40, classes=5)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks on many threads mostly wait for each other, all the more beside another job."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def image_of(design: Design, batch: int = 1) -> Array:
    """Preprocessed pixels: uniform in [-1, 1]."""
    shape = (batch, 3, design.resolution, design.resolution)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def run_onnx(model: bytes | Path, image: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: image})
    return np.asarray(logits, np.float32)


def run_torch(net: nn.Module, image: NDArray[Any]) -> NDArray[Any]:
    with torch.inference_mode():
        logits: torch.Tensor = net(torch.from_numpy(image))
    return logits.numpy()


def batch_norm(x: torch.Tensor, arrays: Mapping[str, torch.Tensor], name: str, epsilon: float) -> torch.Tensor:
    mean, variance, scale, shift = (arrays[f"{name}.{part}"] for part in ("mean", "variance", "scale", "shift"))
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def textbook(design: Design, weights: Weights, image: Array) -> NDArray[Any]:
    """The network as the paper's text has it, without rows: 13 blocks of depthwise and pointwise convolution."""
    arrays = {name: torch.from_numpy(array).double() for name, array in weights.arrays.items()}
    activation: Callable[[torch.Tensor], torch.Tensor] = {"relu6": functional.relu6, "relu": functional.relu}[design.activation]

    def pad(x: torch.Tensor, stride: int, stem: bool = False) -> torch.Tensor:
        even = x.shape[-1] % 2 == 0
        one_sided = stride == 2 and {"keras": even or not stem, "same": even, "symmetric": False}[design.conv_padding]
        return functional.pad(x, (0, 1, 0, 1) if one_sided else (1, 1, 1, 1))

    def convolve(x: torch.Tensor, name: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        x = functional.conv2d(x, arrays[f"{name}.weight"], arrays.get(f"{name}.bias"), stride, groups=groups)
        return activation(batch_norm(x, arrays, name, weights.epsilon))

    x = convolve(pad(torch.from_numpy(image).double(), 2, stem=True), "stem", 2)
    for i in range(1, 14):
        stride = 2 if i in (2, 4, 6, 12) else 1
        x = convolve(pad(x, stride), f"depthwise{i}", stride, x.shape[1])
        x = convolve(x, f"pointwise{i}")
    return functional.linear(x.mean((2, 3)), arrays["classifier.weight"], arrays["classifier.bias"]).numpy()


STATISTICS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "variance": lambda rng, n: 10 ** rng.uniform(-4, 1, n),  # some no larger than epsilon
    "scale": lambda rng, n: rng.uniform(-0.3, 0.3, n),
    "mean": lambda rng, n: rng.normal(0, 1, n),
    "shift": lambda rng, n: rng.normal(0.5, 1, n),
}


def as_trained(layers: Sequence[Layer], epsilon: float) -> Weights:
    """Weights whose batch-norm statistics are as far from 1 and 0 as training leaves them."""
    arrays, rng = dict(random_weights(layers).arrays), np.random.default_rng(7)
    for name, array in arrays.items():
        if draw := STATISTICS.get(name.rpartition(".")[2]):
            arrays[name] = draw(rng, array.size).astype(np.float32)
    return Weights(arrays, epsilon)


def logits_apart(design: Design) -> float:
    """The largest difference between the ONNX graph's and the torch module's logits."""
    layers, image = expand(design), image_of(design)
    weights = random_weights(layers)
    logits = run_onnx(build_onnx(layers, weights), image)
    assert logits.shape == (1, design.classes)
    assert logits.any()
    return float(abs(logits - run_torch(to_torch(layers, weights), image)).max())


@pytest.mark.parametrize("design", PAPER_DESIGNS, ids=lambda d: f"{d.alpha}-{d.resolution}")
def test_the_graph_computes_what_the_module_computes(design: Design) -> None:
    assert logits_apart(design) <= 1e-4


@given(SMALL_DESIGNS)
@example(ODD_KERAS)
@settings(max_examples=30, deadline=None)
def test_the_graph_computes_what_the_module_computes_for_any_design(design: Design) -> None:
    assert logits_apart(design) <= 1e-4


@given(SMALL_DESIGNS, st.sampled_from([1e-3, 1e-5]))
@example(ODD_KERAS, 1e-5)
@settings(max_examples=20, deadline=None)
def test_the_module_is_the_textbooks_network(design: Design, epsilon: float) -> None:
    layers, image = expand(design), image_of(design)
    weights = as_trained(layers, epsilon)
    found = run_torch(to_torch(layers, weights).double(), image.astype(np.float64))  # such weights grow to 1e8 and cancel
    wanted = textbook(design, weights, image)
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)`:FutureWarning")
@pytest.mark.filterwarnings("ignore:Constant folding - Only steps=1:UserWarning")
@pytest.mark.parametrize(
    ("design", "dynamo"),
    [(TINY, True), (TINY, False), (ODD_KERAS, False)],  # the new exporter takes half a minute
    ids=["same, new exporter", "same, legacy exporter", "keras, legacy exporter"],
)
def test_our_graph_computes_what_torchs_exporters_write(design: Design, dynamo: bool, tmp_path: Path) -> None:
    layers, image = expand(design), image_of(design)
    weights = random_weights(layers)
    file = tmp_path / "torch.onnx"
    torch.onnx.export(to_torch(layers, weights), (torch.from_numpy(image),), file, dynamo=dynamo, verbose=False)
    np.testing.assert_allclose(run_onnx(build_onnx(layers, weights), image), run_onnx(file, image), rtol=0, atol=1e-5)


def test_a_symbolic_batch_takes_any_number_of_images() -> None:
    layers, images = expand(TINY), image_of(TINY, 3)
    model = build_onnx(layers, random_weights(layers), batch=None)
    together = run_onnx(model, images)
    assert together.shape == (3, 5)
    for image, logits in zip(images, together, strict=True):
        np.testing.assert_allclose(run_onnx(model, image[None])[0], logits, atol=1e-5)
    assert abs(together[0] - together[1]).max() > 1e-3, "different images have different logits"


def test_a_batch_of_three_is_three_images_at_once() -> None:
    layers, images = expand(TINY), image_of(TINY, 3)
    weights = random_weights(layers)
    logits = run_onnx(build_onnx(layers, weights, batch=3), images)
    np.testing.assert_allclose(logits, run_torch(to_torch(layers, weights), images), atol=1e-4)


@pytest.mark.parametrize(("batch", "dimension"), [(1, 1), (3, 3), (None, "batch")])
def test_inputs_and_outputs_are_as_stated(batch: int | None, dimension: int | str) -> None:
    layers = expand(TINY)
    graph = onnx.load_from_string(build_onnx(layers, random_weights(layers), batch)).graph

    def shape(value: onnx.ValueInfoProto) -> list[int | str]:
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    assert {value.name: shape(value) for value in graph.input} == {"image": [dimension, 3, 40, 40]}
    assert {value.name: shape(value) for value in graph.output} == {"logits": [dimension, 5]}


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5])
@pytest.mark.parametrize("kind", ["stem", "depthwise", "pointwise"])
def test_folding_against_torchs_batch_norm_in_float64(kind: str, epsilon: float) -> None:
    layers = expand(TINY)
    layer = next(layer for layer in layers if layer.kind == kind)
    weights = as_trained(layers, epsilon)
    arrays = {name: torch.from_numpy(array).double() for name, array in weights.arrays.items()}
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(2, layer.in_channels, 9, 9)))
    convolved = functional.conv2d(x, arrays[f"{layer.name}.weight"], groups=layer.groups)
    expected = batch_norm(convolved, arrays, layer.name, epsilon)
    weight, bias = (torch.from_numpy(array).double() for array in folded(layer, weights))
    got = functional.conv2d(x, weight, bias, groups=layer.groups)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("epsilon", [1e-3, 1e-5])
def test_a_folded_graph_computes_what_torch_does_in_eval_mode(epsilon: float) -> None:
    layers, image = expand(TINY), image_of(TINY)
    weights = as_trained(layers, epsilon)
    expected = textbook(TINY, weights, image)
    assert abs(expected - textbook(TINY, Weights(weights.arrays, 1.1 * epsilon), image)).max() > 1e-2, "epsilon matters"
    np.testing.assert_allclose(run_onnx(build_onnx(layers, weights), image), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("design", [TINY, ODD_KERAS, Design.of(0.3, 33, conv_padding="symmetric")], ids=repr)
@pytest.mark.parametrize("batch", [1, None])
def test_the_file_passes_onnxs_full_check(design: Design, batch: int | None) -> None:
    layers = expand(design)
    model = onnx.load_from_string(build_onnx(layers, random_weights(layers), batch))
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.producer_name == "mnsweep"


def test_clip_bounds_are_constants_0_and_6() -> None:
    layers = expand(TINY)
    graph = onnx.load_from_string(build_onnx(layers, random_weights(layers))).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    bounds = [[constants[name].item() for name in node.input[1:]] for node in graph.node if node.op_type == "Clip"]
    assert bounds == [[0, 6]] * 27


def operators(design: Design) -> Counter[str]:
    layers = expand(design)
    return Counter(node.op_type for node in onnx.load_from_string(build_onnx(layers, random_weights(layers))).graph.node)


def test_the_graph_has_no_operators_but_these() -> None:
    assert operators(TINY) == {"Conv": 27, "Clip": 27, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert operators(ODD_KERAS) == {"Conv": 27, "Relu": 27, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


@given(SMALL_DESIGNS, st.sampled_from([1e-3, 1e-5]))
@settings(max_examples=20, deadline=None)
def test_weights_go_to_torch_and_come_back(design: Design, epsilon: float) -> None:
    layers = expand(design)
    weights = as_trained(layers, epsilon)
    back = from_torch(to_torch(layers, weights))
    assert back.epsilon == epsilon
    assert back.arrays.keys() == weights.arrays.keys()
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array, strict=True)


def test_a_module_of_its_own_weights_comes_back_as_the_same_graph() -> None:
    torch.manual_seed(3)
    layers, image = expand(TINY), image_of(TINY)
    net = TorchNet(layers, epsilon=1e-5)
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(16, 3, 40, 40))  # in training mode: moves the running statistics
    expected = run_torch(net.eval(), image)
    np.testing.assert_allclose(run_onnx(build_onnx(layers, from_torch(net)), image), expected, atol=1e-4)


def test_a_module_and_its_weights_share_no_memory() -> None:
    layers = expand(TINY)
    weights = random_weights(layers)
    net = to_torch(layers, weights)
    taken = from_torch(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert weights.arrays["stem.weight"].any()
    assert taken.arrays["stem.weight"].any()


def test_a_module_for_use_is_in_eval_mode_and_one_for_training_is_not() -> None:
    layers = expand(TINY)
    assert not to_torch(layers, random_weights(layers)).training
    assert TorchNet(layers).training


BUILDERS = [build_onnx, to_torch]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("name", ["stem.weight", "depthwise3.variance", "pointwise13.shift", "classifier.bias"])
def test_a_missing_array_is_named(name: str, build: Callable[[Sequence[Layer], Weights], object]) -> None:
    layers = expand(TINY)
    arrays = dict(random_weights(layers).arrays)
    del arrays[name]
    with pytest.raises(MnsweepError, match=f"{name} is missing"):
        build(layers, Weights(arrays))


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stem.weight", (8, 3, 3, 1)),
        ("depthwise1.weight", (8, 8, 3, 3)),
        ("pointwise1.weight", (16, 8)),
        ("depthwise1.mean", (1,)),
        ("classifier.weight", (256, 5)),
        ("classifier.bias", ()),
    ],
)
def test_a_misshapen_array_is_named(
    name: str, shape: tuple[int, ...], build: Callable[[Sequence[Layer], Weights], object]
) -> None:
    layers = expand(TINY)
    arrays = {**random_weights(layers).arrays, name: np.ones(shape, np.float32)}
    with pytest.raises(MnsweepError) as error:
        build(layers, Weights(arrays))
    assert name in str(error.value)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(("name", "size"), [("stem.bias", 8), ("depthwise14.weight", 9)])
def test_an_array_that_no_row_asks_for_changes_neither_graph_nor_module(name: str, size: int) -> None:
    layers, image = expand(TINY), image_of(TINY)
    weights = random_weights(layers)
    more = Weights({**weights.arrays, name: np.ones(size, np.float32)})
    expected = run_torch(to_torch(layers, weights), image)
    np.testing.assert_allclose(run_onnx(build_onnx(layers, more), image), expected, atol=1e-4)
    np.testing.assert_allclose(run_torch(to_torch(layers, more), image), expected, atol=1e-4)


def test_random_weights_are_their_seed() -> None:
    layers = expand(TINY)
    first, again, other = (build_onnx(layers, random_weights(layers, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert build_onnx(layers, random_weights(layers)) == build_onnx(layers, random_weights(layers, 0))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "design",
    [Design.of(1.0, 64), Design.of(0.25, 128), Design.of(0.1, 96), Design.of(2.0, 32), Design.of(0.35, 75, activation="relu")],
    ids=lambda d: f"{d.alpha}-{d.resolution}",
)
def test_activations_of_random_weights_stay_in_range_in_every_layer(design: Design, seed: int) -> None:
    layers = expand(design)
    net = to_torch(layers, random_weights(layers, seed))
    maps: list[torch.Tensor] = []
    for row in net.parts.values():
        row.register_forward_hook(lambda _module, _inputs, out: maps.append(out))
    run_torch(net, image_of(design))
    assert len(maps) == 29
    assert {1e-2 < float(each.std()) < 1e2 for each in maps} == {True}
    assert not any(denormals(each.numpy()) for each in maps)


def denormals(array: Array) -> int:
    return int(((array != 0) & (abs(array) < np.finfo(np.float32).tiny)).sum())


def test_no_weight_in_the_file_is_denormal() -> None:
    layers = expand(Design.of(0.5, 64))
    graph = onnx.load_from_string(build_onnx(layers, random_weights(layers))).graph
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
    assert len(arrays) == 2 + 2 * 28
    assert not any(map(denormals, arrays))
    assert all(np.isfinite(array).all() for array in arrays)


def test_only_uneven_padding_costs_a_layer_of_its_own() -> None:
    net = TorchNet(expand(Design.of(0.25, 200)))
    padded = [name for name, row in net.parts.items() if isinstance(row, Conv) and isinstance(row.pad, nn.ZeroPad2d)]
    assert padded == ["stem", "depthwise2", "depthwise4"]  # 200, 100 and 50 pixels are even, 25 and 13 odd
