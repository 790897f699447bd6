"""The commands that classify and evaluate, on networks whose answers are known."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import mnsweep
from mnsweep.arch.expand import expand
from mnsweep.cell import Design
from mnsweep.graph.weights import random_weights
from mnsweep.importing.trained import Provenance, Trained, to_bytes
from mnsweep.pictures.preprocessing import Preprocessing
from tests.test_cli import Run, assert_refused, run, run_for_real

__all__ = ["run", "run_for_real"]

COLOURS = {"blue": (20, 30, 220), "green": (20, 200, 30), "red": (220, 30, 20)}
PIXELS = ("--mean", "0", "--std", "255")
RESOLUTION = 8


def colour_network(path: Path, swapped: bool = False) -> Path:
    """A network whose classes are blue, green and red: it answers the mean of that channel (two of them `swapped`)."""
    order = [2, 0, 1] if swapped else [2, 1, 0]
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gather", ["flat", "order"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, RESOLUTION, RESOLUTION])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("order", TensorProto.INT64, [3], order)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def write_weights(path: Path, alpha: float = 0.25) -> None:
    """Random weights for the three colours."""
    design = Design.of(alpha, 32, classes=len(COLOURS))
    trained = Trained(
        design=design,
        weights=random_weights(expand(design)),
        preprocessing=Preprocessing(),
        provenance=Provenance("net.h5", "0" * 64, "keras", labels=tuple(COLOURS)),
    )
    path.write_bytes(to_bytes(trained))


@pytest.fixture
def colours(run_for_real: Run, tmp_path: Path) -> Run:
    """Class folders of pictures in one colour each; one red picture lies among the blue ones, and one is broken."""
    for name, colour in COLOURS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (20, 10), colour).save(tmp_path / "data" / name / f"{i}.png")
    Image.new("RGB", (20, 10), COLOURS["red"]).save(tmp_path / "data/blue/wrong.png")
    (tmp_path / "data/green/broken.png").write_text("no picture")
    colour_network(tmp_path / "m.onnx")
    return run_for_real


def test_a_network_is_scored_on_class_folders(colours: Run) -> None:
    ran = colours("evaluate", "m.onnx", "--data", "data", *PIXELS, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["images"] == 10 and ran.json["top1_pct"] == pytest.approx(90.0)
    assert ran.json["top1_ci_low_pct"] < 90 < ran.json["top1_ci_high_pct"] and ran.json["top5_pct"] is None
    assert ran.json["broken"] == ["data/green/broken.png"] and "broken.png: is not a picture" in ran.err
    assert ran.json["by_class"]["blue"] == {"images": 4, "right": 3}
    assert ran.json["confusions"] == [{"label": "blue", "answer": "red", "images": 1}]
    assert ran.json["images_per_s"] > 0 and ran.json["seconds"] > 0 and 0 < ran.json["busy_share"] <= 1

    shown = colours("evaluate", "m.onnx", "--data", "data", *PIXELS, "--by-class")
    assert "top-1      90.00 % of 10 pictures (95 % interval 59.6 to 98.2 %)" in shown.out
    assert "1 × blue taken for red" in shown.out


def test_two_networks_are_compared_on_the_same_pictures(colours: Run, tmp_path: Path) -> None:
    colour_network(tmp_path / "swapped.onnx", swapped=True)
    ran = colours("evaluate", "m.onnx", "--data", "data", "--against", "swapped.onnx", *PIXELS, "--json")
    assert ran.json["agreement_pct"] == pytest.approx(30.0)  # blue alone
    assert ran.json["mcnemar_p"] == pytest.approx(2 * 0.5**7 * (1 + 0), abs=0.02)
    assert 0 < ran.json["max_probability_difference"] < 1
    same = colours("evaluate", "m.onnx", "--data", "data", "--against", "m.onnx", *PIXELS, "--json")
    assert (same.json["agreement_pct"], same.json["max_probability_difference"], same.json["mcnemar_p"]) == (100, 0, 1)


def test_pictures_are_classified_with_labels_of_one_s_own(colours: Run, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("sky\ngrass\nrose\n")
    ran = colours("classify", "m.onnx", "data/red/0.png", "data/blue", "--labels", "labels.txt", *PIXELS, "--json")
    named = {picture["picture"]: picture["top"] for picture in ran.json["pictures"]}
    assert len(named) == 5 and len(named["data/red/0.png"]) == 3
    assert named["data/red/0.png"][0]["label"] == "rose" and named["data/blue/1.png"][0]["label"] == "sky"
    assert named["data/red/0.png"][0]["class"] == 2
    assert sum(answer["probability"] for answer in named["data/red/0.png"]) == pytest.approx(1)
    broken = colours("classify", "m.onnx", "data/green", *PIXELS)
    assert broken.code == 3 and "broken.png: is not a picture" in broken.err and "data/green/0.png" in broken.out


def test_from_python(colours: Run, tmp_path: Path) -> None:
    frame = mnsweep.classify("m.onnx", ["data/red/0.png"], mean=0, std=255)
    assert frame.label.tolist() == ["2", "1", "0"] and frame.probability.is_monotonic_decreasing
    scored = mnsweep.evaluate("m.onnx", "data", mean=0.0, std=255, against="m.onnx")
    assert scored.top1_pct[0] == pytest.approx(90) and scored.agreement_pct[0] == 100
    assert scored.attrs["by_class"]["red"] == (3, 3)


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (("m.onnx", "--data", "data"), ("m.onnx: does not say how pictures become its input", "--mean and --std")),
        (("m.onnx", "--data", "nowhere", *PIXELS), ("--data nowhere", "no such folder")),
        (("m.onnx", "--data", "data", *PIXELS, "--crop", "round"), ("--crop 'round'", "squash")),
        (("m.onnx", "--data", "data", *PIXELS, "--label-offset", "2"), ("label", "fit")),
        (("none.onnx", "--data", "data"), ("none.onnx", "No such file")),
        (("data/red/0.png", "--data", "data"), ("is no file that classifies",)),
    ],
)
def test_what_does_not_fit_is_one_line(colours: Run, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_refused(colours("evaluate", *arguments), *parts)


def test_weights_are_evaluated_as_the_file_that_is_built_from_them(colours: Run, tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors")
    exported = colours("export", "--weights", "w.safetensors", "--out", "w.onnx")
    assert exported.code == 0 and "has the weights of net.h5" in exported.err, exported.err
    both = colours("evaluate", "w.safetensors", "--data", "data", "--against", "w.onnx", "--json")
    assert both.json["agreement_pct"] == 100 and both.json["max_probability_difference"] < 1e-5
    named = colours("classify", "w.onnx", "data/red/0.png", "--json").json["pictures"][0]["top"]
    assert {answer["label"] for answer in named} == {"blue", "green", "red"}
    quantized = colours(
        "export", "--weights", "w.safetensors", "--precision", "int8", "--calibration", "data/red", "--out", "q.onnx"
    )
    assert quantized.code == 0 and "quantized after training" in quantized.err
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "w.onnx").metadata_props}
    assert (
        metadata["preprocessing.mean"] == "127.5"
        and metadata["weights"] == "net.h5"
        and metadata["preprocessing.crop"] == "squash"
    )


def test_what_a_runtime_does_not_offer_is_not_run(colours: Run, tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors")
    refused = colours("classify", "w.safetensors", "data/red/0.png", "--precision", "bf16")
    assert refused.code == 4 and "offers no bf16" in refused.err and refused.err.count("\n") == 1
    planned = colours("grid", "--weights", "w.safetensors", "--alpha", "0.25", "--res", "32", "--dry-run", "--json")
    assert planned.json["cells"] == ["a0.25_r32_c3"]
    assert_refused(colours("classify", "w.safetensors", "data/green/broken.png"), "broken.png: is not a picture")
    assert_refused(colours("grid", "--weights", "nowhere", "--alpha", "0.25", "--res", "32"), "--weights nowhere: no such")
    assert_refused(colours("import", "."), ".: is not a file")


def test_a_file_that_answers_otherwise_is_not_written(colours: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights(tmp_path / "w.safetensors")
    monkeypatch.setattr("mnsweep.app.checking.float_logits", lambda *_: np.array([9.0, 0.0, 0.0]))
    refused = colours("export", "--weights", "w.safetensors", "--out", "w.onnx")
    assert refused.code == 2 and "is not written" in refused.err and not (tmp_path / "w.onnx").exists()


def test_a_sweep_s_accuracies_are_what_its_own_files_score(colours: Run, tmp_path: Path) -> None:
    for alpha in (0.25, 0.5):
        (tmp_path / "w").mkdir(exist_ok=True)
        write_weights(tmp_path / "w" / f"{alpha}.safetensors", alpha)
    asked = ("--alpha", "0.25,0.5", "--res", "32,64", "--threads", "1")
    assert colours("grid", *asked, "--weights", "w", "--quick", "--json").code == 0
    ran = colours("evaluate", "--sweep", "grid", "--data", "data", "--json")
    assert ran.code == 0, ran.err
    scored = {cell["cell"]: cell for cell in ran.json["cells"]}
    assert set(scored) == {"a0.25_r32_c3", "a0.5_r32_c3"}
    for alpha, cell in ((0.25, scored["a0.25_r32_c3"]), (0.5, scored["a0.5_r32_c3"])):
        alone = colours("evaluate", f"w/{alpha}.safetensors", "--data", "data", "--json").json
        assert cell["quality_pct"] == pytest.approx(alone["top1_pct"], abs=1e-3)
        assert cell["quality_source"] == "measured: data, 10 pictures" and cell["quality_metric"] == "top1"
        half = (alone["top1_ci_high_pct"] - alone["top1_ci_low_pct"]) / 2
        assert cell["quality_sd_pct"] == pytest.approx(half / 1.96, abs=1e-3)
    again = colours("grid", *asked, "--weights", "w", "--quick", "--json").json["cells"]
    kept = {cell["cell"]: cell["quality_source"] for cell in again}
    assert kept["a0.25_r32_c3"] == "measured: data, 10 pictures" and kept["a0.25_r64"] is None
    picked = colours("pick", "--max-latency-ms", "1000", "--deliverable", "--json")
    assert picked.code == 0 and picked.json["choice"]["weights"] == f"{picked.json['choice']['alpha']}.safetensors"
    assert_refused(colours("evaluate", "m.onnx", "--sweep", "grid", "--data", "data"), "model", "--sweep", "contradict")
    assert_refused(colours("evaluate", "--data", "data"), "names the file")
    assert_refused(colours("evaluate", "--sweep", "grid", "--data", "data/red"), "--data", "no labels")


def test_nothing_is_written_over_what_it_is_made_from(colours: Run, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    own = tmp_path / "w" / "w.safetensors"
    write_weights(own)
    before = own.read_bytes()
    (tmp_path / "link.onnx").symlink_to(own)
    asked = ("--alpha", "0.25", "--res", "32", "--weights", "w")
    assert colours("grid", *asked, "--quick", "-q").code == 0
    for arguments in (
        ("export", "--weights", "w/w.safetensors", "--out", "w/w.safetensors"),
        ("export", "--weights", "w/w.safetensors", "--format", "onnx", "--out", "w/w.safetensors"),
        ("export", "--weights", "w", "--out", "link.onnx"),
        ("export", "--weights", "w", "--out", "new.h5"),
        ("import", "w/w.safetensors", "--out", "w/../w/w.safetensors"),
        ("pick", "--max-latency-ms", "1000", "--min-top1", "0", "--export", "w/w.safetensors"),
    ):
        ran = colours(*arguments)
        assert ran.code in (1, 2) and "Traceback" not in ran.err, (arguments, ran)
        assert own.read_bytes() == before, arguments
    assert not (tmp_path / "new.h5").exists()
    colours("evaluate", "--sweep", "grid", "--data", "data", "-q")
    over = colours("pick", "--max-latency-ms", "1000", "--export", "link.onnx")
    assert_refused(over, "link.onnx: is the file that is read")
    assert own.read_bytes() == before


def test_weights_of_one_task_are_not_those_of_another(colours: Run, tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors")
    refused = colours("grid", "--weights", "w.safetensors", "--alpha", "0.25", "--res", "32", "--task", "dogs", "--quick")
    assert_refused(refused, "none of the cells asked for is of a0.25_r32_c3")


def test_what_was_left_out_is_counted_in_the_answer(colours: Run) -> None:
    assert "left out   1 of 11 pictures" in colours("evaluate", "m.onnx", "--data", "data", *PIXELS).out
