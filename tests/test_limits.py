"""Limits of the system: names that are too long, folders that may not be read, too few open files. One line each."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnsweep.app.doctor import runtime_obstacle
from mnsweep.errors import StoreError
from mnsweep.sweep.find import find_results
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import NotStartedError, WorkerProcess
from tests.test_cli import Run, run

__all__ = ["run"]
REPOSITORY = Path(__file__).parents[1]
LONG = "x" * 300
NETWORK = ("--alpha", "0.25", "--res", "32")
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
AS_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")


@pytest.mark.parametrize(
    "command",
    [
        ("grid", *NETWORK, "--dry-run", "--results-dir", LONG),
        ("pick", "--max-latency-ms", "5", "--results-dir", f"a/{LONG}/b"),
        ("predict", *NETWORK, "--results-dir", LONG),
        ("rebuild", LONG),
        ("export", *NETWORK, "--out", f"{LONG}/m.onnx"),
        ("export", *NETWORK, "--out", "m.onnx", "--precision", "int8", "--calibration", LONG),
        ("export", *NETWORK, "--out", "m.onnx", "--batch", "9" * 5000),
        ("grid", "--sweep", LONG),
        ("grid", "--name", LONG),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_names_and_numbers_that_are_too_long(run: Run, command: tuple[str, ...]) -> None:
    ran = run(*command)
    assert ran.code == 2 and ran.err.count("\n") == 1 and ran.err.startswith("mnsweep: ") and len(ran.err) < 400


@AS_ROOT
@pytest.mark.parametrize("closed", ["machine", "sweep", "results"])
@pytest.mark.parametrize("command", [("pick", "--max-latency-ms", "5"), ("pick", "--max-latency-ms", "5", "--sweep", "grid")])
def test_a_folder_that_may_not_be_read_is_named_and_not_taken_for_empty(
    sweep_folder: SweepFolder, closed: str, command: tuple[str, ...]
) -> None:
    path = {"machine": sweep_folder.path, "sweep": sweep_folder.path.parent, "results": sweep_folder.path.parents[1]}[closed]
    for folder in Path.cwd().parents:
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o11)  # the test's own temporary folders
    Path.cwd().chmod(0o755)
    path.chmod(0)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    try:
        ran = subprocess.run(
            [*AS_NOBODY, sys.executable, "-P", "-m", "mnsweep", *command],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no setpriv here")
    finally:
        path.chmod(0o755)
    if "No module named" in ran.stderr or "setpriv:" in ran.stderr:
        pytest.skip("others may not read this Python")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    line = ran.stderr.splitlines()[-1]
    assert line.startswith("mnsweep: ") and ("Permission denied" in line or "not readable" in line) and str(path.name) in line


@pytest.mark.parametrize("name", [None, "grid"])
def test_results_that_may_not_be_read_are_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    def forbid(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with pytest.raises(StoreError, match=r"no sweep|no results"):
        find_results(tmp_path, "machine", name)
    monkeypatch.setattr(Path, "iterdir", forbid)
    with pytest.raises(StoreError, match="Permission denied; make it readable"):
        find_results(tmp_path, "machine", name)


def test_too_few_open_files_are_named_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(NotStartedError, match=r"could not start: Too many open files; .*ulimit -n"), WorkerProcess():
        pass
    obstacle = runtime_obstacle()
    assert obstacle and "Too many open files" in obstacle.what


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_sweep_with_eight_open_files_is_one_line(tmp_path: Path) -> None:
    import resource

    command = [sys.executable, "-m", "tests.own_lock", str(tmp_path / "lock"), "grid", "--quick", *NETWORK]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MPLBACKEND": "Agg"}
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)),
    )  # fmt: skip
    assert ran.returncode == 4 and "Traceback" not in ran.stderr
    assert "could not start: Too many open files; allow more of them: ulimit -n 1024" in ran.stderr.splitlines()[-1]
