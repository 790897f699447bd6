"""The Python API: the same functions as the commands, framed; every public name a function whenever it is asked for."""

import inspect
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any, get_type_hints

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import typer.main
from PIL import Image

import mnsweep
from mnsweep.app import requests
from mnsweep.cli.main import app
from mnsweep.errors import MnsweepError
from mnsweep.listener import Listener
from mnsweep.measure.rounds import Rules
from mnsweep.options import changed, settings_of
from mnsweep.result import Result
from tests.fakes import FakeWorker, by_pixels
from tests.test_readme import README
from tests.test_result import COLUMNS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
NAMES = [name for name in mnsweep.__all__ if name != "__version__"]
REQUESTS = [name for name in NAMES if hasattr(requests, f"{name.capitalize()}Request")]
FAST = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> FakeWorker:
    """What is timed, in an empty folder; the tables are real, the plots are left out."""
    made = FakeWorker()
    monkeypatch.chdir(tmp_path)  # type: ignore[arg-type]
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    for module in ("session", "app.time"):
        monkeypatch.setattr(f"mnsweep.{module}.WorkerProcess", lambda timeout_s, runtimes=(): made)
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


OF_PRINTING = {"json", "quiet", "verbose", "help", "dry_run", "layers", "csv", "markdown", "open_"}


@pytest.mark.parametrize("name", REQUESTS)
def test_every_setting_of_a_command_is_a_keyword_of_its_function(name: str) -> None:
    """One function a command: neither can drift from the other."""
    options = {p.name for p in COMMANDS[name].params} - OF_PRINTING
    request = getattr(requests, f"{name.capitalize()}Request")
    assert options == {setting.name for setting in settings_of(request)}
    keywords = inspect.signature(getattr(mnsweep, name)).parameters
    assert {key for key in keywords if key not in options} <= {"settings", "rules", "listener", "progress", "verify"}
    defaults = {setting.name: setting.default for setting in settings_of(request)}
    own = {key: p.default for key, p in keywords.items() if key in defaults and p.default is not p.empty}
    assert {key: value if key != "batch" else str(value) for key, value in own.items()} == {key: defaults[key] for key in own}


def test_every_command_but_rebuild_has_a_function() -> None:
    assert {*COMMANDS} - {"rebuild", "import", "guide", "fleet"} <= {*NAMES}
    assert {"import_weights", "fleet_status"} <= {*NAMES}  # `import` is a word of the language


def test_a_request_says_what_was_asked_for() -> None:
    request = requests.GridRequest(quick=True)
    assert changed(request) == {"quick": True}


