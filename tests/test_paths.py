"""`~` in every path, however it was given, and the values that shell completion offers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mnsweep
from mnsweep.cli.completion import completion_of
from mnsweep.errors import MnsweepError
from mnsweep.options import at_home
from mnsweep.sweep.find import find_sweep_file, results_dir_or_default
from mnsweep.sweep.store import SweepFolder
from tests.fuzz import run

ANY_MS = ("--max-latency-ms", "100")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, beside an empty current one."""
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    return tmp_path / "home"


@pytest.fixture
def kept(sweep_folder: SweepFolder, home: Path) -> Path:
    """Results in the home folder."""
    shutil.move(sweep_folder.path.parents[1], home / "r")
    return home / "r"


@pytest.mark.parametrize("arguments", [("--results-dir=~/r",), ("--results-dir", "~/r"), ("--sweep", "~/r/grid/{machine}")])
def test_results_at_home(kept: Path, arguments: tuple[str, ...]) -> None:
    (machine,) = os.listdir(kept / "grid")
    ran = run("pick", *ANY_MS, *(word.format(machine=machine) for word in arguments))
    assert ran.status == 0, ran.err
    assert os.listdir() == []


def test_results_at_home_by_environment(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNSWEEP_RESULTS", "~/r")
    assert run("pick", *ANY_MS).status == 0
    assert mnsweep.pick(max_latency_ms=100).choice
    monkeypatch.delenv("MNSWEEP_RESULTS")
    assert mnsweep.pick(max_latency_ms=100, results_dir="~/r").choice
    assert os.listdir() == []


def test_files_at_home(kept: Path, home: Path) -> None:
    assert run("rebuild", "~/r").status == 0
    assert run("pick", *ANY_MS, "--results-dir=~/r", "--export=~/picked.onnx").status == 0
    assert run("export", "--alpha", "0.25", "--res", "32", "--out=~/m.onnx").status == 0
    mnsweep.export(0.25, 32, "~/python.onnx")
    (home / "mine.toml").write_text('name = "mine"\nalpha = "0.25"\nres = "32"\n')
    assert find_sweep_file("~/mine.toml", Path("results")) == home / "mine.toml"
    ran = run("export", "--alpha", "0.25", "--res", "32", "--precision", "int8", "--out=~/n.onnx", "--calibration=~/pictures")
    assert ran.status == 2 and str(home / "pictures") in ran.err
    assert {"picked.onnx", "m.onnx", "python.onnx"} <= set(os.listdir(home))
    assert os.listdir() == []


def test_a_tilde_that_is_nobodys_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_home("~no such user/x") == Path("~no such user/x")
    assert at_home("a~b/~") == Path("a~b/~")

    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert at_home("~draft.onnx") == Path("~draft.onnx")
    with pytest.raises(MnsweepError, match="no home folder"):
        results_dir_or_default("~/r")


def completed(words: str, cwd: Path | None = None) -> set[str]:
    """What bash is offered behind these words."""
    environment = {
        **os.environ,
        "_MNSWEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    program = "import sys; sys.argv[0] = 'mnsweep'; from mnsweep.cli.main import app; app(prog_name='mnsweep')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )
    return set(done.stdout.split())


def test_completion_in_a_shell(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNSWEEP_RESULTS", "~/r")
    assert completed("mnsweep grid --precision ") == {"fp32", "bf16", "int8"}
    assert completed("mnsweep grid --runtime op") == {"openvino"}
    assert completed("mnsweep pick --task em") == {"embedding"}
    assert {"vgg16"} == completed("mnsweep count --variant vgg")
    assert completed("mnsweep pick --sweep ") == {"grid"}


def test_completion_of_lists_and_sweeps(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    import mnsweep.cli.main as program

    command = typer.main.get_command(program.app)

    def offered(name: str, setting: str, typed: str, **given: object) -> list[str]:
        complete = completion_of(setting)
        context = typer.Context(command.commands[name], info_name=name)  # type: ignore[attr-defined]
        context.params = given
        assert complete
        return complete(context, typed)

    assert offered("grid", "precision", "fp32,") == ["fp32,bf16", "fp32,int8"]
    assert offered("grid", "precision", "fp32,i") == ["fp32,int8"]
    assert "paper" in offered("grid", "sweep", "", results_dir=Path("~/r")) and "grid" in offered(
        "grid", "sweep", "g", results_dir=kept
    )
    assert offered("pick", "sweep", "", results_dir=kept) == ["grid"]
    assert offered("pick", "sweep", "x", results_dir=kept) == []
    assert completion_of("alpha") is None


@pytest.mark.parametrize("setting", ["sweep", "precision", "runtime", "task", "variant"])
def test_every_command_with_such_an_option_completes_it(setting: str) -> None:
    import typer

    from mnsweep.cli.main import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = [option for command in commands.values() for option in command.params if option.name == setting]
    assert options and all(option._custom_shell_complete for option in options)
