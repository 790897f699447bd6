"""The Python API: the same functions as the commands, framed; every public name a function whenever it is asked for."""

import inspect
import subprocess
import sys
from itertools import permutations

import pandas as pd
import pytest
import typer.main

import mnsweep
from mnsweep.app import requests
from mnsweep.cli.main import app
from mnsweep.errors import MnsweepError
from mnsweep.measure.rounds import Rules
from mnsweep.options import changed, settings_of
from tests.fakes import FakeWorker
from tests.test_result import COLUMNS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
NAMES = [name for name in mnsweep.__all__ if name != "__version__"]
FAST = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> FakeWorker:
    """What is timed, in an empty folder; the tables are real, the plots are left out."""
    made = FakeWorker()
    monkeypatch.chdir(tmp_path)  # type: ignore[arg-type]
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s: made)
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    return made


def test_a_grid_is_measured_and_continued(worker: FakeWorker) -> None:
    frame = mnsweep.grid(alpha=0.25, res=[64, 96], quick=True)
    assert list(frame.columns)[: len(COLUMNS)] == COLUMNS
    assert frame["cell"].tolist() == ["a0.25_r64", "a0.25_r96"] and (frame["latency_p50_ms"] > 0).all()
    assert set(frame.attrs) == {"sweep", "machine", "results_dir", "failures", "skipped", "unsettled"}
    assert (frame.attrs["sweep"], frame.attrs["failures"]) == ("grid", {})
    before = worker.blocks.total()
    pd.testing.assert_frame_equal(mnsweep.grid(alpha=0.25, res="64,96", quick=True), frame)
    assert worker.blocks.total() == before
    more = mnsweep.grid(0.5, 64, rules=FAST, max_latency_ms=3.0, wait=True, max_designs=9)
    assert more["cell"].tolist() == ["a0.5_r64"], "what was asked now"
    assert len(mnsweep.grid(0.5, 64, rules=FAST, all_cells=True)) == 3


def test_a_space_is_explored_and_predicted_and_picked_from(worker: FakeWorker) -> None:
    frame = mnsweep.explore("0.25:0.5:0.05", [128, 160, 192], measure=8, verify=2, validate=2, rules=FAST)
    assert set(frame["latency_source"]) == {"measured", "predicted"} and len(frame) == 18
    assert frame.attrs["model"].mean_pct >= 0 and frame.attrs["validation"].designs == 2
    assert mnsweep.predict("0.3:0.4:0.05", 144)["latency_source"].tolist() == ["predicted"] * 3
    choice = mnsweep.pick(max_latency_ms=1e3).choice
    assert choice and choice.latency_source == "measured"


def test_what_is_no_setting_is_refused_by_name() -> None:
    with pytest.raises(MnsweepError, match="`alhpa` is not a setting"):
        mnsweep.count(alhpa=0.5)
    with pytest.raises(MnsweepError, match="`threads` 4096"):
        mnsweep.grid(0.5, 64, threads=4096)


def test_messages_name_settings_as_python_does() -> None:
    with pytest.raises(MnsweepError) as error:
        mnsweep.count("0.1:1:0.00001", 128)
    assert "`max_designs`" in str(error.value) and "--" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_command_is_a_keyword_of_its_function(name: str) -> None:
    """One function a command: neither can drift from the other."""
    options = {p.name for p in COMMANDS[name].params} - {"json", "quiet", "verbose", "help", "dry_run", "layers", "csv"}
    request = getattr(requests, f"{name.capitalize()}Request")
    assert options == {setting.name for setting in settings_of(request)}
    keywords = inspect.signature(getattr(mnsweep, name)).parameters
    assert {key for key in keywords if key not in options} <= {"settings", "rules", "listener", "verify"}


def test_a_request_says_what_was_asked_for() -> None:
    request = requests.GridRequest(quick=True)
    assert changed(request) == {"quick": True}


def test_every_public_name_is_a_function_whenever_it_is_asked_for() -> None:
    """A subpackage that bears the name of a function shadows it from its first import on."""
    code = (
        "import sys, mnsweep\n"
        "for name in [*sys.argv[1:], *reversed(sys.argv[1:]), *sys.argv[1:]]:\n"
        "    assert type(getattr(mnsweep, name)).__name__ == 'function', name\n"
        "    __import__('mnsweep.api'), __import__('mnsweep.cli.main'), __import__('mnsweep.app.' + name)\n"
    )
    for order in list(permutations(NAMES))[::301]:
        ran = subprocess.run([sys.executable, "-c", code, *order], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
