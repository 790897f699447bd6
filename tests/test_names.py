"""Tables of names: a task, a runtime or a variant is one row, and everything else follows."""

import re
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mnsweep.accuracy.metrics import metric_of
from mnsweep.arch.cost import layer_mult_adds, layer_params
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.choice.constraints import Constraints
from mnsweep.counting import cost, deployed_cost
from mnsweep.errors import MnsweepError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.weights import random_weights
from mnsweep.machine.facts import read_facts
from mnsweep.names import PRECISIONS, RUNTIMES, SETTINGS, TASKS, VARIANTS, Runtime, Task, Variant, choices, is_choice
from mnsweep.prediction.deployments import is_modelled
from mnsweep.prediction.features import work
from mnsweep.space import Space
from mnsweep.sweep.counts import count_table
from mnsweep.sweep.file import Sweep, parse_sweep, write_sweep
from mnsweep.worker.runtimes import offer
from tests.families import CLASSIFICATION, DETECTION, MOBILENETS, NATIVE_RESOLUTION, TASK_CLASSES

BIRDS = Task(name="birds", classes=200, metric="nabirds_top1", compares=True)
TAGS = Task(name="tags", classes=12, activation="sigmoid", metric="tags_mean_ap")
ABACUS = Runtime(
    name="abacus",
    implementation="no_such_module:Abacus",
    install="carve one",
    package="pytest",
    option="[a-z]+",
    compare_with="openvino",
    session={},
)
STUBBY = Variant(name="stubby", label="stubby MobileNet", blocks=((2, 48), (2, 96), (1, 96)), bias=True, predicted=True)
ONE_BY_ONE = Variant(
    name="one-by-one", label="One by One", notation="3x3x16/2 fire=[1x1x8 | 1x1x24] mean fc", native_resolution=64,
    batch_norm=False, bias=True, activation="relu",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "birds", BIRDS)
    monkeypatch.setitem(TASKS, "tags", TAGS)
    monkeypatch.setitem(RUNTIMES, "abacus", ABACUS)
    monkeypatch.setitem(VARIANTS, "stubby", STUBBY)
    monkeypatch.setitem(VARIANTS, "one-by-one", ONE_BY_ONE)


def cells() -> list[Cell]:
    return [
        Cell(Design.of(0.5, 64, task="birds")),
        Cell(Design.of(0.5, 64, variant="stubby"), Deployment("int8", "abacus:wooden", threads=2)),
        Cell(Design.of(0.5, 64, variant="stubby", task="tags", classes=3), Deployment(runtime="abacus")),
        Cell(Design.of(variant="one-by-one", task="birds")),
    ]


IDS = [
    "a0.5_r64_birds",
    "a0.5_r64_stubby_int8_abacus-wooden_t2",
    "a0.5_r64_stubby_tags_c3_abacus",
    "a1.0_r64_one-by-one_birds",
]


def test_the_tables_hold_the_names_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert {name: task.classes for name, task in TASKS.items()} == TASK_CLASSES
    assert tuple(name for name, task in TASKS.items() if task.detects) == DETECTION
    assert tuple(name for name, task in TASKS.items() if task.compares) == CLASSIFICATION
    assert tuple(name for name, variant in VARIANTS.items() if not variant.compares) == MOBILENETS
    assert {name: v.native_resolution for name, v in VARIANTS.items() if v.compares} == NATIVE_RESOLUTION
    assert choices("runtime") == ("onnxruntime", "openvino", "litert") and choices("precision") == ("fp32", "bf16", "int8")
    assert [(p.file, p.quality_of, p.item_bytes, p.quantized) for p in PRECISIONS.values()] == [
        ("fp32", "fp32", 4, False),
        ("fp32", "fp32", 2, False),
        ("int8", "int8", 1, True),
    ]


@pytest.mark.parametrize("table", [TASKS, VARIANTS, RUNTIMES, PRECISIONS])
def test_a_row_is_found_by_its_own_name(table: dict[str, Task]) -> None:
    assert all(row.name == name for name, row in table.items())


def test_a_name_belongs_to_one_setting_and_is_safe_in_an_id() -> None:
    assert all(task.activation == "none" for task in TASKS.values() if task.compares), "these networks end at the logits"
    names = [name for setting in SETTINGS for name in choices(setting)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z0-9-]*", name) for name in names)


