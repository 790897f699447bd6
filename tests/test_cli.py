"""The program, as a user runs it: what it prints, where, and what it exits with. Nothing is measured here."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest

import mnsweep
from mnsweep.cell import parse_cell
from mnsweep.cli.main import main
from mnsweep.machine.fingerprint import read_machine
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import WorkerProcess
from tests.conftest import FAILED, TRUTH_MS
from tests.test_result import COLUMNS

LOCK = "mnsweep.machine.lock"
START = WorkerProcess.__enter__  # before anybody replaces it


@dataclass(frozen=True)
class Ran:
    """What a run of the program left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """The program, in this process and an empty directory; no worker may start."""

    def refuse(worker: WorkerProcess) -> WorkerProcess:
        raise AssertionError("this would measure")

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["mnsweep", *map(str, arguments)])
        for command in ("grid", "explore"):  # this process may be older than a default time budget
            monkeypatch.setattr(f"mnsweep.cli.{command}.STARTED", time.monotonic())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    monkeypatch.setattr(WorkerProcess, "__enter__", refuse)
    return run


@pytest.fixture
def run_for_real(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with workers that start, and a lock of its own."""
    monkeypatch.setattr(WorkerProcess, "__enter__", START)
    monkeypatch.setenv("MNSWEEP_LOCK_DIR", str(tmp_path))
    return run


def assert_refused(ran: Ran, *parts: object) -> None:
    """Exit status 2, and one line on stderr that names what was wrong; with --json a document that says the same."""
    assert ran.code == 2
    assert ran.out == "" or (ran.json["error"]["exit"] == 2 and ran.json["error"]["what"] in ran.err)
    assert ran.err.startswith("mnsweep: ") and ran.err.count("\n") == 1 and ran.err.endswith("\n"), ran.err
    for part in parts:
        assert str(part) in ran.err


def table_of(text: str) -> dict[str, list[str]]:
    """The rows of a printed table, by their first word."""
    return {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_version(run: Run) -> None:
    assert run("--version") == Ran(0, f"mnsweep {mnsweep.__version__}\n", "")
    assert re.fullmatch(r"\d+\.\d+\.\d+", mnsweep.__version__)


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(run: Run, flag: str) -> None:
    ran = run(flag)
    assert (ran.code, ran.err) == (0, "")
    for command in ("grid", "pick", "count", "export"):
        assert re.search(rf"\b{command}\b", ran.out)


@pytest.mark.parametrize("command", ["grid", "pick", "count", "export"])
def test_help_of_every_command_has_an_example_that_is_understood(run: Run, command: str) -> None:
    ran = run(command, "-h")
    assert ran.code == 0
    example = re.search(rf"Example: (mnsweep {command} .+)", ran.out)
    assert example
    words = shlex.split(example[1])[1:]
    ran = run(*words, *(["--dry-run"] if command == "grid" else []))
    assert "--help" not in ran.err
    assert ran.code == (2 if command == "pick" else 0)  # there is nothing to pick from yet


def test_no_arguments_show_the_help_and_are_wrong_usage(run: Run) -> None:
    ran = run()
    assert ran.code == 2 and "Usage" in ran.out + ran.err


def test_module_and_program_are_one(tmp_path: Path) -> None:
    for command in ([sys.executable, "-m", "mnsweep"], [str(Path(sys.executable).with_name("mnsweep"))]):
        ran = subprocess.run([*command, "frobnicate"], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert_refused(Ran(ran.returncode, ran.stdout, ran.stderr), "frobnicate", "mnsweep --help")


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnsweep", "count", "--alpha", "0.01:2:0.01", "--res", "32:512:16", "--csv"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith(b"cell,alpha,")
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 141)
    process.stderr.close()


# Sums over the rows of the paper's Table 1 at 10, 21, 42 … channels and 100, 50, 25, 13, 7 px, by hand.
COUNTS_033_200 = {"params": 698_965, "mult_adds": 57_594_632, "peak_activation_bytes": 4 * (10 + 21) * 100**2}


def test_count_as_json_is_exact(run: Run) -> None:
    ran = run("count", "--alpha", "0.33", "--res", "200", "--json")
    document = ran.json
    (cell,) = document.pop("cells")
    assert document == {"schema_version": 1, "sweep": None, "machine": None, "results_dir": None}
    assert list(cell)[: len(COLUMNS)] == COLUMNS
    assert cell["cell"] == "a0.33_r200"
    assert {name: cell[name] for name in COUNTS_033_200} == COUNTS_033_200
    assert (ran.code, ran.err) == (0, "")


def test_count_as_csv_is_exact(run: Run) -> None:
    ran = run("count", "--alpha", "0.33,1.0", "--res", "200:224:24", "--csv")
    assert (ran.code, ran.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["cell"] for row in rows] == ["a0.33_r200", "a0.33_r224", "a1.0_r200", "a1.0_r224"]
    assert {name: int(rows[0][name]) for name in COUNTS_033_200} == COUNTS_033_200
    assert (rows[3]["params"], rows[3]["mult_adds"], rows[3]["quality_pct"]) == ("4231976", "568740352", "70.9")


def test_count_as_a_table_with_a_next_step_on_stderr(run: Run) -> None:
    ran = run("count", "--alpha", "0.33,1.0", "--res", "224")
    rows = table_of(ran.out)
    assert ran.code == 0
    assert rows["a1.0_r224"][:2] == ["4.23", "568.7"] and rows["a1.0_r224"][-1] == "70.9"
    assert rows["a0.33_r224"][-1] == "–"
    assert ran.err == "next: mnsweep grid --alpha 0.33,1.0 --res 224\n"
    assert run("count", "--alpha", "0.33,1.0", "--res", "224", "-q") == Ran(0, ran.out, "")


@pytest.mark.parametrize("alpha", ["0.25", "0.25, 0.5", "0.25:1:0.25"])
def test_the_next_step_of_count_can_be_typed_as_it_stands(run: Run, alpha: str) -> None:
    said = run("count", "--alpha", alpha, "--conv-padding", "keras").err.removeprefix("next: mnsweep ")
    planned = run(*shlex.split(said), "--dry-run", "--json")
    counted = run("count", "--alpha", alpha, "--conv-padding", "keras", "--json")
    assert planned.code == 0
    assert planned.json["cells"] == [cell["cell"] for cell in counted.json["cells"]]


def test_count_layers_add_up(run: Run) -> None:
    one = ("count", "--alpha", "0.33", "--res", "200", "--layers")
    layers = run(*one, "--json").json["layers"]
    assert len(layers) == 29
    assert [sum(row[name] for row in layers) for name in ("params", "mult_adds")] == [698_965, 57_594_632]
    rows = list(csv.DictReader(io.StringIO(run(*one, "--csv").out)))
    assert [{k: str(v) for k, v in row.items()} for row in layers] == rows
    printed = table_of(run(*one).out)
    assert printed["total"] == ["698,965", "57,594,632"]
    assert "10×100²" in run(*one).out and "stem" in printed and "classifier" in printed


# The truth of the made-up folder: 8 ms for a1.0_r128 (65.2 %), 7 ms for a0.75_r192 (67.2 %), up to 5 % slower in some rounds.
def test_pick_as_json(run: Run, sweep_folder: SweepFolder) -> None:
    ran = run("pick", "--max-latency-ms", "10", "--json")
    document = ran.json
    assert list(document) == ["schema_version", "choice", "runner_up", "onnx_path", "reason"]
    assert (ran.code, document["schema_version"]) == (0, 1)
    assert list(document["choice"])[: len(COLUMNS)] == COLUMNS
    assert (document["choice"]["cell"], document["runner_up"]["cell"]) == ("a0.75_r192", "a1.0_r128")
    assert document["onnx_path"] is None
    assert "a0.75_r192" in document["reason"] and "public TensorFlow checkpoint" in document["reason"]
    assert document["choice"]["latency_ci_high_ms"] <= 10
    rows = csv.DictReader(io.StringIO(sweep_folder.read_text("cells.csv")))
    (row,) = (row for row in rows if row["cell"] == "a0.75_r192")
    assert {k: str(v) for k, v in document["choice"].items() if v is not None and v is not True} == {
        k: v for k, v in row.items() if v not in ("", "true") and k != "schema_version"
    }


def test_pick_as_text(run: Run, sweep_folder: SweepFolder) -> None:
    ran = run("pick", "--min-top1", "60")
    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0].startswith("choice     a0.75_r192: 67.2 % top-1 (published: slim-2018-08), ")
    assert lines[1].startswith("runner-up  a1.0_r128: 65.2 %")
    assert lines[2].startswith("why        a0.75_r192 is the fastest of 3 feasible cells (of 5 ")
    assert run("pick", "--min-top1", "60", "-q") == Ran(0, ran.out, "")


@pytest.mark.parametrize("where", [[], ["--results-dir", "moved"]])
def test_what_pick_says_next_can_be_typed_as_it_stands(run: Run, sweep_folder: SweepFolder, where: list[str]) -> None:
    if where:
        Path("results").rename("moved")
    ran = run("pick", "--max-latency-ms", "9.87654321", *where)
    advice = dict(line.split(": mnsweep ", 1) for line in ran.err.splitlines())
    again = run(*shlex.split(advice["reproduce"]))
    assert (again.code, again.out) == (0, ran.out)
    exported = run(*shlex.split(advice["next"]), "--json")
    assert exported.code == 0
    assert exported.json["choice"]["cell"] == "a0.75_r192"
    assert Path("model.onnx").is_file()


@pytest.mark.parametrize(
    "bounds, said",
    [
        (["--max-latency-ms", "0.1"], "--max-latency-ms 0.1 excludes all 5 cells: the fastest available is a0.25_r128"),
        (["--min-top1", "99"], "--min-top1 99 excludes all 5 cells: the nearest is a1.0_r224 with 70.9 %"),
        (
            ["--max-latency-ms", "10", "--max-params-m", "0.1"],
            "--max-params-m 0.1 excludes all 5 cells: the nearest is a0.25_r",
        ),
        (["--precision", "int8"], "--precision int8 excludes all 5 cells: this sweep has fp32"),
        (["--task", "ssd"], "--task ssd excludes all 5 cells: this sweep has classify"),
    ],
)
def test_nothing_feasible_is_exit_status_1(run: Run, sweep_folder: SweepFolder, bounds: list[str], said: str) -> None:
    ran = run("pick", *bounds, "--export", "model.onnx")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count("\n") == 1 and said in ran.err
    document = run("pick", *bounds, "--json").json
    assert (document["choice"], document["runner_up"], document["onnx_path"]) == (None, None, None)
    assert not Path("model.onnx").exists()


def test_pick_reads_the_sweep_that_is_named(run: Run, sweep_folder: SweepFolder) -> None:
    other = sweep_folder.path.parents[1] / "other" / sweep_folder.machine
    shutil.copytree(sweep_folder.path, other)
    lines = (other / "cells.csv").read_text().splitlines(keepends=True)
    (other / "cells.csv").write_text("".join(line for line in lines if not line.startswith("a1.0_r224")))
    os.utime(other / "cells.csv", (1, 1))
    for named, top1 in ((["--sweep", "other"], 67.2), (["--sweep", str(other)], 67.2), (["--sweep", "grid"], 70.9), ([], 70.9)):
        assert run("pick", "--max-size-mb", "100", *named, "--json").json["choice"]["quality_pct"] == top1


def dims(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def checked(path: Path) -> tuple[list[int | str], list[int | str]]:
    """Shapes of input and output of a model that the official checker accepts."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("image", "logits")
    return dims(image), dims(logits)


def test_pick_exports_the_choice(run: Run, sweep_folder: SweepFolder) -> None:
    ran = run("pick", "--max-latency-ms", "1.5", "--export", "model.onnx", "--json")
    assert ran.code == 0
    assert (ran.json["choice"]["cell"], ran.json["onnx_path"]) == ("a0.25_r128", "model.onnx")
    assert "random weights" in ran.err
    assert checked(Path("model.onnx")) == ([1, 3, 128, 128], [1, 1000])
    described = Path("model.onnx").stat().st_size - ran.json["choice"]["onnx_bytes"]
    assert 0 < described < 1000, "the file says what it is; the file that is timed does not"


@pytest.mark.parametrize(("batch", "dim"), [([], 1), (["--batch", "2"], 2), (["--batch", "symbolic"], "batch")])
def test_export_writes_a_model(run: Run, batch: list[str], dim: int | str) -> None:
    ran = run("export", "--alpha", "0.25", "--res", "96", "--classes", "7", "--out", "m.onnx", *batch)
    assert ran.code == 0 and ran.out.startswith("m.onnx: a0.25_r96") and "random weights" in ran.err
    assert checked(Path("m.onnx")) == ([dim, 3, 96, 96], [dim, 7])


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        (["--alpha", "0.25", "--res", "32"], "mobilenet",
         {"cell": "a0.25_r32_pnone", "alpha": "0.25", "precision": "fp32", "batch": "1", "deployed_channels": "unpadded"}),
        (["--alpha", "0.3", "--res", "32", "--pad", "16", "--batch", "symbolic", "--seed", "3"], "mobilenet",
         {"batch": "symbolic", "pad": "16", "weights": "random, seed 3"}),
        (["--alpha", "0.25", "--res", "32", "--variant", "shallow", "--task", "dogs"], "shallow", {"task": "dogs"}),
        (["--variant", "squeezenet"], "squeezenet", {"variant": "squeezenet", "classes": "1000"}),
    ],
)  # fmt: skip
def test_an_exported_file_says_what_it_is(run: Run, arguments: list[str], name: str, expected: dict[str, str]) -> None:
    assert run("export", *arguments, "--out", "m.onnx").code == 0
    model = onnx.load("m.onnx")
    assert (model.producer_name, model.producer_version, model.graph.name) == ("mnsweep", mnsweep.__version__, name)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert expected.items() <= said.items()
    cell = parse_cell(said["cell"])
    for field, value in {**asdict(cell.design), **asdict(cell.deployment), "batch": said["batch"]}.items():
        assert said[field] == str(value)


