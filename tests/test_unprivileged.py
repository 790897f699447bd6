"""A user who may write to the results and nowhere else, as in a read-only container: no home, no temporary folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOBODY = 65534
PLOTS = "import mnsweep.plots.figure as f, matplotlib as mpl; figure, axes = f.new_figure('t', 'c'); figure.savefig({!r})"

# Nobody may read everything here, so that it does not matter whose the checkout and its Python are, but write nothing.
AS_NOBODY = (
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)  # fmt: skip


def can_become_nobody() -> bool:
    root = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("setpriv")
    return bool(root) and subprocess.run([*AS_NOBODY, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_become_nobody(), reason="only root can become another user, with setpriv")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of nobody's among folders that nobody can only pass through."""
    for parent in tmp_path.parents[:-2]:
        if parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o111)
    tmp_path.chmod(0o755)
    for name in ("unwritable", "work", "lock"):
        (tmp_path / name).mkdir()
    for name in ("work", "lock"):
        os.chown(tmp_path / name, NOBODY, NOBODY)
    return tmp_path


def bare(place: Path) -> dict[str, str]:
    folder = str(place / "unwritable")
    names = ("HOME", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    lock = {"MNSWEEP_LOCK_DIR": str(place / "lock")}
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(names, folder),
        **lock,
    }


def run_as_nobody(place: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_NOBODY, sys.executable, *arguments],
        cwd=cwd,
        env=bare(place),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_sweep_needs_nothing_to_write_to_but_its_results(place: Path) -> None:
    grid = ("-m", "mnsweep", "grid", "--quick", "--alpha", "0.25", "--res", "32", "--wait", "-q", "--json")
    ran = run_as_nobody(place, *grid, cwd=place / "work")
    assert (ran.returncode, ran.stderr) == (0, "")
    folder = Path(json.loads(ran.stdout)["results_dir"])
    assert (place / "work" / folder / "pareto.png").is_file()
    again = run_as_nobody(place, "-m", "mnsweep", "rebuild", "results", "-q", cwd=place / "work")
    assert (again.returncode, again.stderr) == (0, "")


def test_plots_are_drawn_without_any_folder_for_a_cache(place: Path) -> None:
    """No temporary folder can be had at all, not even the current one."""
    picture = str(place / "work" / "p.png")
    code = (
        f"import tempfile, logging; logging.disable(); tempfile._candidate_tempdir_list = lambda: []; {PLOTS.format(picture)}"
    )
    ran = run_as_nobody(place, "-c", code, cwd=place / "unwritable")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert Path(picture).is_file()


def test_where_results_can_not_be_written_one_line_says_so(place: Path) -> None:
    ran = run_as_nobody(
        place, "-m", "mnsweep", "grid", "--quick", "--alpha", "0.25", "--res", "32", "-q", cwd=place / "unwritable"
    )
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "Permission denied" in ran.stderr
