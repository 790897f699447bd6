"""Golden: every committed reference run comes back from its blocks, text byte for byte."""

import shutil
from pathlib import Path

import pytest

from tests.fuzz import run

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
RUNS = sorted(path.parent for path in REFERENCE.glob("*/*/blocks.jsonl"))
TEXT = (".csv", ".json", ".jsonl", ".toml")


def test_there_are_reference_runs() -> None:
    assert {path.parent.name for path in RUNS} >= {"paper", "deploy", "cliffs", "explore", "paper-tables"}


@pytest.mark.parametrize("folder", RUNS, ids=lambda path: path.parent.name)
def test_a_reference_run_is_rebuilt_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.parent.name / folder.name
    shutil.copytree(folder, copy)
    derived = [path for path in copy.iterdir() if path.name in ("cells.csv", "model.json")]
    for path in derived:
        path.unlink()
    ran = run("rebuild", str(tmp_path), "-q")
    assert (ran.status, ran.out, ran.err) == (0, "", "")
    kept, made = ({p.name: p.read_bytes() for p in path.iterdir() if p.suffix in TEXT} for path in (folder, copy))
    assert made == kept


@pytest.mark.parametrize("arguments", [("nowhere",), ()])
def test_what_can_not_be_rebuilt_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str]) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("rebuild", *arguments)
    assert ran.status == 2 and ran.err.count("\n") == 1