def test_every_public_name_is_there_whenever_it_is_asked_for() -> None:
    """A subpackage that bears the name of a function shadows it from its first import on."""
    code = (
        "import sys, types, mnsweep\n"
        "names = sys.argv[1:]\n"
        "for name in [*names, *reversed(names), *names]:\n"
        "    assert isinstance(getattr(mnsweep, name), (types.FunctionType, type)), name\n"
        "    __import__(getattr(mnsweep, name).__module__), __import__('mnsweep.cli.main')\n"
        "    if name.islower() and '_' not in name: __import__('mnsweep.app.' + name)\n"
    )
    order = Random(0).sample(NAMES, len(NAMES))
    ran = subprocess.run([sys.executable, "-c", code, *order], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_public_name_can_be_called_twice_in_any_order(worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnsweep.app.profile.WorkerProcess", lambda timeout_s=0: worker)
    worker.ms_of = lambda key, _: by_pixels(key, _) if key.startswith("a") else 30.0
    grid = mnsweep.grid([0.25, 0.5], 64, quick=True, name="first")
    mnsweep.explore("0.25:0.5:0.05", [128, 160, 192], measure=8, verify=1, rules=FAST)
    profile = mnsweep.profile(0.25, 64)
    mnsweep.export(0.25, 64, "own.onnx")
    Image.new("RGB", (80, 60)).save("grey.png")
    mnsweep.data("glyphs", "letters", images=32, validation=16, size=32)
    numbers = itertools.count()
    pixels = {"mean": 127.5, "std": 127.5, "label_offset": 0}
    calls: dict[str, Callable[[], Any]] = {
        "classify": lambda: mnsweep.classify("own.onnx", "grey.png", **pixels),
        "evaluate": lambda: mnsweep.evaluate("own.onnx", ".", **pixels),
        "import_weights": lambda: mnsweep.import_weights("own.onnx", "w.safetensors"),
        "compare": lambda: mnsweep.compare("first", "first"),
        "count": lambda: mnsweep.count(0.5, 64),
        "data": lambda: mnsweep.data("glyphs", f"glyphs{next(numbers)}", images=16, validation=16, size=32),
        "doctor": lambda: mnsweep.doctor(timing=False),
        "explore": lambda: mnsweep.explore("0.25:0.5:0.05", [128, 160, 192], measure=8, verify=1, rules=FAST),
        "export": lambda: mnsweep.export(0.25, 64, "model.onnx"),
        "fleet_status": lambda: mnsweep.fleet_status(on="nosuch --"),
        "grid": lambda: mnsweep.grid(0.25, 64, quick=True),
        "paper": lambda: mnsweep.paper(8),
        "pick": lambda: mnsweep.pick("first", max_latency_ms=1e3, min_top1=0.0),
        "plot_cliffs": lambda: mnsweep.plot_cliffs(grid, axes()),
        "plot_mult_adds": lambda: mnsweep.plot_mult_adds(grid, axes()),
        "plot_pareto": lambda: mnsweep.plot_pareto(grid, axes()),
        "plot_roofline": lambda: mnsweep.plot_roofline(profile, axes()),
        "predict": lambda: mnsweep.predict(0.3, 128, sweep="explore"),
        "profile": lambda: mnsweep.profile(0.25, 64),
        "report": lambda: mnsweep.report("first", out="report.html"),
        "time": lambda: mnsweep.time("own.onnx", name=f"files{next(numbers)}", rules=FAST),
        "train": lambda: mnsweep.train("letters", f"run{next(numbers)}", 0.25, 32, set="epochs=1"),
    }
    assert set(calls) == set(NAMES)
    for seed in range(2):
        for name in Random(seed).sample(NAMES, len(NAMES)):
            calls[name]()


def axes() -> Any:
    return mpl.figure.Figure().subplots()


def test_the_readme_s_block_runs_from_top_to_bottom(worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnsweep.app.profile.WorkerProcess", lambda timeout_s=0: worker)
    (block,) = re.findall(r"```python\n(import mnsweep\n.+?)```", README, re.DOTALL)
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(block, "README.md", "exec"), {})
    assert Path("model.onnx").exists()


@pytest.mark.parametrize("number", [np.float64, np.float32, np.float16, lambda a: np.array(a), lambda a: pd.Series([a, a])])
def test_numbers_and_arrays_of_any_library_are_numbers(number: Any, tmp_path: Path) -> None:
    frame = mnsweep.count(alpha=number(0.35), res=np.array([64, 96]), classes=np.int16(7), max_designs=np.uint8(20))
    assert frame.cell.tolist() == ["a0.35_r64_c7", "a0.35_r96_c7"]
    assert mnsweep.count(frame.alpha.max(), frame.resolution, pad=np.array(["none", "16"])).classes.tolist() == [1000] * 4
    mnsweep.export(frame.alpha.max(), frame.resolution.min(), tmp_path / "m.onnx", batch=np.int64(2), seed=np.int64(1))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("classes", True), ("classes", 7.5), ("max_designs", "many"), ("variant", ["mobilenet"]), ("alpha", True),
        ("alpha", np.True_), ("alpha", [0.5, None]), ("alpha", float("nan")), ("res", np.array([[64]])), ("pad", {}),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_by_name(setting: str, value: Any) -> None:
    values: dict[str, Any] = {"alpha": 0.5, "res": 64, setting: value}
    with pytest.raises(MnsweepError, match=f"`{setting}`") as caught:
        mnsweep.count(**values)
    assert "np." not in str(caught.value) or "True_" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"time_budget_s": "soon"}, "time_budget_s"), ({"time_budget_s": False}, "time_budget_s"), ({"wait": 1}, "wait"),
        ({"ci_pct": [1]}, "ci_pct"), ({"results_dir": 5}, "results_dir"), ({"quick": "yes"}, "quick"),
        ({"sweep": b"x"}, "sweep"), ({"ci_pct": 0}, "ci_pct"), ({"time_budget_s": np.float64("nan")}, "time_budget_s"),
        ({"sustain_s": float("inf")}, "sustain_s"),
        ({"progress": True, "listener": Listener()}, "progress"),
    ],
)  # fmt: skip
def test_a_setting_of_another_type_is_refused_by_name(values: dict[str, Any], named: str, worker: FakeWorker) -> None:
    with pytest.raises(mnsweep.MnsweepError, match=f"`{named}`"):
        mnsweep.grid(0.25, 64, **values)
    assert not worker.started


