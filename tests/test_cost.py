"""Counts: against published exact numbers, closed forms, torch, brute force and the files themselves."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from mnsweep.arch.cost import layer_mult_adds, layer_params, peak_activation_bytes, stored_params
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Design
from mnsweep.counting import Cost, cost, count
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import random_weights
from tests.families import MOBILENETS, NATIVE_RESOLUTION

PAPER_PARAMS = {1.0: 4_231_976, 0.75: 2_585_560, 0.5: 1_331_592, 0.25: 470_072}
PAPER_MULT_ADDS = {
    (1.0, 224): 568_740_352,
    (1.0, 192): 418_121_728,
    (1.0, 160): 290_675_200,
    (1.0, 128): 186_400_768,
    (0.75, 224): 325_400_448,
    (0.75, 192): 239_273_472,
    (0.75, 160): 166_396_800,
    (0.75, 128): 106_770_432,
    (0.5, 224): 149_497_088,
    (0.5, 192): 109_970_432,
    (0.5, 160): 76_524_800,
    (0.5, 128): 49_160_192,
    (0.25, 224): 41_030_272,
    (0.25, 192): 30_212_608,
    (0.25, 160): 21_059_200,
    (0.25, 128): 13_570_048,
}

ALPHAS = st.floats(0.01, 2) | st.integers(1, 200).map(lambda hundredths: hundredths / 100)


def designs(alphas: st.SearchStrategy[float] = ALPHAS, max_resolution: int = 1024) -> st.SearchStrategy[Design]:
    return st.builds(
        Design.of,
        alphas,
        st.integers(32, max_resolution),
        variant=st.sampled_from(MOBILENETS),
        task=st.sampled_from(["classify", "attributes", "embedding"]),
        classes=st.integers(1, 3000),
        width_rule=st.sampled_from(["paper", "round8"]),
        conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
        activation=st.sampled_from(["relu6", "relu"]),
    )


OTHERS = [Design.of(1.0, px, variant=name) for name, px in NATIVE_RESOLUTION.items()]
DETECTORS = [Design.of(1.0, 300, task="ssd"), *(Design.of(1.0, px, task="faster-rcnn") for px in (300, 600))]


def cost_of(design: Design) -> Cost:
    return cost(expand(design))


@pytest.mark.parametrize(("alpha", "resolution"), PAPER_MULT_ADDS)
def test_the_papers_designs_have_their_exact_counts(alpha: float, resolution: int) -> None:
    counted = cost_of(Design.of(alpha, resolution))
    assert (counted.params, counted.mult_adds) == (PAPER_PARAMS[alpha], PAPER_MULT_ADDS[alpha, resolution])


def test_the_papers_other_forms_have_its_counts() -> None:
    """Tables 4 and 5. Of full convolutions it prints 4866 M: without the 1.024 M of the classifier, which its 569 M has."""
    full, shallow = (cost_of(Design.of(1.0, 224, variant=variant)) for variant in ("full-conv", "shallow"))
    assert (full.params, full.mult_adds) == (29_294_088, 4_866_269_184 + 1_024_000)
    assert (round(shallow.params / 1e6, 1), round(shallow.mult_adds / 1e6)) == (2.9, 307)


@pytest.mark.parametrize(
    ("design", "mult_adds_b", "params_m"), zip(DETECTORS, (1.2, 25.2, 30.5), (6.8, 6.1, 6.1), strict=True), ids=repr
)
def test_detectors_have_the_counts_of_the_papers_table_13(design: Design, mult_adds_b: float, params_m: float) -> None:
    counted = cost_of(design)
    assert (round(counted.mult_adds / 1e9, 1), round(counted.params / 1e6, 1)) == (mult_adds_b, params_m)


@pytest.mark.parametrize(
    ("task", "classes"),
    [("dogs", 120), ("planet", 26_263), ("attributes", 40), ("embedding", 128)],
)
def test_a_head_adds_its_linear_layer_to_the_body(task: str, classes: int) -> None:
    body_params, body_mult_adds = 4_231_976 - 1_025_000, 568_740_352 - 1_024_000
    counted = cost_of(Design.of(1.0, 224, task=task))
    assert (counted.params, counted.mult_adds) == (body_params + 1025 * classes, body_mult_adds + 1024 * classes)


def test_visual_wake_words_is_what_mlperf_tiny_has() -> None:
    """Its Keras model prints 221,794 params, of which 5,472 (means and variances of 2,736 channels) can't be trained."""
    rows = expand(Design.of(0.25, 96, variant="conv-bias", classes=2, activation="relu"))
    assert (cost(rows).mult_adds, stored_params(rows), cost(rows).params) == (7_489_664, 221_794, 221_794 - 5_472)
    assert sum(layer.out_channels for layer in rows if layer.batch_norm) == 2_736


