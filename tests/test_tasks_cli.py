"""Every task as a user meets it: data, train, evaluate, grid, pick and classify, with the same commands for all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from mnsweep.accuracy.metrics import METRICS
from mnsweep.app.data import DATA_SETS
from mnsweep.pictures.generated import Wanted
from mnsweep.pictures.scenes import SIGNS, scene
from mnsweep.tasks.kinds import kind_of
from mnsweep.training.loop import reproducible
from tests.test_cli import Run, assert_refused, run, run_for_real

__all__ = ["run", "run_for_real"]
SMALL = Wanted(train=32, validation=24, size=48, seed=0)
OF_TASK = {task: (name, inner) for name, data in DATA_SETS.items() for task, inner in data.tasks.items()}
BRIEF = ("--set", "epochs=1,batch=8,norm_momentum=0.5,ema=0")


@pytest.fixture(autouse=True)
def one_thread_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches run faster on one thread, and others run tests beside these."""
    monkeypatch.setattr("mnsweep.app.train.reproducible", lambda threads: reproducible(1))


def make(name: str, folder: Path) -> None:
    """A small generated data set, drawn here."""
    for _ in DATA_SETS[name].write(folder, SMALL, 1):
        pass


@pytest.mark.parametrize(("task", "resolution"), [("attributes", 32), ("embedding", 32), ("planet", 32), ("ssd", 48)])
def test_a_task_is_trained_scored_measured_picked_and_shown(
    run_for_real: Run, tmp_path: Path, task: str, resolution: int
) -> None:
    name, inner = OF_TASK[task]
    make(name, tmp_path / "d")
    held = tmp_path / "d" / inner
    size = ("--task", task, "--alpha", "0.25", "--res", str(resolution))
    ran = run_for_real("train", *size, "--data", "d", "--name", "run", *BRIEF, "--json")
    assert ran.code == 0, ran.err
    metric = kind_of(task).metric
    assert ran.json["metric"] == metric and ran.json["top1_pct"] is None and ran.json["images"] == 24
    assert 0 <= ran.json["quality_ci_low_pct"] <= ran.json["quality_pct"] <= ran.json["quality_ci_high_pct"] <= 100

    source = ("--quality-source", "trained:run")
    grid = run_for_real("grid", *size, *source, "--quick", "--json")
    (cell,) = grid.json["cells"]
    assert (cell["task"], cell["quality_metric"], cell["cell"]) == (task, metric, ran.json["cell"]), grid.err
    assert cell["quality_pct"] == pytest.approx(ran.json["quality_pct"], abs=1e-3) and cell["weights"]

    picked = run_for_real("pick", "--min-quality", "0", "--max-latency-ms", "1000", *source, "--export", "m.onnx", "--json")
    assert picked.code == 0 and picked.json["choice"]["cell"] == cell["cell"], picked.err
    properties = {p.key: p.value for p in onnx.load("m.onnx").metadata_props}
    assert properties["task"] == task

    scored = run_for_real("evaluate", "m.onnx", "--data", held, "--plot", "plot.png", "--json")
    assert scored.code == 0 and scored.json["metric"] == metric, scored.err
    assert scored.json["quality_pct"] == pytest.approx(ran.json["quality_pct"], abs=2)  # ranks of answers nearly alike
    with Image.open("plot.png") as plot:
        assert plot.size == (1680, 1080)
    told = run_for_real("evaluate", "m.onnx", "--data", held)
    assert told.out.startswith(METRICS[metric].short) and "24 pictures" in told.out

    shown = sorted(held.rglob("*.png"))[:3]
    drawn = ("--draw", "drawn") if task == "ssd" else ()
    classified = run_for_real("classify", "m.onnx", *shown, "--top", "2", *drawn, "--json")
    assert classified.code == 0, classified.err
    check_answers(task, classified.json["pictures"], properties)
    assert len(list(Path("drawn").glob("*.png"))) == (3 if drawn else 0)
    if drawn:
        assert_refused(run_for_real("classify", "m.onnx", *shown, *drawn), "drawn", "is there already")
    else:
        assert_refused(run_for_real("classify", "m.onnx", *shown, "--draw", "x"), "has no boxes")


def check_answers(task: str, pictures: list[dict[str, Any]], properties: dict[str, str]) -> None:
    """Each picture has the kind of answers that the task gives."""
    assert len(pictures) == 3
    for picture in pictures:
        for answer in picture["top"]:
            match task:
                case "embedding":
                    assert 0 <= answer["distance"] <= 2 and answer["label"] != picture["picture"]
                case "ssd":
                    left, top, right, bottom = answer["box"]
                    assert 0 <= left < right <= 48 and 0 <= top < bottom <= 48 and answer["label"] in SIGNS
                case _:
                    assert answer["label"] in json.loads(properties["labels"]) and 0 <= answer["probability"] <= 1


