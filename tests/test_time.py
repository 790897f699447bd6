"""`mnsweep time` as a user runs it: any model files, what they are run on, and what is said of bad ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mnsweep import export
from mnsweep.app.feeding import feeds_of, parse_shapes
from mnsweep.app.requests import TimeRequest
from mnsweep.app.time import TimeOutcome, time_files
from mnsweep.errors import MnsweepError
from mnsweep.measure.rounds import Rules
from mnsweep.options import request_from
from mnsweep.sweep.store import CELLS, SweepFolder
from mnsweep.worker.base import Input, Offer
from tests.fakes import FakeWorker
from tests.test_cli import Run, run

__all__ = ["run"]
QUICK = ("--ci-pct", "50", "--time-budget-s", "20", "-q")


def write_model(path: Path, shape: list[Any], elem_type: int = TensorProto.FLOAT, op: str = "Abs") -> Path:
    """A model of one operator."""
    made = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", elem_type, shape)],
        [helper.make_tensor_value_info("y", elem_type, shape)],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """What times the files; `slow` in a name takes longer."""
    made = FakeWorker(ms_of=lambda key, _: 2.0 if "slow" in key else 1.0)
    monkeypatch.setattr("mnsweep.app.time.WorkerProcess", lambda *_, **__: made)
    return made


@pytest.fixture
def files(run: Run) -> Callable[..., list[str]]:
    def write(*names: str) -> list[str]:
        for name in names:
            Path(name).write_bytes(name.encode())
        return list(names)

    return write


def test_files_are_timed_and_compared_with_the_first(run: Run, worker: FakeWorker, files: Callable[..., list[str]]) -> None:
    ran = run("time", *files("fast.onnx", "slow.onnx"), *QUICK, "--json")
    assert ran.code == 0
    (fast, slow), (verdict,) = ran.json["cells"], ran.json["against_first"]
    assert fast["cell"].startswith("fast-") and fast["latency_p50_ms"] == pytest.approx(1.0, rel=0.01) and fast["alpha"] is None
    assert fast["onnx_bytes"] == len("fast.onnx") and fast["relative_ci_pct"] > 0
    assert verdict["cell"] == slow["cell"] and verdict["verdict"] == "slower"
    assert verdict["ci_low"] < verdict["ratio"] < verdict["ci_high"] and verdict["ratio"] == pytest.approx(2, rel=0.01)


def test_the_results_are_a_sweep_that_continues_rebuilds_and_compares(
    run: Run, worker: FakeWorker, files: Callable[..., list[str]]
) -> None:
    asked = ("time", *files("fast.onnx", "slow.onnx"), "--ci-pct", "50")
    run(*asked)
    timed = worker.blocks.total()
    again = run(*asked)
    assert worker.blocks.total() == timed and "sweep time has 2 cells already" in again.err
    (folder,) = Path("results/time").glob("*")
    before = (folder / CELLS).read_bytes()
    assert run("rebuild", "results/time").code == 0 and (folder / CELLS).read_bytes() == before
    run(*asked, "--name", "later")
    found = run("compare", "time", "later", "--json").json
    assert len(found["cells"]) == 2 and found["picks"] == []
    picked = run("pick", "--sweep", "time", "--max-latency-ms", "5")
    assert picked.code == 2 and "has timed files, which are no designs to choose from" in picked.err
    report = run("report", "time")
    assert report.code == 2 and "has timed files, not networks" in report.err
    mixed = run("grid", "--quick", "--alpha", "0.25", "--res", "64", "--name", "time")
    assert mixed.code == 2 and "holds timed files, and others can't join them" in mixed.err


def test_the_newest_sweep_to_choose_from_is_one_of_networks(
    run: Run, worker: FakeWorker, files: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FakeWorker()
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): made)
    run("grid", "--quick", "--alpha", "0.25,0.5", "--res", "128", "-q")
    run("time", *files("a.onnx"), *QUICK)
    assert run("pick", "--max-latency-ms", "100").code == 0
    assert Path(run("report", "--json").json["path"]).parent.parent.name == "grid"


def test_a_changed_file_is_another_cell(run: Run, worker: FakeWorker, files: Callable[..., list[str]]) -> None:
    files("a.onnx")
    first = run("time", "a.onnx", *QUICK, "--json").json["cells"][0]["cell"]
    Path("a.onnx").write_text("other")
    second = run("time", "a.onnx", *QUICK, "--json").json["cells"][0]["cell"]
    assert first != second and {*SweepFolder(next(Path("results/time").glob("*"))).read().padding} == {first, second, "canary"}


def test_deployments_multiply(run: Run, worker: FakeWorker, files: Callable[..., list[str]]) -> None:
    worker.offers = {"openvino": Offer("2.0", ("fp32", "bf16"))}
    ran = run("time", *files("a.onnx"), "--runtime", "onnxruntime,openvino", *QUICK, "--json")
    assert [cell["runtime"] for cell in ran.json["cells"]] == ["onnxruntime", "openvino"]
    assert ran.json["cells"][1]["cell"].endswith("_openvino")


def test_one_file_that_fails_costs_that_file_only(run: Run, worker: FakeWorker, files: Callable[..., list[str]]) -> None:
    names = files("a.onnx", "b.onnx")
    key = run("time", "b.onnx", *QUICK, "--json", "--name", "x").json["cells"][0]["cell"]
    worker.refuses = (key,)
    ran = run("time", *names, *QUICK)
    assert ran.code == 3 and f"{key} failed: not today" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no.onnx",), "no.onnx: no such file"),
        ((".",), ".: is a folder"),
        (("a.txt",), "a.txt: no runtime reads .txt"),
        (("a.onnx", "a.onnx"), "a.onnx: is named twice"),
        (("a.tflite", "--runtime", "onnxruntime"), "a.tflite: onnxruntime does not read .tflite files"),
        (("a.onnx", "--threads", "1024"), "--threads 1024: this process may use"),
        (("a.onnx", "--shape", "x=0x3"), "--shape 'x=0x3': expected sizes above 0"),
        (("a.onnx", "--shape", "nothing=1x3"), "--shape nothing: no file has one input of that name"),
        (("a.onnx", "--shape", "image=1x4x8x8"), "--shape: a.onnx: input image takes 1x3x8x8, not 1x4x8x8"),
        (("a.onnx", "--input", "no.npz"), "--input no.npz: No such file"),
        (("a.onnx", "--input", "a.txt"), "--input a.txt: "),
        (("a.onnx", "--input", "nan.npz"), "--input nan.npz: image has values that are no finite numbers"),
        (("a.onnx", "--input", "double.npz"), "a.onnx: input image takes float32, the array is float64"),
        (("a.onnx", "--input", "shape.npz"), "--input: a.onnx: input image takes 1x3x8x8, not 2x2"),
        (("a.onnx", "--precision", "bf16"), "--precision bf16: onnxruntime does not offer it"),
        (("a.onnx", "--name", "../x"), "sweep name '../x'"),
        (("refused.onnx",), "refused.onnx: onnxruntime does not open it: not today"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, worker: FakeWorker, files: Callable[..., list[str]], arguments: tuple[str, ...], said: str
) -> None:
    files("a.onnx", "a.txt", "a.tflite", "refused.onnx")
    worker.refuses = ("refused.onnx",)
    np.savez("nan.npz", image=np.full((1, 3, 8, 8), np.nan, np.float32))
    np.savez("double.npz", image=np.zeros((1, 3, 8, 8)))
    np.savez("shape.npz", image=np.zeros((2, 2), np.float32))
    ran = run("time", *arguments, "-q")
    assert ran.code in (2, 4) and said in ran.err and ran.err.count("\n") == 1
    assert not worker.blocks, "nothing was timed"


def test_a_missing_runtime_says_how_to_get_it(run: Run, worker: FakeWorker, files: Callable[..., list[str]]) -> None:
    worker.offers = {"litert": Offer(obstacle="litert can't be loaded: pip install 'mnsweep[litert]'")}
    ran = run("time", *files("a.tflite"))
    assert ran.code == 4 and "pip install" in ran.err and ran.err.count("\n") == 1


# What files are run on.

OPEN = Input("x", "float32", (None, 3, None, None))


def test_an_open_size_asks_for_a_shape_and_a_batch_is_one() -> None:
    with pytest.raises(MnsweepError, match=r"m: input x is \?x3x\?x\?: its size is open.*x=1x3x224x224"):
        feeds_of("m", [OPEN], {}, {})
    assert feeds_of("m", [OPEN], {}, {"": (2, 3, 4, 5)})["x"].shape == (2, 3, 4, 5)
    assert feeds_of("m", [Input("x", "float32", (None, 3))], {}, {})["x"].shape == (1, 3)


def test_numbers_are_made_up_by_type() -> None:
    inputs = [Input("f", "float16", (2,)), Input("i", "int64", (2,)), Input("b", "bool", (2,))]
    feeds = feeds_of("m", inputs, {}, {})
    assert feeds["f"].dtype == np.float16 and np.isfinite(feeds["f"]).all() and feeds["f"].any()
    assert feeds["i"].tolist() == [0, 0] and feeds["b"].tolist() == [False, False]
    with pytest.raises(MnsweepError, match="input s is of type string"):
        feeds_of("m", [Input("s", "string", (1,))], {}, {})
    with pytest.raises(MnsweepError, match="more than 1,000,000,000 numbers"):
        feeds_of("m", [OPEN], {}, {"x": (10**4, 3, 10**4, 10**4)})


@given(st.text(max_size=30))
def test_a_shape_is_read_or_refused(text: str) -> None:
    try:
        shapes = parse_shapes(text)
    except MnsweepError as error:
        assert "`shape`" in str(error)
    else:
        assert all(size > 0 for shape in shapes.values() for size in shape)


def test_several_inputs_by_name() -> None:
    assert parse_shapes("a=1x2,b=3") == {"a": (1, 2), "b": (3,)} and parse_shapes(None) == {}


# With real runtimes.

ONCE = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1, block_ms=1.0)


def timed(tmp_path: Path, *files: Path, **settings: Any) -> TimeOutcome:
    request = request_from(TimeRequest, files=list(files), results_dir=tmp_path / "results", **settings)
    return time_files(request, rules=ONCE)


def test_any_file_of_any_runtime_is_timed(tmp_path: Path) -> None:
    closed, open_ = write_model(tmp_path / "closed.onnx", [1, 64]), write_model(tmp_path / "open.onnx", ["batch", "n"])
    np.savez(tmp_path / "in.npz", x=np.ones((1, 64), np.float32))
    done = timed(tmp_path, closed, open_, input=tmp_path / "in.npz", runtime="onnxruntime,openvino")
    assert [listed.runtime for listed in done.files.values()] == ["onnxruntime", "openvino"] * 2 and not done.failures
    assert all(done.derived.known.estimates[item].p50_ms > 0 for item in done.files)
    assert done.against_first is not None and len(done.against_first.cells) == 3


def test_whole_numbers_are_fed_and_a_tensorflow_lite_file_is_timed(tmp_path: Path) -> None:
    export(0.25, 32, tmp_path / "m.tflite")
    whole = write_model(tmp_path / "whole.onnx", [4], TensorProto.INT32)
    done = timed(tmp_path, whole, tmp_path / "m.tflite")
    assert [listed.runtime for listed in done.files.values()] == ["onnxruntime", "litert"] and not done.failures


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(MnsweepError, match=r"bad\.onnx: onnxruntime does not open it") as caught:
        timed(tmp_path, tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_no_number_fails(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.full(4, -1, np.float32))
    done = timed(tmp_path, write_model(tmp_path / "root.onnx", [4], op="Sqrt"), input=tmp_path / "in.npz")
    assert "an output is not a number" in next(iter(done.failures.values()))