def test_ids_read_back() -> None:
    assert [cell.id for cell in cells()] == IDS
    assert [parse_cell(cell_id) for cell_id in IDS] == cells()
    with pytest.raises(MnsweepError, match="'abacus-Wooden' is not a setting"):
        parse_cell("a0.5_r64_abacus-Wooden")
    assert is_choice("runtime", "abacus:wooden") and not is_choice("runtime", "abacus:")


def test_a_sweep_file_names_them() -> None:
    text = 'variant = "stubby"\ntask = "birds"\nalpha = "0.5"\nres = "64"\nruntime = "abacus"\n'
    sweep = parse_sweep(text, Path("birds.toml"))
    assert [cell.id for cell in sweep.cells] == ["a0.5_r64_stubby_birds_abacus"]
    kept = Sweep("birds", tuple(cells()))
    assert parse_sweep(write_sweep(kept), Path("x.toml")).cells == kept.cells


def test_they_are_expanded_from_their_rows() -> None:
    layers = expand(Design.of(0.5, 64, variant="stubby", task="tags"))
    expected = ["stem", *(f"{kind}{i}" for i in (1, 2, 3) for kind in ("depthwise", "pointwise")), "pool", "classifier"]
    assert [layer.name for layer in layers] == expected
    assert [layer.out_channels for layer in layers] == [16, 16, 24, 24, 48, 48, 48, 48, 12]
    assert [layer.out_size for layer in layers] == [32, 16, 16, 8, 8, 8, 8, 1, 1]
    assert all(layer.bias for layer in layers if layer.weights) and layers[-1].activation == "sigmoid"
    branches = {layer.name: layer for layer in expand(Design.of(variant="one-by-one", task="birds"))}
    assert branches["classifier"].weight_shape == (200, 32) and not branches["conv1"].batch_norm


def test_they_are_counted_as_their_layers_are() -> None:
    for cell, result in zip(cells(), count_table(cells(), "paper", channels={cell.id: {} for cell in cells()}), strict=True):
        layers = expand(cell.design)
        weights = sum(prod(layer.weight_shape) for layer in layers if layer.weight_shape)
        biases = sum(layer.out_channels * (layer.bias + 2 * layer.batch_norm) for layer in layers)
        assert result.params == weights + biases == sum(map(layer_params, layers))
        assert result.mult_adds == sum(map(layer_mult_adds, layers))
        assert deployed_cost(cell.design, {}, cell.deployment.precision) == cost(layers, cell.deployment.precision)
        assert (result.task, result.quality_pct) == (cell.design.task, None)
    assert [cell.id for cell in Space("0.5", "64", variant="stubby", task="birds").cells()] == ["a0.5_r64_stubby_birds"]


@pytest.mark.parametrize("int8", [False, True])
def test_their_files_have_the_counted_size_and_run(int8: bool) -> None:
    for cell in cells():
        layers = expand(cell.design)
        file = build_onnx(layers, random_weights(layers), ranges=assumed_ranges(layers) if int8 else None)
        assert len(file) == cost(layers, "int8" if int8 else "fp32").onnx_bytes
        session = onnxruntime.InferenceSession(file)
        (answer,) = session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32)})
        assert answer.shape == (1, cell.design.classes) and np.isfinite(answer).all()
        name = "probabilities" if cell.design.task == "tags" else "logits"
        assert session.get_outputs()[0].name == name


def test_latency_is_predicted_where_the_row_says_so() -> None:
    assert [is_modelled(cell) for cell in cells()] == [True, True, True, False]
    rows = work(cells()[:3], [{}] * 3)
    assert [row[0] for row in rows] == [layer_mult_adds(expand(cell.design)[0]) for cell in cells()[:3]]


def test_a_quality_is_named_after_the_metric_of_its_task() -> None:
    results = list(count_table(cells()[:1], "paper"))
    assert metric_of(results).short == "nabirds_top1"
    assert Constraints(task="birds").task == "birds"


def test_a_runtime_that_is_not_installed_says_how_to_install_it_and_a_version_is_recorded() -> None:
    assert offer("abacus:wooden").obstacle.endswith("carve one")
    assert read_facts().runtimes["abacus"] == pytest.__version__ == read_facts().known()["abacus"]
