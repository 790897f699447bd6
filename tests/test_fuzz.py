"""A few hundred damaged folders and argument lists; `python -m tests.bench.fuzz` tries ten thousand of each."""

import shutil
from pathlib import Path
from random import Random

import pytest

from mnsweep.sweep.derive import derive
from mnsweep.sweep.store import SweepFolder
from tests.fuzz import check, odd_arguments, run, snapshot, try_damaged_folder
from tests.test_exploration import _no_pictures_and_no_networks, session_of  # noqa: F401 - a fixture
from tests.test_sweep import HERE

SEEDS = range(12)
EACH = 20


@pytest.fixture
def kept(sweep_folder: SweepFolder, tmp_path: Path) -> Path:
    """A folder of a grid, out of the way."""
    kept = tmp_path / "kept"
    shutil.copytree(sweep_folder.path, kept)
    return kept


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_folder_is_one_line_and_stays_as_it_is(kept: Path, sweep_folder: SweepFolder, seed: int) -> None:
    rng = Random(seed)
    for _ in range(EACH):
        try_damaged_folder(kept, sweep_folder.path, rng)


@pytest.mark.usefixtures("_no_pictures_and_no_networks")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_exploration_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    from mnsweep.app.exploration import explore
    from tests.test_exploration import AIMS

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    here = tmp_path / "results" / "explore" / HERE.key
    explore(session_of(SweepFolder(here)), AIMS)
    derive(SweepFolder(here))
    shutil.copytree(here, tmp_path / "kept")
    rng = Random(seed)
    for _ in range(EACH // 2):
        try_damaged_folder(tmp_path / "kept", here, rng)


@pytest.mark.parametrize("seed", SEEDS)
def test_odd_arguments_are_one_line_and_change_nothing(sweep_folder: SweepFolder, seed: int) -> None:
    rng = Random(seed)
    before = snapshot(sweep_folder.path)
    for _ in range(EACH):
        check(run(*odd_arguments(rng)))
    changed = {path for path, content in snapshot(sweep_folder.path).items() if before.get(path) != content}
    assert not {path for path in changed if path.endswith(("blocks.jsonl", "machine.json", "sweep.toml"))}
