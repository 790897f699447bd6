"""Real files: what is imported is what their own frameworks run, number by number."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from mnsweep.arch.expand import expand
from mnsweep.graph.integers import Integers, dequantized
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.reference import float_logits, integer_logits
from mnsweep.graph.weights import Weights
from mnsweep.importing.read import Asked, import_file
from mnsweep.importing.trained import Trained, read_trained, to_bytes
from mnsweep.pictures.decode import decode, scaled
from mnsweep.pictures.pixels import Pixels, normalized
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.worker.classify import answers, runner, softmax
from tests.real_files import (
    CAT,
    DAISY,
    EGYPTIAN_CAT,
    FOLDER,
    HOPPER,
    KERAS,
    QUANTIZED_128,
    QUANTIZED_160,
    SUNFLOWER,
    TABBY,
    WAKE_WORDS,
    needs_real_files,
)
from tests.test_cli import Run, run, run_for_real
from tests.test_readme import GUIDE

__all__ = ["run", "run_for_real"]

pytestmark = needs_real_files
STEP = 1 / 256  # of a quantized softmax
FROM_0_TO_1 = Asked(mean=0, std=255)
VARIED = 12  # crops and flips of the photographs


def pictures(resolution: int, preprocessing: Preprocessing) -> Pixels:
    """The photographs, and crops and flips of them."""
    rng, found = np.random.default_rng(0), [decode(path, resolution, preprocessing) for path in (CAT, SUNFLOWER, HOPPER)]
    for number in range(VARIED):
        with Image.open((CAT, SUNFLOWER, HOPPER)[number % 3]) as opened:
            width, height = opened.size
            share = rng.uniform(0.5, 1)
            left, top = rng.uniform(0, (1 - share) * width), rng.uniform(0, (1 - share) * height)
            cut = opened.convert("RGB").crop((int(left), int(top), int(left + share * width), int(top + share * height)))
        found.append(np.asarray(scaled(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT), resolution, preprocessing)))
    return np.stack(found)


def ran(
    trained: Trained, pixels: Pixels, weights: Weights | Integers | None = None, weight_bits: int = 8
) -> NDArray[np.float32]:
    model = build_onnx(trained.layers(), weights or trained.weights, weight_bits=weight_bits)
    precision = "int8" if isinstance(weights or trained.weights, Integers) else "fp32"
    return answers(runner(model, "onnxruntime", precision, 1), pixels, trained.preprocessing).probabilities


def reference_kernels(path: Path, pixels: Pixels, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """The answers of LiteRT's reference kernels, which every other implementation is held against."""
    pytest.importorskip("ai_edge_litert")
    run = runner(path.read_bytes(), "litert:reference", "int8", 1)
    return answers(run, pixels, preprocessing, has_softmax=True).probabilities


@pytest.mark.parametrize(
    "path, cell, settings",
    [
        (QUANTIZED_128, "a0.25_r128_c1001_int8", {"quantized": True, "classes": 1001, "label_offset": 1, "epsilon": None}),
        (QUANTIZED_160, "a0.5_r160_c1001_int8", {"quantized": True, "classes": 1001, "label_offset": 1, "epsilon": None}),
        (KERAS, "a0.25_r128_keras", {"quantized": False, "classes": 1000, "label_offset": 0, "epsilon": 1e-3}),
        (WAKE_WORDS[".h5"], "a0.25_r96_conv-bias_c2_relu", {"classes": 2, "label_offset": None, "epsilon": 1e-3}),
        (WAKE_WORDS["_float.tflite"], "a0.25_r96_c2_relu", {"quantized": False, "classes": 2, "label_offset": None}),
        (WAKE_WORDS["_int8.tflite"], "a0.25_r96_c2_relu_int8", {"quantized": True, "classes": 2, "label_offset": None}),
    ],
)
def test_what_a_file_holds_is_recognized(path: Path, cell: str, settings: dict[str, object]) -> None:
    document = import_file(path).document()
    assert document["cell"] == cell
    assert {name: document[name] for name in settings} == settings


