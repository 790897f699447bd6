"""Heads without boxes: what the outputs are, on a body that stays what it is."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnsweep.arch.channel_padding import multiples_of, pad_channels
from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.counting import cost
from mnsweep.graph.onnx_file import build_onnx, build_open_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import padded, random_weights
from mnsweep.worker.ranges import ranges
from mnsweep.worker.runtimes import load
from tests.families import MOBILENETS, TASK_CLASSES
from tests.test_build import image_of, one_thread, run_onnx, run_torch
from tests.test_cost import ALPHAS

__all__ = ["one_thread"]  # a fixture
OUTPUTS = {"classify": "logits", "dogs": "logits", "planet": "logits", "attributes": "probabilities", "embedding": "embedding"}
TASKS = pytest.mark.parametrize("task", OUTPUTS)


@given(ALPHAS, st.integers(32, 1024), st.sampled_from(list(OUTPUTS)), st.sampled_from(MOBILENETS))
def test_a_head_changes_nothing_but_the_last_row(alpha: float, px: int, task: str, variant: str) -> None:
    plain, rows = expand(Design.of(alpha, px, variant=variant)), expand(Design.of(alpha, px, variant=variant, task=task))
    assert rows[:-1] == plain[:-1]
    assert rows[-1].weight_shape == (TASK_CLASSES[task], plain[-1].in_channels)
    assert rows[-1].bias


@TASKS
@pytest.mark.parametrize("pad", [1, 16])
def test_a_head_answers_alike_in_graph_and_module_padded_or_not(task: str, pad: int) -> None:
    design = Design.of(0.3, 64, task=task, classes=33)
    rows, weights, image = expand(design), random_weights(expand(design)), image_of(design)
    deployed = pad_channels(rows, multiples_of(pad, rows))
    answer = run_onnx(build_onnx(deployed, padded(weights, deployed)), image)
    np.testing.assert_allclose(answer, run_torch(to_torch(rows, weights), image), rtol=1e-3, atol=1e-4)


@TASKS
def test_the_output_is_named_after_what_it_is(task: str) -> None:
    design = Design.of(0.25, 64, task=task, classes=9)
    rows, weights, images = expand(design), random_weights(expand(design)), image_of(design, 3)
    model = build_onnx(rows, weights, batch=3)
    assert [value.name for value in onnx.load_from_string(model).graph.output] == [OUTPUTS[task]]
    answer = run_onnx(model, images)
    assert answer.shape == (3, 9)
    if task == "embedding":
        np.testing.assert_allclose((answer**2).sum(1), 1, rtol=1e-5)
    logits = run_onnx(build_onnx(expand(Design.of(0.25, 64, classes=9)), weights, batch=3), images)
    expected = {
        "attributes": 1 / (1 + np.exp(-logits)),
        "embedding": logits / np.sqrt((logits**2).sum(1, keepdims=True)),
    }.get(task, logits)
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


@TASKS
def test_a_head_stays_fp32_in_int8_and_its_file_has_the_size_that_is_counted(task: str) -> None:
    design = Design.of(0.3, 64, task=task, classes=9)
    rows, weights, image = expand(design), random_weights(expand(design)), image_of(design)
    exact = run_onnx(build_onnx(rows, weights), image)
    found = ranges(build_open_onnx(rows, weights), [image])
    file = build_onnx(rows, weights, ranges=found, weight_bits=7)
    assert len(file) == cost(rows, "int8").onnx_bytes
    assert len(build_onnx(rows, weights)) == cost(rows).onnx_bytes
    for runtime in ("onnxruntime", "openvino"):
        answer = load(runtime).open(file, "int8", 1).outputs(image)[OUTPUTS[task]]
        assert np.corrcoef(exact.ravel(), answer.ravel())[0, 1] > 0.98