def dtypes_of(kind: type) -> dict[str, str]:
    """The nullable type of each column, by its annotation."""
    names = {int: "Int64", float: "Float64", str: "string", bool: "boolean"}
    hints = get_type_hints(kind)
    return {f.name: next(name for own, name in names.items() if own in (hints[f.name], *hints[f.name].__args__)) if hasattr(
        hints[f.name], "__args__") else names[hints[f.name]] for f in fields(kind)}  # fmt: skip


def test_columns_have_one_type_whatever_is_missing(worker: FakeWorker) -> None:
    counted, measured = mnsweep.count(0.33, 64), mnsweep.grid([0.25, 0.5], 128, quick=True)
    explored = mnsweep.explore("0.25:0.5:0.05", [128, 160, 192], measure=8, verify=0, rules=FAST)
    predicted, nothing = mnsweep.predict(0.3, 144), measured[measured.alpha > 1]
    for frame in (counted, measured, explored, predicted, nothing):
        assert frame.dtypes.astype(str).to_dict() == dtypes_of(Result)
        assert set(frame.attrs) >= {"sweep", "machine", "results_dir"}
    assert counted.latency_p50_ms.isna().all() and counted.attrs["sweep"] is None
    assert measured.latency_p50_ms.max() > measured.latency_p50_ms.min() > 0
    assert measured[measured.on_frontier].cell.tolist() == measured.cell.tolist()
    assert explored.latency_p90_ms.isna().any() and not explored.latency_p50_ms.isna().any()
    model = Path(predicted.attrs["model_file"])
    assert model.is_file() and str(model) == explored.attrs["model_file"]
    assert (predicted.attrs["sweep"], predicted.attrs["machine"]) == ("explore", explored.attrs["machine"])


def test_a_choice_reads_well_and_its_html_is_escaped(worker: FakeWorker) -> None:
    mnsweep.grid([0.25, 0.5], [128, 160], quick=True)
    choice = mnsweep.pick(max_latency_ms=1e3)
    assert re.match(r"choice +a0\.5_r160: 59\.1 % top-1 \(.*\), [0-9.]+ ms \(.* to .*\)\nrunner-up +a0\.5_r128: ", repr(choice))
    assert "\nwhy " in repr(choice) and "Choice(" not in repr(choice)
    assert mnsweep.pick(max_latency_ms=1e3, precision=["fp32", "int8"], task=np.array(["classify"])) == choice
    none = mnsweep.pick(max_latency_ms=1e-3)
    assert repr(none).startswith("choice  none\n") and "`max_latency_ms`" in repr(none)
    html = type(choice)(choice=None, runner_up=None, reason="<b>&; two")._repr_html_()
    assert "&lt;b&gt;&amp;;<br>two" in html and "<b>" not in html


@pytest.mark.parametrize("path", sorted(Path(mnsweep.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_messages_name_no_flags_outside_of_commands(path: Path) -> None:
    """Texts below the command line name settings in backticks; a flag is only in a command to run, or in a docstring."""
    if path.parent.name == "cli" or path.name == "requests.py":
        return
    code = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in code.splitlines():
        if re.search(r"(?<![a-z-])--[a-z]", line) and "#" not in line.partition("--")[0]:
            assert re.search(r"(mnsweep [a-z]+|docker run|pip install|dask worker|-m venv)\W.*--", line), line
