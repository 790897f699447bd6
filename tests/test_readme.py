"""The README is true: its commands exist, its map is the package, its set-up commands can be found by `.ci/run`."""

import re
import shlex
from pathlib import Path
from shutil import copytree

import pytest
import typer.main

from mnsweep.cli.explore import _print as print_exploration
from mnsweep.cli.main import app
from mnsweep.cli.output import Form
from mnsweep.cli.show import console, results_table
from mnsweep.machine.conditions import find
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.derive import conclude
from mnsweep.sweep.runs import read_run
from mnsweep.sweep.store import SweepFolder
from tests.fuzz import run
from tests.test_conditions import QUIET

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "mnsweep" / "guide").glob("*.md"))}
DOCS = "\n".join([README, *GUIDE.values()])
HOUSE = GUIDE[ROOT / "mnsweep" / "guide" / "house.md"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PAPER = ROOT / "results" / "reference" / "paper"
MODULES = sorted(p for p in (ROOT / "mnsweep").rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown(name: str) -> None:
    assert f"mnsweep {name}" in README


def test_no_other_command_is_shown() -> None:
    shown = set(re.findall(r"^\$ mnsweep ([a-z]+)", DOCS, re.MULTILINE))
    assert shown
    assert shown <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_that_is_shown_exists(name: str) -> None:
    commands = [COMMANDS[name], *getattr(COMMANDS[name], "commands", {}).values()]
    known = {flag for command in commands for option in command.params for flag in option.opts} | {"--help"}
    for line in re.findall(rf"^\$ mnsweep {name}( .*)?$", DOCS, re.MULTILINE):
        assert set(re.findall(r"--[a-z0-9-]+", line)) <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    assert f"mnsweep {name}" in COMMANDS[name].epilog
    assert all(getattr(option, "help", None) for option in COMMANDS[name].params if option.opts[0].startswith("--"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_is_on_the_map(path: Path) -> None:
    inside = path.parent != ROOT / "mnsweep"
    (row,) = [
        line for line in HOUSE.splitlines() if line.startswith(f"| `{path.parent.name}/`" if inside else f"| `{path.name}`")
    ]
    assert not inside or f"`{path.stem}`" in row


@pytest.mark.parametrize("which", ["main command", "test command"])
def test_set_up_commands_stand_behind_their_marks(which: str) -> None:
    match = re.search(rf"<!-- {which} -->\n```bash\n(.+)\n```", README)
    assert match
    assert match[1].startswith("python3 -m venv .venv && ")


def test_every_file_that_is_linked_is_there() -> None:
    for path, text in {ROOT / "README.md": README, **GUIDE}.items():
        for target in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
            assert (path.parent / target).exists(), (path, target)


def test_the_front_page_is_short_and_leads_to_every_text() -> None:
    assert len(README.splitlines()) <= 250
    assert all(f"mnsweep/guide/{path.name}" in README for path in GUIDE)


def test_the_guide_is_shown() -> None:
    listed = run("guide")
    assert listed.status == 0 and [line.split()[0] for line in listed.out.splitlines()] == [path.stem for path in GUIDE]
    assert run("guide", "compare").out == GUIDE[ROOT / "mnsweep" / "guide" / "compare.md"]
    wrong = run("guide", "nothing")
    assert wrong.status == 2 and "topic 'nothing' is unknown; choose from " in wrong.err


def samples(command: str) -> list[tuple[str, list[str]]]:
    """The README's command lines that begin so, each with the lines of output shown under it."""
    blocks = [block.splitlines() for block in re.findall(r"```console\n(.+?)\n```", DOCS, re.DOTALL)]
    shown = [(block[0], block[1:]) for block in blocks if block[0].startswith(f"$ mnsweep {command}")]
    return [(line, output) for line, output in shown if output and not output[0].startswith("$")]


def check_shown(output: list[str], printed: str) -> None:
    """The lines of `output` are printed in this order; `…` stands for any others."""
    lines = iter(line.strip() for line in printed.splitlines())
    for line in output:
        assert line == "…" or line.strip() in lines, line


@pytest.mark.parametrize(
    "command, output", [sample for name in ("count", "predict", "paper --table", "export", "pick") for sample in samples(name)]
)
def test_the_output_shown_is_what_is_printed(
    command: str, output: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(command.removeprefix("$ mnsweep "))
    if arguments[0] == "pick":
        arguments += ["--sweep", str(next(PAPER.glob("*")).relative_to(ROOT))]
    ran = run(*arguments)
    assert ran.status == 0, ran.err
    check_shown([line for line in output if not line.startswith(("next: mnsweep pick", "reproduce"))], ran.out + ran.err)


def test_the_table_shown_is_that_of_the_reference_run(capsys: pytest.CaptureFixture[str]) -> None:
    (cells,) = PAPER.glob("*/cells.csv")
    console().print(results_table(from_csv(cells.read_text(), cells), measured=True))
    shown = [output for command, output in samples("grid") if "--alpha 0.25,0.5,0.75,1.0" in command]
    printed = capsys.readouterr().out
    assert shown
    for output in shown:
        check_shown([line for line in output if line.lstrip().startswith("a")], printed)


def test_the_exploration_shown_is_that_of_the_reference_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (reference,) = (ROOT / "results" / "reference" / "explore").glob("*")
    copytree(reference, tmp_path / "explore" / reference.name)
    print_exploration(conclude(SweepFolder(tmp_path / "explore" / reference.name)), Form.TABLE, verbose=False)
    (output,) = samples_of("explore --validate 30")
    shown = [line for line in output if not line.endswith((" at least", "…")) and not line.startswith(("files", "next"))]
    check_shown(shown, capsys.readouterr().out)


def test_the_conditions_that_doctor_shows_exist() -> None:
    known = {finding.name for finding in find(QUIET)}
    (output,) = samples_of("doctor")
    table = output[output.index("what may disturb timing") : output.index("a small network on more threads")]
    shown = {line[1:30].strip() for line in table if re.match(r" \w", line)} - {"condition"}
    assert shown and shown <= known


def samples_of(command: str) -> list[list[str]]:
    return [output for shown, output in samples(command.split()[0]) if shown.removeprefix("$ mnsweep ") == command]


def test_the_letters_shown_are_those_of_the_reference_run() -> None:
    (cells,) = (ROOT / "results" / "reference" / "glyphs").glob("*/cells.csv")
    results = {(r.alpha, r.precision, r.resolution): r for r in from_csv(cells.read_text(), cells)}
    rows = re.findall(r"^\| α ([0-9.]+), (fp32|int8) \| (.*) \|$", DOCS, re.MULTILINE)
    assert len(rows) == 8
    for alpha, precision, shown in rows:
        for resolution, cell in zip((32, 48, 64, 96), shown.split(" | "), strict=True):
            found = results[float(alpha), precision, resolution]
            assert cell == f"{found.quality_pct:.1f} %, {found.latency_p50_ms:.3f} ms"
            assert found.quality_source == "trained: glyphs"


def test_the_scores_of_the_reference_run_are_those_of_its_records() -> None:
    (cells,) = (ROOT / "results" / "reference" / "glyphs").glob("*/cells.csv")
    scores = read_run(ROOT / "results" / "reference", "glyphs").scores
    results = from_csv(cells.read_text(), cells)
    assert len(results) == len(scores) == 32
    assert all(r.quality_pct == pytest.approx(scores[r.cell].quality_pct, abs=1e-3) for r in results)
    losses = [scores[c].quality_pct - scores[f"{c}_int8"].quality_pct for c in scores if not c.endswith("_int8")]
    assert max(losses) < 0.4, "as the README says"


def test_every_reference_run_is_in_both_indexes() -> None:
    results = ROOT / "results"
    runs = {path.parent.relative_to(results) for path in (results / "reference").glob("*/*/cells.csv")}
    page, text = (results / "index.html").read_text(encoding="utf-8"), (results / "README.md").read_text(encoding="utf-8")
    for run_ in runs:
        assert f'href="{run_}/cells.csv"' in page and f"`{run_.parent}`" in text
    for target in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert (results / target).exists(), target
