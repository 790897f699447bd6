"""Channels and sizes of a MobileNet, apart, against the layers of each design; channels that cells are deployed with."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnsweep.arch.channel_padding import NARROW, WIDE, multiples_of
from mnsweep.arch.deployed import deployed_channels
from mnsweep.arch.expand import expand
from mnsweep.arch.factors import factors, layers_of_width, sizes_of, width_of
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.prediction.features import work
from mnsweep.prediction.terms import TERMS
from tests.families import DETECTION, MOBILENETS, NATIVE_RESOLUTION, TASK_CLASSES

DESIGNS = st.builds(
    Design.of,
    st.floats(0.01, 2),
    st.integers(32, 1024),
    variant=st.sampled_from(MOBILENETS),
    task=st.sampled_from([task for task in TASK_CLASSES if task not in DETECTION]),
    classes=st.integers(1, 2000) | st.none(),
    width_rule=st.sampled_from(["paper", "round8"]),
    conv_padding=st.sampled_from(["same", "keras", "symmetric"]),
    activation=st.sampled_from(["relu6", "relu"]),
)


@given(DESIGNS)
@settings(max_examples=80)
def test_every_layer_has_the_channels_of_its_width_and_the_pixels_of_its_size(design: Design) -> None:
    assert factors(design)
    layers, of_width, sizes = expand(design), layers_of_width(width_of(design)), sizes_of(design)
    resized = {"in_size": 0, "out_size": 0, "kernel": (0, 0), "pads": (0, 0, 0, 0)}
    assert [replace(layer, **resized) for layer in layers] == [  # type: ignore[arg-type]
        replace(layer, **resized)  # type: ignore[arg-type]
        for layer in of_width
    ]
    assert [layer.weight_shape for layer in layers] == [layer.weight_shape for layer in of_width]
    assert sizes.read == tuple(layer.in_size**2 for layer in layers)
    assert sizes.written == tuple(layer.out_size**2 for layer in layers)


def test_what_has_branches_or_boxes_does_not_factor() -> None:
    assert not any(factors(Design.of(variant=variant)) for variant in NATIVE_RESOLUTION)
    assert not any(factors(Design.of(1.0, 300, task=task)) for task in DETECTION)


@given(st.lists(DESIGNS.filter(lambda design: design.variant != "full-conv"), min_size=1, max_size=5))
def test_work_of_networks_of_different_depth_is_that_of_their_layers(designs: list[Design]) -> None:
    rows = work([Cell(design) for design in designs], [{}] * len(designs))
    for design, row in zip(designs, rows, strict=True):
        layers = [layer for layer in expand(design) if layer.weights]
        for kind in ("stem", "depthwise", "pointwise", "head"):
            mult_adds = sum(layer.weights * layer.out_size**2 for layer in layers if layer.kind == kind)
            assert row[TERMS.index(kind)] == mult_adds
        assert row[TERMS.index("weights")] == 4 * sum(layer.weights for layer in layers)


CHAIN_MS = {count: float(count) * (1 if count % 8 == 0 else 3) for count in (*NARROW, *WIDE)}


@given(DESIGNS, st.sampled_from(["none", "8", "16", "auto"]))
def test_deployed_channels_are_those_of_the_padding(design: Design, pad: str) -> None:
    cell = Cell(design, Deployment(pad=pad))
    probes = {("onnxruntime", "fp32"): CHAIN_MS}
    (channels,) = deployed_channels([cell], {}, probes).values()
    expected = multiples_of({"none": 1, "auto": 8}.get(pad) or int(pad), expand(design))
    assert set(channels.items()) <= set(expected.items()) if pad == "auto" else channels == expected
    assert deployed_channels([cell], {cell.id: {1: 2}}, probes) == {cell.id: {1: 2}}


def test_auto_that_no_probe_tells_of_is_left_out_and_one_width_is_looked_up_once() -> None:
    designs = [Design.of(0.3, px) for px in (32, 64)]
    cells = [Cell(d, Deployment(runtime=r, pad=p)) for d in designs for r in ("onnxruntime", "openvino") for p in ("auto", "8")]
    channels = deployed_channels(cells, {}, {("openvino", "fp32"): CHAIN_MS})
    assert [cell.id for cell in cells if cell.id not in channels] == ["a0.3_r32", "a0.3_r64"]
    assert channels["a0.3_r32_p8"] is channels["a0.3_r64_p8"]
    assert channels["a0.3_r32_p8"] == {9: 16, 19: 24, 38: 40, 76: 80, 153: 160, 307: 312}


def test_deployed_channels_need_numbers_only() -> None:
    heavy = ("numpy", "onnx", "PIL", "mnsweep.worker", "mnsweep.graph")
    code = f"import sys, mnsweep.arch.deployed; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_work_keeps_its_bits_whatever_stands_beside() -> None:
    cells = [Cell(Design.of(0.5, px, variant=variant)) for px in (96, 128) for variant in ("mobilenet", "shallow", "conv-bias")]
    together = work(cells, [{}] * len(cells))
    assert np.array_equal(together, np.concatenate([work([cell], [{}]) for cell in cells]))
    with pytest.raises(KeyError, match="conv"):  # a kind that no term is about
        work([Cell(Design.of(0.5, 96, variant="full-conv"))], [{}])