def test_export_is_seeded(run: Run) -> None:
    files = []
    for seed in (0, 0, 1):
        ran = run("export", "--alpha", "0.25", "--res", "32", "--out", "m.onnx", "--seed", seed, "--json")
        file = {"onnx_path": "m.onnx", "onnx_bytes": len(read("m.onnx"))}
        assert ran.json == {"schema_version": 1, "cell": "a0.25_r32_pnone", **file}
        files.append(read("m.onnx"))
    assert files[0] == files[1] != files[2]


def read(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--alpha", "0.5", "--res", "160"], "--out"),
        (["--alpha", "0.5", "--out", "m.onnx"], "--res"),
        (["--alpha", "wide", "--res", "160", "--out", "m.onnx"], "--alpha"),
        (["--alpha", "3", "--res", "160", "--out", "m.onnx"], "--alpha 3:"),
        (["--alpha", "nan", "--res", "160", "--out", "m.onnx"], "alpha nan"),
        (["--alpha", "0.5", "--res", "31", "--out", "m.onnx"], "--res 31:"),
        (["--alpha", "0.5", "--res", "160", "--out", "no/such/m.onnx"], "no/such/m.onnx"),
        (["--alpha", "0.5", "--res", "160", "--out", "."], "--out ."),
        (["--alpha", "0.5", "--res", "160", "--out", "m.onnx", "--batch", "two"], "--batch two"),
        (["--alpha", "0.5", "--res", "160", "--out", "m.onnx", "--batch", "0"], "batch 0"),
        (["--alpha", "0.5", "--res", "160", "--out", "m.onnx", "--seed", "-1"], "--seed"),
        (["--alpha", "0.5", "--res", "160", "--out", "m.onnx", "--conv-padding", "none"], "none"),
    ],
)
def test_what_cannot_be_exported_is_one_line(run: Run, arguments: list[str], part: str) -> None:
    assert_refused(run("export", *arguments), part)
    assert not Path("m.onnx").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["grid", "--frobnicate"],
        ["grid", "extra"],
        ["grid", "--alpha"],
        *(["grid", "--alpha", value] for value in ("0", "-1", "nan", "inf", "abc", "0.25,,0.5", "1e9", "2.01", "", ",", "١")),
        *(["grid", "--alpha", value] for value in ("0.5:0.1:0.1", "0.1:0.5", "0.1:0.5:0", "0.1:0.5:-1", "0:1:0.5", "::")),
        *(["grid", "--res", value] for value in ("0", "31", "1025", "224.5", "1:1000000:1", "abc", "32:64:0.5", "-128")),
        *(["grid", "--threads", value] for value in ("0", "1.5", "many", "1e99")),
        *(["grid", "--batch", value] for value in ("0", "-1", "many")),
        *(["grid", "--classes", value] for value in ("0", "-1", "1.5", "many")),
        *(["grid", f"--{name}", "other"] for name in ("width-rule", "conv-padding", "activation", "quality-source")),
        *(["grid", f"--{name}", "other"] for name in ("variant", "task")),
        ["count", "--variant", "vgg16", "--alpha", "0.5"],
        ["count", "--variant", "vgg16", "--task", "ssd"],
        ["count", "--task", "ssd", "--res", "32"],
        ["count", "--task", "ssd", "--classes", "1"],
        ["count", "--task", "faster-rcnn", "--res", "64"],
        ["grid", "--task", "ssd", "--precision", "int8"],
        ["export", "--alpha", "1", "--res", "300", "--task", "ssd", "--batch", "symbolic", "--out", "m.onnx"],
        *(["grid", "--name", value] for value in ("a/b", "..", "a b", "-", "α")),
        *(["grid", "--sweep", value] for value in ("nothing", "no/such.toml", "such.toml", "*", "", "x" * 300, ".")),
        ["grid", "--name", "x" * 300],
        ["grid", "--sweep", "paper", "--alpha", "0.5"],
        ["grid", "--sweep", "paper", "--classes", "10"],
        ["grid", "--max-designs", "15"],
        ["grid", "--max-designs", "few"],
        ["count", "--alpha", "0"],
        ["count", "--layers"],
        ["count", "--quality-source", "hearsay"],
        ["pick", "extra"],
        *(["pick", "--max-latency-ms", value] for value in ("nan", "-1", "inf", "abc")),
        *(["pick", f"--{name}", "-1"] for name in ("margin-pct", "min-top1", "max-params-m", "max-mult-adds-m", "max-size-mb")),
        ["pick", "--max-memory-mb", "nan"],
        ["pick", "--max-memory-kb", "-1"],
        *(["pick", "--sweep", value] for value in ("nothing", "no/such", "*", "", "x" * 300)),
        ["pick"],
        ["pick", "--json"],
        ["pick", "--max-latency-ms", "10", "--results-dir", "no/such"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)  # fmt: skip