@pytest.mark.parametrize(
    ("kind", "mult_adds_pct", "params_pct"),
    [("pointwise", 94.86, 74.59), ("depthwise", 3.06, 1.06), ("stem", 1.91, 0.02), ("head", 0.18, 24.33)],
)
def test_shares_are_the_papers_table_2(kind: str, mult_adds_pct: float, params_pct: float) -> None:
    # The paper counts weights alone here, and misprints the stem's 1.91 % as 1.19 %.
    rows = expand(Design.of(1.0, 224))
    mult_adds = {layer: layer_mult_adds(layer) for layer in rows}
    weights = {layer: layer_params(layer) - layer.out_channels * (layer.bias + 2 * layer.batch_norm) for layer in rows}
    for counts, pct in ((mult_adds, mult_adds_pct), (weights, params_pct)):
        share = sum(n for layer, n in counts.items() if layer.kind == kind) / sum(counts.values())
        assert round(100 * share, 2) == pct


STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
WIDTHS = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]


def closed_form(alpha: float, resolution: int, classes: int, keras: bool) -> tuple[int, int]:
    """Params and mult-adds of the paper's network: sums over blocks of C, C·C' and map sizes."""
    width = [max(1 if keras else 8, int(alpha * w)) for w in WIDTHS]
    pairs = list(pairwise(width))
    params = 27 * width[0] + 2 * width[0] + sum(9 * c + 2 * c + c * d + 2 * d for c, d in pairs) + (width[-1] + 1) * classes
    size = (resolution + 1) // 2
    up = 0 if keras else 1  # Keras rounds an odd map down after the stem
    mult_adds = 27 * width[0] * size**2 + width[-1] * classes
    for (c, d), stride in zip(pairs, STRIDES, strict=True):
        size = (size + up) // 2 if stride == 2 else size
        mult_adds += (9 * c + c * d) * size**2
    return params, mult_adds


@given(ALPHAS, st.integers(32, 1024), st.integers(1, 3000), st.sampled_from(["same", "keras", "symmetric"]))
@settings(max_examples=100, deadline=None)
def test_counts_are_the_closed_forms(alpha: float, resolution: int, classes: int, conv_padding: str) -> None:
    counted = cost_of(Design.of(alpha, resolution, classes=classes, conv_padding=conv_padding))
    assert (counted.params, counted.mult_adds) == closed_form(alpha, resolution, classes, conv_padding == "keras")