def test_noisy_labels_come_first_and_the_second_training_starts_from_them(run: Run, tmp_path: Path) -> None:
    for name, wrong in (("noisy", 0.5), ("clean", 0.0)):
        for _ in DATA_SETS["glyphs"].write(tmp_path / name, Wanted(160, 32, 32, 1, wrong), 1):
            pass
    moved = {p.name for p in (tmp_path / "noisy/train").rglob("*.png")}
    assert moved == {p.name for p in (tmp_path / "clean/train").rglob("*.png")}
    same = [
        p for p in (tmp_path / "clean/train").rglob("*.png") if (tmp_path / "noisy/train" / p.parent.name / p.name).exists()
    ]
    assert 50 < len(same) < 120 and len(list((tmp_path / "noisy/val/A").iterdir())) == 2
    asked = (
        "train",
        "--task",
        "dogs",
        "--alpha",
        "0.25",
        "--res",
        "32",
        "--data",
        "clean",
        "--noisy",
        "noisy",
        "--name",
        "run",
    )
    assert_refused(run(*asked, "--weights", "w.safetensors", "--dry-run"), "w.safetensors")
    planned = run(*asked, *BRIEF, "--dry-run", "--json")
    assert planned.code == 0 and planned.json["plan"][0]["cell"] == "a0.25_r32_dogs_c16", planned.err


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_data_set_depends_on_its_seed_alone(name: str, tmp_path: Path) -> None:
    wanted = Wanted(40, 40, 32, 7)
    for folder in ("one", "two"):
        for _ in DATA_SETS[name].write(tmp_path / folder, wanted, 1):
            pass
    for _ in DATA_SETS[name].write(tmp_path / "other", Wanted(40, 40, 32, 8), 1):
        pass
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len([path for path in files if path.suffix == ".png"]) == 80
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)
    pictures = [path for path in files if path.suffix == ".png" and (tmp_path / "other" / path).exists()]
    assert any((tmp_path / "one" / path).read_bytes() != (tmp_path / "other" / path).read_bytes() for path in pictures)
    for task in DATA_SETS[name].tasks:
        split = kind_of(task).split(tmp_path / "one", 0)
        assert split.is_own and len(split.train.paths) >= 30 and len(split.validation.paths) == 40


def test_boxes_of_a_scene_hold_its_signs(tmp_path: Path) -> None:
    """Pixels inside the boxes differ from the ground more than those outside, without clutter and noise to hide it."""
    inner, outer = [], []
    for number in range(30):
        picture, letters = scene(Wanted(1, 1, 96, 0), "train", number)
        assert scene(Wanted(1, 1, 96, 0), "train", number, pixels=False)[1] == letters and 1 <= len(letters) <= 3
        pixels = np.asarray(picture, float).mean(2)
        away = np.abs(pixels - np.median(pixels))
        mask = np.zeros_like(pixels, bool)
        for _, (left, top, right, bottom) in letters:
            assert 0 <= left < right <= 96 and 0 <= top < bottom <= 96
            mask[top:bottom, left:right] = True
        inner.append(away[mask].mean())
        outer.append(away[~mask].mean())
    assert np.mean(inner) > 2 * np.mean(outer)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("train", "--task", "ssd", "--alpha", "0.25", "--res", "48", "--precision", "int8"), ("int8", "fp32 alone")),
        (("train", "--task", "ssd", "--alpha", "0.25", "--res", "48", "--teacher", "t.onnx"), ("--teacher", "boxes alone")),
        (("train", "--task", "ssd", "--alpha", "0.25", "--res", "48", "--classes", "7"), ("--classes 7", "5 classes")),
        (("train", "--task", "attributes", "--alpha", "0.25", "--res", "48"), ("has no attributes.csv",)),
        (("data", "moons", "x"), ("moons", "glyphs, scenes, faces, places")),
        (("data", "faces", "x", "--wrong-labels", "0.5"), ("--wrong-labels", "no classes")),
        (("data", "scenes", "d"), ("is not empty",)),
        (("evaluate", "m.onnx", "--plot", "x.pdf"), ("x.pdf", ".png")),
        (("pick", "--min-quality", "101"), ("nothing is more accurate",)),
        (("pick", "--min-quality", "50", "--min-top1", "50"), ("contradict",)),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    run: Run, tmp_path: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    make("scenes", tmp_path / "d")
    own = ("--data", "d", "--name", "x") if words[0] == "train" else ("--data", "d") if words[0] == "evaluate" else ()
    assert_refused(run(*words, *own), *parts)