def test_what_is_wrong_is_one_line(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert_refused(ran)
    assert not [path for path in Path().rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["grid", "--alpha", "0.25,,0.5"], ["--alpha 0.25,,0.5"]),
        (["grid", "--alpha", "nan"], ["--alpha nan"]),
        (["grid", "--res", "224.5"], ["--res 224.5", "32 to 1024"]),
        (["grid", "--res", "1:1000000:1"], ["--res 1:1000000:1", "--max-designs"]),
        (["grid", "--sweep", "nothing"], ["--sweep nothing", "paper"]),
        (["pick"], ["results", "mnsweep grid"]),
        (["pick", "--max-latency-ms", "-1"], ["--max-latency-ms -1"]),
    ],
)
def test_the_line_names_the_value_and_the_mend(run: Run, arguments: list[str], parts: list[str]) -> None:
    assert_refused(run(*arguments), *parts)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("alpah = 1\n", "alpah"),
        ('alpha = "wide"\n', "alpha"),
        ("classes = 1.5\n", "classes"),
        ("alpha = [\n", "is not TOML"),
        ("\xff", "is not TOML"),
    ],
)
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_wrong_sweep_file_is_one_line(run: Run, text: str, key: str, dry_run: list[str]) -> None:
    Path("mine.toml").write_text(text, encoding="utf-8")
    assert_refused(run("grid", "--sweep", "mine.toml", *dry_run), "mine.toml: ", key)