def torch_counts(design: Design) -> tuple[int, int]:
    """Params and mult-adds of the torch module, the latter seen by hooks while an image runs through."""
    layers = expand(design)
    net = to_torch(layers, random_weights(layers))
    mult_adds = 0

    def add(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal mult_adds
        pixels = out.shape[2] * out.shape[3] if out.ndim == 4 else 1
        mult_adds += sum(p.numel() for name, p in module.named_parameters() if name == "weight") * pixels

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    with torch.inference_mode():
        net(torch.zeros(1, 3, design.resolution, design.resolution))
    return sum(p.numel() for p in net.parameters()), mult_adds


@pytest.mark.parametrize(
    "design",
    [
        Design.of(1.0, 224),
        Design.of(0.25, 128),
        Design.of(0.35, 33, classes=7, width_rule="round8"),
        Design.of(0.6, 200, conv_padding="keras", activation="relu"),
        Design.of(0.1, 75, conv_padding="symmetric"),
        Design.of(0.2, 96, variant="full-conv", task="attributes"),
        Design.of(0.3, 64, variant="shallow", task="embedding"),
        Design.of(0.25, 96, variant="conv-bias", classes=2),
        Design.of(1.0, 299, variant="inception-v3", classes=10),
        Design.of(1.0, 227, variant="squeezenet", classes=10),
    ],
    ids=repr,
)
def test_counts_are_those_that_torch_sees(design: Design) -> None:
    counted = cost_of(design)
    assert (counted.params, counted.mult_adds) == torch_counts(design)


@given(designs())
@example(Design.of(0.5, 127))
@example(Design.of(0.5, 128))
@settings(max_examples=100, deadline=None)
def test_the_fast_path_equals_the_rows(design: Design) -> None:
    assert list(count([design])) == [cost_of(design)]


@given(st.lists(designs(), max_size=8))
@settings(max_examples=30, deadline=None)
def test_the_fast_path_keeps_the_order(asked: list[Design]) -> None:
    assert list(count(asked)) == [cost_of(design) for design in asked]


@given(designs(st.floats(0.01, 0.6), max_resolution=300))
@example(Design.of(1.0, 224))
@example(Design.of(2.0, 224, classes=10_000))
@example(Design.of(0.01, 127, classes=127))
@example(Design.of(0.01, 128, classes=128))
@settings(max_examples=40, deadline=None)
def test_onnx_bytes_is_the_size_of_the_file(design: Design) -> None:
    layers = expand(design)
    assert cost(layers).onnx_bytes == len(build_onnx(layers, random_weights(layers)))


def row(name: str, inputs: Sequence[str], channels: int, size: int) -> Layer:
    return Layer(name, "conv", tuple(inputs), in_channels=3, out_channels=channels, in_size=8, out_size=size)


def peak_by_lifetimes(layers: Sequence[Layer]) -> int:
    """Each map's first and last step, then the fullest step: the image is there from step 0."""
    lifetimes = [(0, "image", 4 * layers[0].in_channels * layers[0].in_size ** 2)]
    lifetimes += [(i, layer.name, 4 * layer.repeats * layer.out_channels * layer.out_size**2) for i, layer in enumerate(layers)]
    ends = [max([born, *(i for i, reader in enumerate(layers) if name in reader.inputs)]) for born, name, _ in lifetimes]
    return max(
        sum(size for (born, _, size), end in zip(lifetimes, ends, strict=True) if born <= step <= end)
        for step in range(len(layers))
    )


IMAGE = 4 * 3 * 8 * 8
BRANCHES = {
    "chain": ([row("a", ["image"], 1, 8), row("b", ["a"], 2, 8), row("c", ["b"], 1, 4)], IMAGE + 256),
    "residual": (
        [row("a", ["image"], 4, 8), row("b", ["a"], 4, 8), row("c", ["b"], 4, 8), row("sum", ["a", "c"], 4, 8)],
        3 * 1024,
    ),
    "two heads joined": (
        [row("a", ["image"], 1, 4), row("box", ["a"], 9, 4), row("score", ["a"], 30, 4), row("both", ["box", "score"], 39, 4)],
        4 * 16 * (9 + 30 + 39),
    ),
    "image read twice": ([row("a", ["image"], 2, 8), row("b", ["a", "image"], 2, 8)], IMAGE + 512 + 512),
    "skip over a fat map": ([row("a", ["image"], 1, 1), row("b", ["a"], 9, 8), row("c", ["b", "a"], 1, 1)], 4 + 9 * 256 + 4),
}


@pytest.mark.parametrize(("layers", "peak"), BRANCHES.values(), ids=BRANCHES)
def test_peak_memory_of_branches_by_hand(layers: list[Layer], peak: int) -> None:
    assert peak_activation_bytes(layers) == peak == peak_by_lifetimes(layers)


@st.composite
def graphs(draw: st.DrawFn) -> list[Layer]:
    """Rows that each read one to three earlier maps, at random; the last reads whatever nobody has read."""
    layers = [row("0", ["image"], draw(st.integers(1, 9)), draw(st.integers(1, 9)))]
    for i in range(1, draw(st.integers(2, 12))):
        earlier = st.sampled_from(["image", *(layer.name for layer in layers)])
        inputs = draw(st.lists(earlier, min_size=1, max_size=3, unique=True))
        layers.append(row(str(i), inputs, draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    unread = {layer.name for layer in layers} - {name for layer in layers for name in layer.inputs}
    return [*layers, row("last", sorted(unread), 1, 1)]


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_peak_memory_of_any_graph_by_lifetimes(layers: list[Layer]) -> None:
    assert peak_activation_bytes(layers) == peak_by_lifetimes(layers)


def test_peak_memory_of_the_full_network_is_the_first_pointwise_layer() -> None:
    assert cost_of(Design.of(1.0, 224)).peak_activation_bytes == 4 * 112**2 * (32 + 64)


@given(designs())
@settings(max_examples=50, deadline=None)
def test_peak_memory_of_a_design_by_lifetimes(design: Design) -> None:
    assert cost_of(design).peak_activation_bytes == peak_by_lifetimes(expand(design))


@pytest.mark.parametrize("design", [*OTHERS, *DETECTORS], ids=repr)
def test_peak_memory_of_a_graph_of_layers_by_lifetimes(design: Design) -> None:
    assert next(count([design])).peak_activation_bytes == peak_by_lifetimes(expand(design))


def test_peak_memory_of_branches_is_what_is_read_and_all_that_waits() -> None:
    """GoogLeNet is fullest where it normalizes its map of 192 × 56²: as large before as after."""
    maps = {layer.name: layer.out_channels * layer.out_size**2 for layer in expand(Design.of(1.0, 224, variant="googlenet"))}
    assert cost_of(Design.of(1.0, 224, variant="googlenet")).peak_activation_bytes == 4 * (maps["conv3"] + maps["norm2"])
    assert maps["conv3"] == maps["norm2"] == 192 * 56**2


def test_peak_memory_of_faster_rcnn_is_its_crops_and_what_they_become() -> None:
    crops, strided = 300 * 512 * 14**2, 300 * 512 * 7**2
    assert cost_of(Design.of(1.0, 300, task="faster-rcnn")).peak_activation_bytes == 4 * (crops + strided + 300 * 4)
