"""`mnsweep train` as a user meets it, and what grid, explore and pick make of a training run."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import mnsweep
from mnsweep.accuracy.published import RunAccuracies, anchors, published
from mnsweep.accuracy.surface import quality_of
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.errors import MnsweepError
from mnsweep.graph.weights import random_weights
from mnsweep.importing.trained import Provenance, Trained, read_trained, to_bytes
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.sweep.file import Scored, Sweep, parse_sweep, write_sweep
from mnsweep.sweep.runs import TrainedRecord, read_run
from mnsweep.training.loop import reproducible
from mnsweep.training.loop import train as train_job
from tests.fakes import FakeWorker
from tests.test_api import FAST, worker
from tests.test_cli import Run, assert_refused, run, run_for_real

__all__ = ["run", "run_for_real", "worker"]

DATA = ("--data", "data")
TINY = ("--alpha", "0.25", "--res", "32", *DATA, "--name", "first")
ENOUGH = ("--set", "epochs=12,batch=10,norm_momentum=0.3,ema=0,lr=0.005,colour=0")
FEW = ("--set", "epochs=2,batch=8,norm_momentum=0.5,ema=0")


@pytest.fixture(autouse=True)
def one_thread_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches run faster on one thread, and others run tests beside these."""
    monkeypatch.setattr("mnsweep.app.train.reproducible", lambda threads: reproducible(1))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Dark pictures of one class, bright ones of another, in train and val."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 6)):
        for name, least in (("bright", 150), ("dark", 0)):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(least, least + 100, (40, 40, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{i}.png")
    return tmp_path / "data"


def random_network(path: Path) -> Path:
    """Weights of a network for two classes that has learned nothing."""
    design = Design.of(0.25, 32, classes=2)
    about = Provenance(path.name, "0" * 64, "mnsweep", label_offset=0, labels=("bright", "dark"))
    weights = random_weights(expand(design))
    path.write_bytes(to_bytes(Trained(design=design, weights=weights, preprocessing=Preprocessing(), provenance=about)))
    return path


def test_a_network_is_trained_scored_measured_picked_and_confirmed(run_for_real: Run, data: Path, tmp_path: Path) -> None:
    ran = run_for_real(
        "train",
        *TINY,
        *ENOUGH,
        "--precision",
        "fp32,int8",
        "--json",
    )
    assert ran.code == 0, ran.err
    fp32, int8 = ran.json["runs"]
    assert (fp32["cell"], int8["cell"], fp32["images"]) == ("a0.25_r32_c2", "a0.25_r32_c2_int8", 12)
    assert fp32["run"] == "first" and fp32["recipe"]["epochs"] == 12 and fp32["top5_pct"] is None
    assert fp32["top1_ci_low_pct"] < fp32["top1_pct"] <= fp32["top1_ci_high_pct"] <= 100
    weights = Path(fp32["weights"])
    assert weights.parent == Path("results/first/training") and not list(weights.parent.glob("*checkpoint*"))
    trained = read_trained(weights)
    assert trained.provenance.labels == ("bright", "dark") and trained.ranges["image"] == (-1.0, 1.0)
    rows = list(csv.DictReader(weights.with_suffix(".csv").read_text().splitlines()))
    assert len(rows) == fp32["epochs"] and float(rows[-1]["validation_pct"]) >= 0

    for precision, told in (("fp32", fp32), ("int8", int8)):
        scored = run_for_real("evaluate", weights, "--data", "data/val", "--precision", precision, "--json")
        assert scored.json["top1_pct"] == told["top1_pct"], scored.err

    source = ("--quality-source", "trained:first")
    grid = run_for_real("grid", "--alpha", "0.25", "--res", "32", "--precision", "fp32,int8", *source, "--quick", "--json")
    assert grid.code == 0, grid.err
    assert [cell["cell"] for cell in grid.json["cells"]] == [fp32["cell"], int8["cell"]]
    assert [cell["quality_pct"] for cell in grid.json["cells"]] == pytest.approx([fp32["top1_pct"], int8["top1_pct"]], abs=1e-3)
    assert {cell["quality_source"] for cell in grid.json["cells"]} == {"trained: first"}
    assert {cell["weights"] for cell in grid.json["cells"]} == {weights.name}
    folder = next((tmp_path / "results/grid").iterdir())
    before = (folder / "cells.csv").read_bytes()
    assert run_for_real("rebuild", "results/grid").code == 0 and (folder / "cells.csv").read_bytes() == before

    picked = run_for_real("pick", "--max-latency-ms", "1000", *source, "--export", "m.onnx", "--json")
    assert picked.code == 0 and picked.json["choice"]["quality_source"] == "trained: first", picked.err
    confirmed = run_for_real("evaluate", "m.onnx", "--data", "data/val", "--json")
    assert confirmed.json["top1_pct"] == pytest.approx(picked.json["choice"]["quality_pct"], abs=1e-3)

    again = run_for_real(
        "train",
        *TINY,
        *ENOUGH,
        "--precision",
        "fp32,int8",
        "--json",
    )
    assert again.json == ran.json and "is trained already" in again.err
    assert_refused(run_for_real("train", *TINY, *FEW), "first", "another recipe", "--name", "--fresh")


def test_a_plan_costs_nothing_and_writes_nothing(run: Run, data: Path) -> None:
    ran = run("train", "--alpha", "0.25,0.5", "--res", "32,48", *DATA, "--name", "p", *FEW, "--dry-run", "--share-resolutions")
    assert ran.code == 0, ran.err
    assert "20 pictures of 2 classes to train on, 12 to validate on" in ran.out
    assert [line.split()[0] for line in ran.out.splitlines() if line.startswith("  ")] == [
        f"a{alpha}_r{res}_c2" for alpha in (0.25, 0.5) for res in (48, 32)
    ]
    assert not Path("results").exists()


def test_several_resolutions_share_one_training(run_for_real: Run, data: Path) -> None:
    ran = run_for_real(
        "train", "--alpha", "0.25", "--res", "32,48", *DATA, "--name", "s", *FEW, "--share-resolutions", "--json"
    )
    assert ran.code == 0, ran.err
    records = read_run(Path("results"), "s").records
    large, small = records["a0.25_r48_c2"], records["a0.25_r32_c2"]
    assert (large.started_from, small.started_from) == ("", "a0.25_r48_c2")
    assert (large.epochs, small.epochs) == (2, 1) and small.recipe["lr"] == pytest.approx(0.3 * large.recipe["lr"])


def test_weights_are_fine_tuned_with_a_new_classifier(run_for_real: Run, data: Path, tmp_path: Path) -> None:
    start, tuned = random_network(tmp_path / "start.safetensors"), ("--recipe", "finetune", "--set", "epochs=1")
    for name in ("a", "b", "c"):
        shutil.copytree("data/train/dark", f"three/{name}")
    ran = run_for_real("train", "--weights", start, "--data", "three", "--name", "tuned", *tuned)
    assert ran.code == 0 and "its classifier is new" in ran.err and "batch norm keeps its statistics" in ran.err
    assert "a0.25_r32_c3: top-1" in ran.out
    assert_refused(
        run_for_real("train", "--weights", start, "--alpha", "0.5", "--data", "three", "--name", "x"), "weights", "a0.25_r32_c2"
    )


def test_a_student_has_a_teacher_of_its_classes(run_for_real: Run, data: Path, tmp_path: Path) -> None:
    teacher = random_network(tmp_path / "teacher.safetensors")
    taught = ("train", "--alpha", "0.25", "--res", "48", *DATA, "--name", "student", "--teacher", teacher, *FEW)
    assert run_for_real(*taught).code == 0
    assert read_run(Path("results"), "student").records["a0.25_r48_c2"].teacher == teacher.name
    shutil.copytree("data/train/dark", "data/train/grey")
    shutil.copytree("data/val/dark", "data/val/grey")
    assert_refused(run_for_real(*taught[:-2], "--fresh"), "teacher", "has 2 outputs, the student has 3")


def test_a_precision_is_added_without_training_again(run_for_real: Run, data: Path) -> None:
    assert run_for_real("train", *TINY, *FEW).code == 0
    weights = Path("results/first/training/a0.25_r32_c2.safetensors")
    before = weights.read_bytes()
    ran = run_for_real("train", *TINY, *FEW, "--precision", "int8", "--max-loss-points", "100", "--json")
    assert ran.code == 0 and "epoch" not in ran.err, ran.err
    assert [row["cell"] for row in ran.json["runs"]] == ["a0.25_r32_c2", "a0.25_r32_c2_int8"]
    assert ran.json["runs"][1]["quantization"] == "after training" and weights.read_bytes() == before


def test_any_network_in_onnx_may_teach(run_for_real: Run, data: Path, tmp_path: Path) -> None:
    """One that answers by brightness, the wrong way round, of another resolution: it runs in a worker process."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"]),
    ]
    weight = np.array([[-9, 9]] * 3, np.float32)
    graph = helper.make_graph(
        nodes,
        "contrary",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 24, 24])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {"preprocessing.mean": "127.5", "preprocessing.std": "127.5"})
    onnx.save(model, tmp_path / "contrary.onnx")
    only_the_teacher = (ENOUGH[0], f"{ENOUGH[1]},teacher_weight=1,temperature=1,patience=0")
    ran = run_for_real("train", *TINY, "--teacher", "contrary.onnx", *only_the_teacher, "--json")
    assert ran.code == 0, ran.err
    last = list(csv.DictReader(Path("results/first/training/a0.25_r32_c2.csv").read_text().splitlines()))[-1]
    assert float(last["validation_pct"]) < 20
    assert Path("results/first/training/a0.25_r32_c2.last").is_file(), "the last weights are not the best"


def test_int8_that_loses_too_much_is_fine_tuned_with_quantization(
    run_for_real: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that int8 makes worse: at first, its int8 file is scored as if nearly all pictures were wrong."""
    from mnsweep.app import train as app

    scored: list[str] = []
    score = app._Run._score

    def worse(run: Any, trained: Any, precision: str) -> Any:
        found = score(run, trained, precision)
        scored.append(precision)
        lost = Scored(data="data", images=12, quality_pct=1.0, ci_low_pct=0.0, ci_high_pct=30.0, top5_pct=None)
        return lost if scored == ["fp32", "int8"] else found

    monkeypatch.setattr(app._Run, "_score", worse)
    ran = run_for_real("train", *TINY, *FEW, "--precision", "fp32,int8", "--json")
    assert ran.code == 0, ran.err
    assert scored == ["fp32", "int8", "fp32", "int8"]
    assert ran.json["runs"][1]["quantization"] == "quantization-aware fine-tuning"
    folder = Path("results/first/training")
    trained = read_trained(folder / "a0.25_r32_c2.safetensors")
    assert trained.weights.is_folded and not read_trained(folder / "a0.25_r32_c2.floats").weights.is_folded  # type: ignore[union-attr]


def test_pictures_that_can_t_be_read_are_named_and_left_out(run_for_real: Run, data: Path) -> None:
    (data / "train/dark/broken.png").write_text("no picture")
    ran = run_for_real("train", *TINY, *FEW)
    assert ran.code == 0 and "left out broken.png" in ran.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--alpha", "0.25", "--res", "32", "--data", "nowhere", "--name", "x"), ("--data", "nowhere")),
        (("--alpha", "0.25", "--res", "32", "--data", "empty", "--name", "x"), ("--data", "empty", "no pictures")),
        (("--alpha", "0.25", "--res", "32", *DATA, "--name", "a/b"), ("--name", "a/b")),
        ((*DATA, "--name", "x"), ("--alpha", "--res")),
        ((*TINY, "--recipe", "fast"), ("--recipe", "fast", "modern")),
        ((*TINY, "--set", "speed=3"), ("--set", "speed")),
        ((*TINY, "--teacher", "none.onnx"), ("--teacher", "none.onnx")),
        ((*TINY, "--weights", "none.h5"), ("none.h5",)),
        ((*TINY, "--classes", "7"), ("--classes", "7", "2 classes")),
        ((*TINY, "--task", "ssd"), ("--data", "neither annotations (COCO)")),
        ((*TINY, "--sweep", "paper"), ("--sweep", "--alpha")),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    run: Run, data: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    Path("empty").mkdir()
    assert_refused(run("train", *arguments), *parts)
    assert not Path("results").exists()


def test_too_little_memory_says_what_batch_fits(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnsweep.app.train_plan.psutil.virtual_memory", lambda: type("Memory", (), {"available": 500_000_000}))
    assert_refused(run("train", *TINY, "--set", "batch=4000"), "a0.25_r32_c2", "a batch of", "--set batch=")


def test_a_sweep_whose_one_network_fails_goes_on(run_for_real: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mnsweep.app import train as app

    whole = train_job

    def fails_at_32(job: Any, *others: Any) -> Any:
        if "r32" in job.name:
            raise MnsweepError(f"{job.name}: the loss is not a finite number in epoch 1, step 1")
        return whole(job, *others)

    monkeypatch.setattr(app, "train_job", fails_at_32)
    ran = run_for_real("train", "--alpha", "0.25", "--res", "32,48", *DATA, "--name", "s", *FEW)
    assert ran.code == 3 and "a0.25_r32_c2 failed: " in ran.err and "a0.25_r48_c2: top-1" in ran.out


@pytest.mark.parametrize("command", ["grid", "explore", "pick"])
def test_a_run_that_is_not_there_is_named(run: Run, command: str, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    ran = run(command, "--quality-source", "trained:nothing", *(("--max-latency-ms", "5") if command == "pick" else ()))
    assert ran.code == 2 and ran.err.count("\n") == 1
    if command != "pick":  # which first finds that there is no sweep
        assert_refused(ran, "trained:nothing", "no such training run")


def test_published_accuracies_alone_can_be_counted(run: Run) -> None:
    assert_refused(run("count", "--quality-source", "trained:x"), "--quality-source", "trained:x")


def _scores(cells: dict[str, float], images: int = 2000) -> dict[str, Scored]:
    return {cell: Scored("d", images, pct, max(0.0, pct - 1), min(100.0, pct + 1)) for cell, pct in cells.items()}


def made_up_run(precision: str = "") -> dict[str, Scored]:
    """Accuracies on a quadratic surface in logits, one of them perfect."""
    cells = {}
    for alpha in (0.25, 0.5, 0.75, 1.0):
        for res in (32, 48, 64, 96):
            logit = 2 + math.log(alpha) + 2 * math.log(res / 64)
            cells[f"a{alpha}_r{res}_c16{precision}"] = 100 / (1 + math.exp(-logit))
    return _scores(cells)


def test_a_run_is_a_source_of_accuracies_with_a_surface() -> None:
    sweep = Sweep("s", (parse_cell("a0.3_r64_c16"),), "trained:mine", trained=made_up_run())
    source = sweep.accuracies
    assert isinstance(source, RunAccuracies) and len(anchors(source, "fp32")) == 16
    known = published(parse_cell("a0.25_r64_c16_t2"), source)
    assert known is not None and known.deviation_pct == pytest.approx(1 / 1.96) and known.provenance == "trained: mine"
    as_bf16 = published(parse_cell("a0.25_r64_c16_bf16_openvino"), source)
    assert as_bf16 is not None and as_bf16.provenance == "inherited from fp32, trained: mine"
    assert published(parse_cell("a0.25_r64"), source) is None  # of a thousand classes
    predicted = quality_of(Cell(Design.of(0.3, 72, classes=16)), source)
    assert predicted is not None and predicted[0].provenance == "predicted: trained:mine"
    expected = 100 / (1 + np.exp(-(2 + np.log(0.3) + 2 * np.log(72 / 64))))
    assert predicted[0].quality_pct == pytest.approx(expected, abs=0.05)
    assert quality_of(Cell(Design.of(0.3, 72)), source) is None
    assert quality_of(Cell(Design.of(0.3, 72, classes=16), Deployment("int8")), source) is None


def test_all_pictures_right_have_a_surface_too() -> None:
    scores = {**made_up_run(), **_scores({"a1.0_r96_c16": 100.0})}
    source = Sweep("s", (parse_cell("a0.3_r64_c16"),), "trained:mine", trained=scores).accuracies
    found = quality_of(Cell(Design.of(0.9, 90, classes=16)), source)
    assert found is not None and 90 < found[0].quality_pct < 100


def test_a_sweep_file_keeps_the_accuracies_of_its_run() -> None:
    sweep = Sweep("s", (parse_cell("a0.25_r64_c16"),), "trained:mine", trained=made_up_run())
    assert parse_sweep(write_sweep(sweep), Path("sweep.toml")) == sweep
    with pytest.raises(MnsweepError, match="names a training run"):
        parse_sweep('quality_source = "trained:mine"', Path("s.toml"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"cell": 3}'])
def test_a_damaged_record_is_named(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results/mine/training/a0.25_r32_c2.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert_refused(run("grid", "--quality-source", "trained:mine"), path.name, "is damaged")


def test_the_api_gives_a_frame(run_for_real: Run, data: Path) -> None:
    frame = mnsweep.train("data", "api", 0.25, 32, set="epochs=1,batch=8")
    assert list(frame["cell"]) == ["a0.25_r32_c2"] and frame["images"].dtype == "Int64"
    record = json.loads(Path("results/api/training/a0.25_r32_c2.json").read_text())
    assert frame["top1_pct"][0] == record["scores"]["a0.25_r32_c2"]["quality_pct"]


def write_run(results: Path, name: str, scores: dict[str, Scored]) -> None:
    """Records of a run whose weights are elsewhere."""
    for cell, score in scores.items():
        record = TrainedRecord(
            cell=cell, key="k", data="d", weights=f"{cell}.safetensors", sha256="", curve="", recipe={}, seed=0, epochs=1,
            best_epoch=1, seconds=1.0, images_per_s=1.0, busy_share=1.0, scores={cell: score},
        )  # fmt: skip
        path = results / name / "training" / f"{cell}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(record))


def test_a_run_is_explored_with_its_surface(worker: FakeWorker) -> None:
    write_run(Path("results"), "mine", made_up_run())
    frame = mnsweep.explore(
        "0.25:1.0:0.05", "32:96:16", measure=8, verify=1, rules=FAST, quality_source="trained:mine", name="own"
    ).set_index("cell")
    assert {cell.endswith("_c16") for cell in frame.index} == {True} and len(frame) == 80
    own, between = frame.loc["a0.5_r64_c16"], frame.loc["a0.55_r80_c16"]
    assert own["quality_source"] == "trained: mine" and between["quality_source"] == "predicted: trained:mine"
    assert frame.loc["a0.5_r96_c16"]["quality_pct"] > between["quality_pct"] > own["quality_pct"]
    with pytest.raises(MnsweepError, match="outside of"):
        mnsweep.explore(
            "0.25:1.0:0.05", "96:160:16", measure=8, verify=1, rules=FAST, quality_source="trained:mine", name="far"
        )