def cut_row(text: str) -> str:
    return text[:-30]


def cut_header(text: str) -> str:
    return text[: text.index(",schema_version")]


def newer(text: str) -> str:
    return text.replace(",1\n", ",2\n")


@pytest.mark.parametrize(
    "damage",
    [cut_row, cut_header, newer, lambda text: "", lambda text: "\0" * 99],
    ids=["row", "header", "newer", "empty", "zeros"],
)
@pytest.mark.parametrize("output", [[], ["--json"]])
def test_a_damaged_table_is_one_line(
    run: Run, sweep_folder: SweepFolder, damage: Callable[[str], str], output: list[str]
) -> None:
    path = sweep_folder.path / "cells.csv"
    path.write_text(damage(path.read_text()))
    assert_refused(run("pick", "--max-latency-ms", "10", *output), "cells.csv")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_table_with_numbers_that_are_none_is_one_line(run: Run, sweep_folder: SweepFolder, value: str) -> None:
    path = sweep_folder.path / "cells.csv"
    path.write_text(path.read_text().replace(",67.2,", f",{value},"))
    assert_refused(run("pick", "--max-latency-ms", "10", "--json"), "cells.csv")


def test_a_table_that_is_not_text_is_one_line(run: Run, sweep_folder: SweepFolder) -> None:
    (sweep_folder.path / "cells.csv").write_bytes(b"\xff\xfe\x00")
    assert_refused(run("pick"), "cells.csv")