def test_a_quantized_file_tells_its_own_preprocessing() -> None:
    assert (import_file(QUANTIZED_128).preprocessing.mean, import_file(QUANTIZED_128).preprocessing.std) == (128, 128)
    assert (
        import_file(WAKE_WORDS["_int8.tflite"]).preprocessing.mean,
        import_file(WAKE_WORDS["_int8.tflite"]).preprocessing.std,
    ) == (0, 255)
    assert any("-1 to 1" in line for line in import_file(WAKE_WORDS["_float.tflite"]).provenance.assumed)


@pytest.mark.parametrize("path", [QUANTIZED_128, QUANTIZED_160, WAKE_WORDS["_int8.tflite"]], ids=lambda path: path.stem)
def test_integers_are_those_of_the_reference_kernels_bit_for_bit(path: Path) -> None:
    trained = import_file(path)
    assert isinstance(trained.weights, Integers)
    pixels = pictures(trained.design.resolution, trained.preprocessing)[:5]
    ours = np.stack(
        [integer_logits(trained.layers(), trained.weights, image) for image in normalized(pixels, trained.preprocessing)]
    )
    wanted = reference_kernels(path, pixels, trained.preprocessing)
    assert np.abs(softmax(ours) - wanted).max() <= STEP  # their softmax is rounded to a step


@pytest.mark.parametrize("weight_bits", [8, 7])
@pytest.mark.parametrize("path", [QUANTIZED_128, QUANTIZED_160, WAKE_WORDS["_int8.tflite"]], ids=lambda path: path.stem)
def test_the_deployed_integers_are_as_near_as_another_right_implementation(path: Path, weight_bits: int) -> None:
    trained = import_file(path)
    pixels = pictures(trained.design.resolution, trained.preprocessing)
    wanted = reference_kernels(path, pixels, trained.preprocessing)
    steps = np.abs(ran(trained, pixels, weight_bits=weight_bits) - wanted).max(axis=1) / STEP
    assert np.median(steps) <= 6 and steps.max() <= 24  # LiteRT's own XNNPACK kernels: 4 and 19
    same = ran(trained, pixels).argmax(axis=1) == wanted.argmax(axis=1)
    assert same.sum() >= len(pixels) - 1


def test_the_dequantized_network_is_another_one() -> None:
    trained = import_file(QUANTIZED_160)
    assert isinstance(trained.weights, Integers)
    pixels = pictures(160, trained.preprocessing)
    floats = ran(trained, pixels, dequantized(trained.layers(), trained.weights))
    assert np.abs(floats - ran(trained, pixels)).max() > 10 * STEP


def test_three_forms_of_one_network_agree() -> None:
    keras, tflite = import_file(WAKE_WORDS[".h5"], FROM_0_TO_1), import_file(WAKE_WORDS["_float.tflite"], FROM_0_TO_1)
    pixels = pictures(96, keras.preprocessing)
    assert np.abs(ran(keras, pixels) - ran(tflite, pixels)).max() < 1e-5
    wanted = reference_kernels(WAKE_WORDS["_float.tflite"], pixels, tflite.preprocessing)
    assert np.abs(ran(tflite, pixels) - wanted).max() < 1e-5
    quantized = import_file(WAKE_WORDS["_int8.tflite"])
    assert np.abs(ran(quantized, pixels) - ran(keras, pixels)).max() < 20 * STEP


def test_keras_weights_know_a_daisy_and_a_tabby() -> None:
    trained = import_file(KERAS)
    found = ran(trained, np.stack([decode(path, 128, trained.preprocessing) for path in (CAT, SUNFLOWER)]))
    assert found.argmax(axis=1).tolist() == [TABBY, DAISY]
    assert found[1, DAISY] == pytest.approx(0.93, abs=0.01) and found[0, TABBY] == pytest.approx(0.437, abs=0.02)
    floats = expand(trained.design)
    assert isinstance(trained.weights, Weights)
    image = normalized(decode(SUNFLOWER, 128, trained.preprocessing)[None], trained.preprocessing)[0]
    assert np.abs(softmax(float_logits(floats, trained.weights, image)[None]) - found[1]).max() < 1e-5


