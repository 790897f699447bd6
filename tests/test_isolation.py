"""The process that times runs the mnsweep of its parent, and nothing that happens to be in the current folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mnsweep
from mnsweep.app.doctor import runtime_obstacle
from mnsweep.errors import UnavailableError
from mnsweep.worker import isolated
from mnsweep.worker.proxy import NotStartedError, WorkerProcess

REPOSITORY = Path(__file__).parents[1]
SHADOWS = ("queue", "random", "statistics", "runpy", "pickle", "onnxruntime", "numpy", "mnsweep")
OLD_WORKER = """
import pickle, sys
while True:
    pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(("failed", "AttributeError: origin")))
    sys.stdout.flush()
"""


@pytest.fixture(params=["", ":", "."])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, full of modules that must not be imported; PYTHONPATH names it last, first or not at all."""
    for name in SHADOWS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", {"": "", ":": f":{REPOSITORY}", ".": f".:{REPOSITORY}"}[request.param] or str(REPOSITORY))
    return tmp_path


def test_code_in_the_current_folder_is_not_run_by_the_worker(folder: Path) -> None:
    with WorkerProcess() as worker:
        worker.pin(1)
        assert worker.offer("onnxruntime").version


def test_code_in_the_current_folder_is_no_obstacle_to_the_doctor(folder: Path) -> None:
    assert runtime_obstacle() is None


def test_the_program_as_a_module_prefers_the_standard_library(tmp_path: Path) -> None:
    for name in set(SHADOWS) - {"mnsweep", "runpy"}:  # Python itself looks for these two in the current folder
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    command = [sys.executable, "-m", "mnsweep", "count", "--alpha", "0.25", "--res", "128"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert ran.returncode == 0 and "a0.25_r128" in ran.stdout, ran.stderr


def test_a_package_that_python_would_not_find_is_the_workers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that put a checkout on its own path: the checkout's worker runs, whatever is installed."""
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "mnsweep").symlink_to(REPOSITORY / "mnsweep")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    code = (
        "import sys; sys.path.insert(0, 'checkout'); from mnsweep.worker.proxy import WorkerProcess\n"
        "with WorkerProcess() as worker: worker.pin(1); print(worker.offer('onnxruntime').precisions)"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert "int8" in ran.stdout, ran.stderr


@pytest.mark.parametrize("changed", ["version", "folder"])
def test_a_worker_of_another_mnsweep_is_refused(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if changed == "version":
        monkeypatch.setattr(mnsweep, "__version__", "0.0.7")  # of this process: an update came after its start
    else:
        monkeypatch.setattr(isolated, "PACKAGE", "/opt/other/mnsweep")
    with WorkerProcess() as worker, pytest.raises(UnavailableError, match=r"runs mnsweep 0\.1\.0 in .*reinstall") as caught:
        worker.pin(1)
    assert ("0.0.7" if changed == "version" else "/opt/other/mnsweep") in str(caught.value)


def test_a_worker_that_cannot_say_what_it_is_is_refused() -> None:
    with WorkerProcess(command=(sys.executable, "-c", OLD_WORKER)) as worker:
        with pytest.raises(UnavailableError, match=r"runs mnsweep .an older version") as caught:
            worker.pin(1)
        assert not isinstance(caught.value, NotStartedError)


def test_what_the_interpreter_was_told_to_ignore_its_child_ignores() -> None:
    code = "from mnsweep.worker.isolated import isolated; print(*isolated('m'))"
    ran = subprocess.run([sys.executable, "-s", "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert ran.stdout.split()[1:3] == ["-P", "-s"]