def test_an_export_that_cannot_be_written_is_one_line(run: Run, sweep_folder: SweepFolder) -> None:
    assert_refused(run("pick", "--max-latency-ms", "10", "--export", "no/such/m.onnx"), "--export no/such/m.onnx")


def test_another_machines_results_are_not_mixed_with_ours(run: Run, sweep_folder: SweepFolder) -> None:
    here = sweep_folder.read_machine()
    elsewhere = replace(here, checked={**here.checked, "cpu": "Another CPU"})
    (sweep_folder.path / "machine.json").unlink()
    sweep_folder.write_machine(elsewhere)
    before = snapshot(sweep_folder.path)
    assert_refused(run("grid", "--quick"), "another machine", "cpu")
    assert snapshot(sweep_folder.path) == before


def test_another_machines_results_are_named_and_not_picked_from(run: Run, sweep_folder: SweepFolder) -> None:
    elsewhere = sweep_folder.path.with_name("other-machine")
    sweep_folder.path.rename(elsewhere)
    assert_refused(run("pick"), "mnsweep grid")
    assert_refused(run("pick", "--sweep", "grid"), "another machine", "results/grid/other-machine")
    assert run("pick", "--sweep", "results/grid/other-machine").code == 0


@pytest.mark.parametrize("arguments", [["--results-dir", "taken"], ["--results-dir", "taken", "--fresh"]])
def test_results_that_cannot_be_written_are_one_line(run: Run, arguments: list[str]) -> None:
    Path("taken").write_text("mine")
    assert_refused(run("grid", "--quick", "--alpha", "0.25", "--res", "128", *arguments), "taken", "another folder")
    assert Path("taken").read_text() == "mine"