@pytest.mark.parametrize("path", [QUANTIZED_128, KERAS, WAKE_WORDS["_int8.tflite"]], ids=lambda path: path.stem)
def test_our_own_file_keeps_everything(path: Path, tmp_path: Path) -> None:
    trained = import_file(path)
    file = tmp_path / "w.safetensors"
    file.write_bytes(to_bytes(trained))
    again = read_trained(file)
    assert (again.design, again.preprocessing, again.provenance) == (trained.design, trained.preprocessing, trained.provenance)
    assert type(again.weights) is type(trained.weights)
    assert {*again.weights.arrays} == {*trained.weights.arrays}
    for name, array in trained.weights.arrays.items():
        assert again.weights.arrays[name].dtype == array.dtype and np.array_equal(again.weights.arrays[name], array), name
    assert to_bytes(again) == to_bytes(trained) == to_bytes(import_file(file))


@pytest.fixture
def imported(run_for_real: Run) -> Iterator[Path]:
    assert run_for_real("import", str(QUANTIZED_128), "--out", "w.safetensors", "-q").code == 0
    yield Path("w.safetensors")


def test_from_a_file_to_the_name_of_the_cat(run_for_real: Run, imported: Path) -> None:
    exported = run_for_real("export", "--weights", "w.safetensors", "--precision", "int8", "--out", "m.onnx", "--json")
    assert exported.code == 0 and exported.json["cell"].startswith("a0.25_r128_c1001_int8")
    assert "integers, scales and zero points" in exported.err
    named = run_for_real("classify", "m.onnx", str(CAT), str(SUNFLOWER), "--json")
    assert [picture["top"][0]["label"] for picture in named.json["pictures"]] == ["Egyptian cat", "daisy"]
    top = named.json["pictures"][0]["top"]
    assert top[0]["class"] == 1 + EGYPTIAN_CAT and top[0]["probability"] == pytest.approx(0.133, abs=0.01)
    assert len(top) == 5 and top == sorted(top, key=lambda answer: -answer["probability"])


@pytest.mark.parametrize(
    "deployment",
    [("--pad", "16"), ("--pad", "auto"), ("--batch", "4"), ("--batch", "symbolic"), ("--pad", "24", "--batch", "2")],
)
@pytest.mark.parametrize("ending", ["onnx", "tflite"])
def test_every_deployment_of_its_integers_answers_alike(
    run_for_real: Run, imported: Path, deployment: tuple[str, ...], ending: str
) -> None:
    ran_ = run_for_real(
        "export", "--weights", "w.safetensors", "--precision", "int8", *deployment, "--out", f"m.{ending}", "--json"
    )
    assert ran_.code == 0, ran_.err  # it is checked against the reference before it is written
    if deployment[-1] != "symbolic" and (ending == "onnx" or "--batch" not in deployment):
        (top, *_) = run_for_real("classify", f"m.{ending}", str(CAT), "--json").json["pictures"][0]["top"]
        assert top["label"] == "Egyptian cat" and top["probability"] == pytest.approx(0.133, abs=0.01)


