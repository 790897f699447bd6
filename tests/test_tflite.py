"""TensorFlow Lite files: what LiteRT answers is what the ONNX file answers, and what we read back is what we wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.errors import MnsweepError
from mnsweep.graph import tflite_lowering, tflite_model
from mnsweep.graph.onnx_file import build_onnx, build_open_onnx
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.tflite_lowering import build_tflite, tflite_bytes
from mnsweep.graph.weights import random_weights
from mnsweep.importing.read import import_file
from mnsweep.importing.self_description import tflite_metadata
from mnsweep.pictures.pixels import normalized
from mnsweep.prepare.images import synthetic_images
from mnsweep.worker.ranges import ranges
from mnsweep.worker.runtimes import load, offer
from tests.real_files import QUANTIZED_128, QUANTIZED_160, WAKE_WORDS, needs_real_files
from tests.test_cli import Run, assert_refused, run, run_for_real

__all__ = ["run", "run_for_real"]

pytest.importorskip("ai_edge_litert")
Images = NDArray[np.float32]


def images(resolution: int, number: int = 4) -> Images:
    seeds = -(-number // 4)
    return np.concatenate([image for seed in range(seeds) for image in synthetic_images(resolution, seed=seed)])[:number]


def answers(content: bytes, of: Images, runtime: str = "litert", precision: str = "fp32") -> NDArray[np.float32]:
    session = load(runtime).open(content, precision, 1)
    return np.concatenate([next(iter(session.outputs(image[None]).values())) for image in of])


def apart(design: Design) -> float:
    """The largest difference of both files' answers, relative to the largest of the answers where that is above 1."""
    layers, of = expand(design), images(design.resolution, 2)
    weights = random_weights(layers)
    wanted = answers(build_onnx(layers, weights), of, "onnxruntime")
    return float(np.abs(answers(build_tflite(layers, weights), of) - wanted).max() / max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("alpha, resolution", [(0.25, 128), (0.5, 160), (0.75, 192), (1.0, 224)])
def test_fp32_answers_are_those_of_the_onnx_file(alpha: float, resolution: int) -> None:
    assert apart(Design.of(alpha, resolution)) < 1e-4


@given(
    st.sampled_from([0.1, 0.25, 0.35, 0.6]),
    st.integers(32, 90),
    st.sampled_from(["same", "keras", "symmetric"]),
    st.sampled_from(["relu", "relu6"]),
    st.sampled_from(["mobilenet", "shallow", "full-conv", "conv-bias"]),
)
@settings(max_examples=25, deadline=None)
def test_odd_sizes_and_every_padding(alpha: float, resolution: int, padding: str, activation: str, variant: str) -> None:
    assert apart(Design.of(alpha, resolution, variant=variant, classes=9, conv_padding=padding, activation=activation)) < 1e-4


@pytest.mark.parametrize("variant", ["squeezenet", "googlenet", "inception-v3"])
def test_the_comparison_networks_too(variant: str) -> None:
    assert apart(Design.of(variant=variant)) < 1e-4


@pytest.mark.parametrize("task", ["attributes", "embedding", "planet"])
def test_tasks_have_their_own_outputs(task: str) -> None:
    design = Design.of(0.25, 64, task=task)
    assert apart(design) < 1e-4
    layers = expand(design)
    (name,) = load("litert").open(build_tflite(layers, random_weights(layers)), "fp32", 1).outputs(images(64, 1))
    assert name == {"attributes": "probabilities", "embedding": "embedding"}.get(task, "logits")


@pytest.mark.parametrize("alpha, resolution, padding", [(0.25, 128, "same"), (0.5, 96, "keras"), (0.75, 65, "symmetric")])
def test_int8_answers_are_as_near_to_floats_as_those_of_the_onnx_file(alpha: float, resolution: int, padding: str) -> None:
    design = Design.of(alpha, resolution, classes=50, conv_padding=padding)
    layers, of = expand(design), images(resolution, 24)
    weights = random_weights(layers)
    found = ranges(build_open_onnx(layers, weights), [image[None] for image in of[:8]])
    floats = answers(build_onnx(layers, weights), of, "onnxruntime")
    onnx = answers(build_onnx(layers, weights, ranges=found), of, "onnxruntime", "int8")
    content = build_tflite(layers, weights, ranges=found)
    for runtime in ("litert", "litert:builtin", "litert:reference"):
        error = np.abs(answers(content, of, runtime, "int8") - floats).mean()
        assert error < 1.5 * np.abs(onnx - floats).mean() + 0.01 * np.abs(floats).max(), runtime


@needs_real_files
@pytest.mark.parametrize("path", [QUANTIZED_128, QUANTIZED_160, WAKE_WORDS["_int8.tflite"]], ids=lambda path: path.stem)
@pytest.mark.parametrize("runtime", ["litert", "litert:reference"])
def test_a_quantized_file_written_again_answers_bit_for_bit(path: Path, runtime: str) -> None:
    trained = import_file(path)
    written = build_tflite(trained.layers(), trained.weights, in_bytes=True)
    size = trained.design.resolution
    random = np.random.default_rng(0).integers(0, 256, (20, size, size, 3), np.uint8)
    of = normalized(random, trained.preprocessing)
    assert (answers(written, of, runtime, "int8") == answers(path.read_bytes(), of, runtime, "int8")).all()
    assert len(written) <= path.stat().st_size


@given(
    st.floats(0.1, 1.2),
    st.integers(32, 160),
    st.sampled_from(["same", "keras", "symmetric"]),
    st.integers(2, 1001),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_the_size_is_known_without_writing(alpha: float, resolution: int, padding: str, classes: int, int8: bool) -> None:
    layers = expand(Design.of(round(alpha, 3), resolution, classes=classes, conv_padding=padding))
    content = build_tflite(layers, random_weights(layers), ranges=assumed_ranges(layers) if int8 else None)
    assert tflite_bytes(layers, int8) == len(content)
    weights = sum(4 * (layer.weights + layer.out_channels) for layer in layers if layer.weight_shape)
    assert int8 or len(content) < 1.01 * weights + 10_000


def test_equal_networks_have_equal_bytes_and_low_versions() -> None:
    layers = expand(Design.of(0.25, 65, classes=10, conv_padding="keras"))
    content = build_tflite(layers, random_weights(layers), ranges=assumed_ranges(layers))
    assert content == build_tflite(layers, random_weights(layers), ranges=assumed_ranges(layers))
    model = tflite.Model.GetRootAs(content, 0)
    names = {value: name for name, value in vars(tflite.BuiltinOperator).items() if not name.startswith("_")}
    versions = {names[c.BuiltinCode()]: c.Version() for c in map(model.OperatorCodes, range(model.OperatorCodesLength()))}
    assert versions == {
        "CONV_2D": 3,
        "DEPTHWISE_CONV_2D": 3,
        "AVERAGE_POOL_2D": 2,
        "FULLY_CONNECTED": 4,
        "PAD": 2,
        "RESHAPE": 1,
        "QUANTIZE": 1,
        "DEQUANTIZE": 2,
    }


def test_the_interpreter_can_resize_a_symbolic_batch() -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
    layers, of = expand(Design.of(0.25, 64, classes=10)), images(64, 4)
    weights = random_weights(layers)
    net = interpreter(model_content=build_tflite(layers, weights, batch=None))
    index = net.get_input_details()[0]["index"]
    net.resize_tensor_input(index, (4, 64, 64, 3))
    net.allocate_tensors()
    net.set_tensor(index, np.ascontiguousarray(of.transpose(0, 2, 3, 1)))
    net.invoke()
    found = net.get_tensor(net.get_output_details()[0]["index"])
    assert np.abs(found - answers(build_onnx(layers, weights), of, "onnxruntime")).max() < 1e-4


def test_what_we_write_we_read(tmp_path: Path) -> None:
    for padding, size in (("same", 64), ("keras", 75), ("symmetric", 64)):
        design = Design.of(0.25, size, classes=10, conv_padding=padding)
        layers = expand(design)
        about = {
            "preprocessing.mean": "10.0",
            "preprocessing.std": "20.0",
            "preprocessing.crop": "slim",
            "labels": '["ä", "b"]',
        }
        content = build_tflite(layers, random_weights(layers), metadata=tflite_metadata("1", about))
        (tmp_path / "m.tflite").write_bytes(content)
        trained = import_file(tmp_path / "m.tflite")
        assert trained.design == design
        assert (trained.preprocessing.mean, trained.preprocessing.crop) == (10, "slim") and trained.provenance.labels == (
            "ä",
            "b",
        )
        again = answers(build_onnx(trained.layers(), trained.weights), images(size), "onnxruntime")
        assert np.abs(again - answers(content, images(size))).max() < 1e-4


@pytest.mark.parametrize(
    "design, int8, said",
    [
        (Design.of(0.25, 300, task="ssd"), False, "TensorFlow Lite has no ssd_detections"),
        (Design.of(variant="alexnet"), True, "TensorFlow Lite has no lrn in int8"),
    ],
)
def test_what_tensorflow_lite_has_not_is_named(design: Design, int8: bool, said: str) -> None:
    layers = expand(design)
    with pytest.raises(MnsweepError, match=said):
        build_tflite(layers, random_weights(layers), ranges=assumed_ranges(layers) if int8 else None)
    with pytest.raises(MnsweepError, match=said):
        tflite_bytes(layers, int8)


def test_litert_says_what_it_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offer("litert").precisions == ("fp32", "int8") and offer("litert").version[0].isdecimal()
    assert Cell(Design.of(0.25, 64), Deployment("int8", "litert:builtin")).id == "a0.25_r64_int8_litert-builtin"
    with pytest.raises(MnsweepError, match="runtime 'litert:gpu' is unknown"):
        Deployment("fp32", "litert:gpu")
    monkeypatch.setitem(__import__("sys").modules, "mnsweep.worker.litert", None)
    assert "pip install 'mnsweep[litert]'" in offer("litert").obstacle


def test_a_file_is_written_measured_and_picked(run_for_real: Run) -> None:
    written = run_for_real("export", "--alpha", "0.25", "--res", "64", "--out", "m.tflite", "--json")
    assert written.code == 0 and "ai_edge_litert.interpreter.Interpreter('m.tflite')" in written.err
    assert written.json["onnx_bytes"] == Path("m.tflite").stat().st_size
    (command,) = [line.partition("mnsweep grid ")[2].split() for line in written.err.splitlines() if "mnsweep grid" in line]
    measured = run_for_real("grid", *command, "--quick", "--json")
    (cell,) = measured.json["cells"]
    assert cell["runtime"] == "litert" and cell["latency_p50_ms"] > 0
    assert abs(cell["onnx_bytes"] - written.json["onnx_bytes"]) < 2_500  # the exported one says what it is

    both = run_for_real(
        "grid", "--alpha", "0.25", "--res", "64,300", "--task", "ssd", "--runtime", "litert", "--quick", "--name", "s"
    )
    assert both.code in (3, 4) and "TensorFlow Lite has no ssd_detections" in both.err
    picked = run_for_real("pick", "--sweep", "grid", "--min-top1", "0", "--export", "best.tflite", "--json")
    assert picked.code in (0, 1)
    assert_refused(
        run_for_real("export", "--alpha", "1", "--res", "64", "--format", "tflite", "--out", "m.onnx"), "--format tflite"
    )
    assert_refused(run_for_real("export", "--alpha", "1", "--res", "64", "--format", "caffe", "--out", "m"), "--format 'caffe'")
    assert_refused(
        run_for_real("export", "--alpha", "1", "--res", "300", "--task", "ssd", "--out", "s.tflite"), "ssd_detections"
    )
    assert not Path("s.tflite").exists()


def as_converted_from_keras(lowering: Any, layer: Any) -> int:
    """A mean of both axes, and a shape that is computed from the map: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""
    model, (found,) = lowering.model, [lowering.maps[name] for name in layer.inputs]
    axes = model.tensor("axes", (2,), "int32", data=np.array([1, 2], np.int32))
    mean = lowering.map("pool", (layer.out_channels,), None if lowering.is_float else "pool")
    model.add("MEAN", 1 if lowering.is_float else 2, [found, axes], mean)
    shape, batch = model.tensor("shape", (2,), "int32"), model.tensor("batch", (), "int32")
    ends = [
        model.tensor(name, (1,), "int32", data=np.array([i], np.int32)) for name, i in (("from", 0), ("to", 1), ("step", 1))
    ]
    size = model.tensor("size", (), "int32", data=np.array(layer.out_channels, np.int32))
    model.add("SHAPE", 1, [mean], shape, OutType=2)
    model.add("STRIDED_SLICE", 1, [shape, *ends], batch, ShrinkAxisMask=1)
    packed = model.add("PACK", 1, [batch, size], model.tensor("packed", (2,), "int32"), ValuesCount=2, Axis=0)
    rows = lowering.map("rows", (layer.out_channels,), None if lowering.is_float else "pool")
    return int(model.add("RESHAPE", 1, [mean, packed], rows))


@pytest.mark.parametrize("int8", [False, True])
def test_what_converters_add_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, int8: bool) -> None:
    monkeypatch.setitem(tflite_lowering._OPS, "global_pool", as_converted_from_keras)
    options = {"SHAPE": "ShapeOptions", "STRIDED_SLICE": "StridedSliceOptions", "PACK": "PackOptions", "MEAN": "ReducerOptions"}
    monkeypatch.setattr(tflite_model, "OPTIONS", {**tflite_model.OPTIONS, **options})
    layers, of = expand(Design.of(0.25, 64, classes=10)), images(64)
    weights = random_weights(layers)
    found = ranges(build_open_onnx(layers, weights), [image[None] for image in of])
    content = build_tflite(layers, weights, ranges=found if int8 else None)
    (tmp_path / "m.tflite").write_bytes(content)
    trained = import_file(tmp_path / "m.tflite")
    assert trained.is_quantized == int8
    onnx = answers(build_onnx(trained.layers(), trained.weights), of, "onnxruntime", "int8" if int8 else "fp32")
    wanted = answers(content, of, "litert:reference", "int8" if int8 else "fp32")
    assert np.abs(onnx - wanted).max() <= (0.1 * np.abs(wanted).max() if int8 else 1e-4)


def test_weights_that_are_stored_in_8_bits_alone_are_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamic range quantization: the arithmetic is float, and so is what is imported."""
    plain = tflite_lowering._Lowering.weights

    def stored(lowering: Any, layer: Any, array: Any, axis: int) -> tuple[int, int]:
        _, bias = plain(lowering, layer, array, axis)
        scale = np.abs(array).max(axis=tuple(i for i in range(array.ndim) if i != axis)) / 127
        along = [1] * array.ndim
        along[axis] = -1
        whole = np.rint(array / scale.reshape(along)).astype(np.int8)
        about = tflite_model.Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64), axis)
        return lowering.model.tensor("w", whole.shape, "int8", data=whole, quantization=about), bias

    monkeypatch.setattr(tflite_lowering._Lowering, "weights", stored)
    layers = expand(Design.of(0.25, 64, classes=10))
    weights = random_weights(layers)
    (tmp_path / "m.tflite").write_bytes(build_tflite(layers, weights))
    trained = import_file(tmp_path / "m.tflite")
    assert not trained.is_quantized
    found = answers(build_onnx(trained.layers(), trained.weights), images(64), "onnxruntime")
    wanted = answers(build_onnx(layers, weights), images(64), "onnxruntime")
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