@pytest.mark.parametrize("name", ["blocks.jsonl", "sweep.toml", "machine.json"])
@pytest.mark.parametrize("content", [b"not what it was\n", b"\xff\xfe\n"])
def test_a_damaged_folder_is_one_line_and_stays_as_it_is(
    run: Run, sweep_folder: SweepFolder, name: str, content: bytes
) -> None:
    (sweep_folder.path / name).write_bytes(content)
    before = snapshot(sweep_folder.path)
    assert_refused(run("grid", "--quick"), name)
    assert snapshot(sweep_folder.path) == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["--json"], ["--fresh"], ["--quick"], ["--name", "x"], ["--results-dir", "x"], ["--sweep", "paper", "--json"]],
)
def test_dry_run_touches_no_file(run: Run, sweep_folder: SweepFolder, tmp_path: Path, arguments: list[str]) -> None:
    before = snapshot(tmp_path)
    ran = run("grid", "--dry-run", *arguments)
    assert ran.code == 0 and ran.out
    assert snapshot(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_dry_run_prints_the_plan(run: Run) -> None:
    ran = run("grid", "--dry-run", "--alpha", "0.25,0.33", "--res", "200")
    assert (ran.code, ran.out.splitlines()[1:]) == (0, ["a0.25_r200", "a0.33_r200"])
    assert "2 cells" in ran.out and f"results/grid/{read_machine().key}" in ran.out
    assert re.search(r"\babout [0-9]+ s\b", ran.out + ran.err)
    assert list(Path().iterdir()) == []


def test_dry_run_as_json(run: Run) -> None:
    ran = run("grid", "--dry-run", "--sweep", "paper", "--json", "-q")
    assert (ran.code, ran.err) == (0, "")
    plan = ran.json
    assert (plan["schema_version"], plan["sweep"], len(plan["cells"])) == (1, "paper", 16)
    assert plan["cells"][0] == "a0.25_r128" and plan["seconds"] > 0


def test_dry_run_adds_what_is_asked_to_what_is_left(run: Run, sweep_folder: SweepFolder) -> None:
    asked = ("grid", "--dry-run", "--alpha", "0.6", "--res", "176", "--json")
    assert run(*asked).json["cells"] == ["a0.6_r176"]
    assert run(*asked, "--all").json["cells"][-2:] == [FAILED, "a0.6_r176"]


@pytest.fixture
def settled(sweep_folder: SweepFolder) -> SweepFolder:
    """A folder with nothing left to measure for `--quick`."""
    text = sweep_folder.read_text("sweep.toml")
    sweep_folder.replace("sweep.toml", text.replace(f'  "{FAILED}",\n', ""))
    return sweep_folder


def test_what_is_there_is_said_and_not_measured_again(run: Run, settled: SweepFolder) -> None:
    before = (settled.path / "blocks.jsonl").read_bytes()
    one = run("grid", "--quick", "--alpha", "0.25", "--res", "128")
    assert set(table_of(one.out)) & set(TRUTH_MS) == {"a0.25_r128"} and "5 more cells of this sweep: --all" in one.err
    ran = run("grid", "--quick", "--alpha", "0.25", "--res", "128", "--all")
    assert ran.code == 0
    for part in ("already", "2025-01-01T12:00:00", "--fresh", "next: mnsweep pick --sweep grid"):
        assert part in ran.err
    rows = table_of(ran.out)
    assert set(TRUTH_MS) <= set(rows)
    assert rows["a1.0_r224"][:2] == ["4.23", "568.7"] and rows["a1.0_r224"][-2:] == ["70.9", "●"]
    assert (settled.path / "blocks.jsonl").read_bytes() == before


def test_grid_as_json_is_the_table(run: Run, settled: SweepFolder) -> None:
    ran = run("grid", "--quick", "--alpha", "0.25", "--res", "128", "--all", "--json", "-q")
    document = ran.json
    assert (ran.code, ran.err) == (0, "")
    about = {"schema_version": 1, "sweep": "grid", "machine": settled.machine, "results_dir": f"results/grid/{settled.machine}"}
    assert {name: document[name] for name in about} == about
    assert [cell["cell"] for cell in document["cells"]] == list(TRUTH_MS)
    assert all(list(cell)[: len(COLUMNS)] == COLUMNS for cell in document["cells"])
    for cell in document["cells"]:
        assert cell["latency_p50_ms"] == pytest.approx(TRUTH_MS[cell["cell"]], rel=0.06)
        assert cell["latency_ci_low_ms"] <= cell["latency_p50_ms"] <= cell["latency_ci_high_ms"]
        assert (cell["latency_source"], cell["samples"]) == ("measured", 60)


def test_results_dir_comes_from_the_environment(run: Run, settled: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("results").rename("moved")
    assert run("pick", "--max-latency-ms", "10").code == 2
    monkeypatch.setenv("MNSWEEP_RESULTS", "moved")
    assert run("pick", "--max-latency-ms", "10").code == 0


def test_a_torn_line_is_a_warning_of_one_line(sweep_folder: SweepFolder) -> None:
    blocks = sweep_folder.path / "blocks.jsonl"
    blocks.write_bytes(blocks.read_bytes()[:-9])
    command = [sys.executable, "-m", "mnsweep", "grid", "--dry-run"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    (warning,) = (line for line in ran.stderr.splitlines() if not line.startswith("sweep grid: "))
    assert warning.startswith("mnsweep: warning: ") and "blocks.jsonl" in warning and "cut short" in warning


def test_an_interrupt_is_one_line_and_exit_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(worker: WorkerProcess) -> WorkerProcess:
        raise KeyboardInterrupt

    monkeypatch.setattr(WorkerProcess, "__enter__", interrupt)
    ran = run("grid", "--quick", "--alpha", "0.25", "--res", "32", "-q")
    assert (ran.code, ran.out) == (130, "")
    assert ran.err.startswith("mnsweep: interrupted") and ran.err.count("\n") == 1


def test_the_python_api_says_what_the_commands_say(run: Run, sweep_folder: SweepFolder) -> None:
    counted = mnsweep.count(alpha="0.33", res=[200])
    assert list(counted.columns)[: len(COLUMNS)] == COLUMNS
    assert counted.to_dict("records")[0]["mult_adds"] == COUNTS_033_200["mult_adds"]
    choice = mnsweep.pick(max_latency_ms=10).choice
    assert choice and choice.cell == run("pick", "--max-latency-ms", "10", "--json").json["choice"]["cell"]
    assert mnsweep.export(0.25, 32, "api.onnx") == Path("api.onnx")
    run("export", "--alpha", "0.25", "--res", "32", "--out", "cli.onnx")
    assert read("api.onnx") == read("cli.onnx")