def test_a_file_says_what_it_is(run_for_real: Run, imported: Path) -> None:
    run_for_real("export", "--weights", "w.safetensors", "--precision", "int8", "--out", "m.onnx")
    model = onnx.load("m.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["quality"] == "39.5 % imagenet_top1 (published, quantization-aware training: slim-2018-08, these weights)"
    assert about["weights_sha256"].startswith("cb273c23") and about["cell"].startswith("a0.25_r128_c1001_int8")
    labels = json.loads(about["labels"])
    assert (len(labels), labels[0], labels[EGYPTIAN_CAT + 1]) == (1001, "background", "Egyptian cat")
    assert about["preprocessing.mean"] == about["preprocessing.std"] == "128.0" and model.producer_version


def test_pick_hands_over_the_weights_that_were_measured(run_for_real: Run, imported: Path) -> None:
    measured = run_for_real(
        "grid", "--weights", ".", "--alpha", "0.25", "--res", "128,160", "--precision", "fp32,int8", "--quick", "--json"
    )
    assert measured.code == 0
    by_cell = {cell["cell"]: cell for cell in measured.json["cells"]}
    assert {cell["weights"] for cell in by_cell.values() if cell["resolution"] == 128} == {"w.safetensors"}
    assert {cell["weights"] for cell in by_cell.values() if cell["resolution"] == 160} == {None}
    own = by_cell["a0.25_r128_c1001_int8"]
    assert own["quality_source"] == "published, quantization-aware training: slim-2018-08, these weights"
    floats = by_cell["a0.25_r128_c1001"]
    assert floats["quality_pct"] == own["quality_pct"] == 39.5 and "as floats" in floats["quality_source"]

    choose = ("pick", "--max-latency-ms", "1000", "--precision", "int8", "--deliverable", "--export", "best.onnx")
    picked = run_for_real(*choose, "--json")
    assert picked.code == 0 and picked.json["choice"]["cell"] == "a0.25_r128_c1001_int8"
    assert run_for_real("classify", "best.onnx", str(SUNFLOWER), "--json").json["pictures"][0]["top"][0]["label"] == "daisy"
    imported.unlink()
    gone = run_for_real(*choose)
    assert gone.code == 2 and "no longer there" in gone.err and gone.err.count("\n") == 1


def test_a_file_is_compared_with_the_one_that_it_came_from(run_for_real: Run, imported: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    run_for_real("export", "--weights", "w.safetensors", "--precision", "int8", "--out", "m.onnx")
    compared = run_for_real("evaluate", "m.onnx", "--against", str(QUANTIZED_128), "--data", str(FOLDER), "--json")
    assert compared.code == 0, compared.err
    assert compared.json["images"] == 3 and compared.json["top1_pct"] is None
    assert compared.json["agreement_pct"] == 100 and compared.json["max_probability_difference"] < 24 * STEP
    assert compared.json["mcnemar_p"] is None


def test_a_float_file_that_says_nothing_of_its_input_asks_for_it(run_for_real: Run) -> None:
    pytest.importorskip("ai_edge_litert")
    asked = run_for_real("classify", str(WAKE_WORDS["_float.tflite"]), str(HOPPER))
    assert asked.code == 2 and "--mean and --std" in asked.err and asked.err.count("\n") == 1
    told = run_for_real("classify", str(WAKE_WORDS["_float.tflite"]), str(HOPPER), "--mean", "0", "--std", "255", "--json")
    other = run_for_real("classify", str(WAKE_WORDS["_int8.tflite"]), str(HOPPER), "--json")  # whose scale says it
    for picture in (*told.json["pictures"], *other.json["pictures"]):
        assert picture["top"][0]["label"] == "1" and picture["top"][0]["probability"] > 0.85  # a person


def test_labels_are_counted_from_the_first_class_behind_the_background(run_for_real: Run, imported: Path) -> None:
    run_for_real("export", "--weights", "w.safetensors", "--precision", "int8", "--out", "m.onnx")  # it has labels of its own
    Path("list.csv").write_text(f"picture,label\n{CAT},{EGYPTIAN_CAT}\n{SUNFLOWER},{DAISY}\n")
    scored = run_for_real("evaluate", "w.safetensors", "--data", "list.csv", "--json")
    assert scored.code == 0 and scored.json["top1_pct"] == 100, scored.err
    assert set(scored.json["by_class"]) == {"Egyptian cat", "daisy"}
    for folder, names in (("ids", ("n02124075", "n11939491")), ("names", ("Egyptian cat", "daisy"))):
        for name, picture in zip(names, (CAT, SUNFLOWER), strict=True):
            Path(folder, name).mkdir(parents=True)
            Path(folder, name, picture.name).write_bytes(picture.read_bytes())
        assert run_for_real("evaluate", "w.safetensors", "--data", folder, "--json").json["top1_pct"] == 100
        assert run_for_real("evaluate", "m.onnx", "--data", folder, "--json").json["top1_pct"] == 100


def test_weights_of_another_size_are_refused(run_for_real: Run, imported: Path) -> None:
    others = (("--alpha", "0.5"), ("--res", "160"), ("--classes", "1000"), ("--task", "dogs"), ("--variant", "shallow"))
    for asked in (*others, ("--calibration", str(FOLDER), "--precision", "int8")):
        refused = run_for_real("export", "--weights", "w.safetensors", *asked, "--out", "m.onnx")
        assert refused.code == 2 and refused.err.count("\n") == 1 and asked[0] in refused.err
    assert not Path("m.onnx").exists()


def test_import_says_what_is_in_a_file_as_json(run_for_real: Run) -> None:
    ran_ = run_for_real("import", str(WAKE_WORDS["_int8.tflite"]), "--json")
    document = json.loads(ran_.out)
    keys = (
        "weights",
        "cell",
        "family",
        "quantized",
        "classes",
        "label_offset",
        "padding",
        "epsilon",
        "preprocessing",
        "sha256",
    )
    assert document["schema_version"] == 1 and {*keys, "ignored"} <= {*document} and document["weights"] is None
    assert document["sha256"].startswith("597a384c") and document["preprocessing"]["range"] == [0.0, 1.0]


def test_the_readme_s_onnxruntime_example_names_the_cat(
    run_for_real: Run, imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_for_real("export", "--weights", "w.safetensors", "--precision", "int8", "--out", "best.onnx")
    Path("cat.bmp").write_bytes(CAT.read_bytes())
    (block,) = re.findall(r"<!-- onnxruntime example -->\n```python\n(.+?)```", "".join(GUIDE.values()), re.DOTALL)
    capsys.readouterr()
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out == f"{EGYPTIAN_CAT}\n"


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("has_top", [True, False])
def test_keras_2_weights_alone(tmp_path: Path, generic: bool, has_top: bool) -> None:
    """The same layers without a configuration, also under the names that Keras numbers by kind."""
    kinds = {"conv2d": 0, "depthwise_conv2d": 0, "batch_normalization": 0}
    with h5py.File(KERAS) as whole, h5py.File(tmp_path / "weights.h5", "w") as alone:
        names = []
        for layer in (name.decode() for name in whole["model_weights"].attrs["layer_names"]):
            arrays = list(whole["model_weights"][layer].attrs["weight_names"])
            if layer == "conv_preds" and not has_top:
                continue
            kind = "batch_normalization" if layer.endswith("_bn") else "depthwise_conv2d" if "_dw_" in layer else "conv2d"
            name = f"{kind}_{kinds[kind]}" if generic else layer
            kinds[kind] += bool(arrays)
            group = alone.create_group(name if arrays else f"{layer}_empty")
            group.attrs["weight_names"] = arrays
            for array in arrays:
                group[array.decode()] = whole["model_weights"][layer][array][()]
            names.append(group.name.strip("/"))
        alone.attrs["layer_names"] = names
    trained, wanted = import_file(tmp_path / "weights.h5", Asked(res=128)), import_file(KERAS)
    assert trained.design.conv_padding == "keras" and trained.has_classifier == has_top
    for name, array in trained.weights.arrays.items():
        assert np.array_equal(array, wanted.weights.arrays[name]), name
    assert len(trained.weights.arrays) == len(wanted.weights.arrays) - 2 * (not has_top)
