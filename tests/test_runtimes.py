"""onnxruntime and OpenVINO behind one pair of methods: the same answers, honest offers, and room for a third."""

import json
import re
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest

from mnsweep.arch.expand import expand
from mnsweep.cell import Deployment, Design
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.quantize import assumed_ranges
from mnsweep.graph.weights import Weights, random_weights
from mnsweep.names import RUNTIMES, choices
from mnsweep.names import Runtime as RuntimeName
from mnsweep.worker.base import Array, NodeTime, Offer, Run, Session, random_images, ready
from mnsweep.worker.ort import OrtSession
from mnsweep.worker.ov import OvSession
from mnsweep.worker.process import open_ready
from mnsweep.worker.runtimes import load, offer

BOTH = ["onnxruntime", "openvino"]
LAYERS = expand(Design.of(0.3, 48, classes=20))


@cache
def model(precision: str = "fp32", batch: int = 1) -> bytes:
    return build_onnx(LAYERS, random_weights(LAYERS), batch, assumed_ranges(LAYERS) if precision == "int8" else None)


def logits(runtime: str, precision: str = "fp32", batch: int = 1, threads: int = 1) -> Array:
    session = load(runtime).open(model(precision, batch), precision, threads)
    return session.outputs(random_images(session.shape))["logits"]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_runtimes_agree(batch: int, threads: int) -> None:
    one, other = (logits(runtime, "fp32", batch, threads) for runtime in BOTH)
    assert one.shape == (batch, 20) and one.std() > 0.1
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_images_of_a_batch_are_answered_one_by_one() -> None:
    images = random_images((2, 3, 48, 48))
    for runtime in BOTH:
        one, two = (load(runtime).open(model(batch=batch), "fp32", 1) for batch in (1, 2))
        single = np.concatenate([one.outputs(image[None])["logits"] for image in images])
        np.testing.assert_allclose(two.outputs(images)["logits"], single, atol=1e-4)


@pytest.mark.parametrize("runtime", BOTH)
@pytest.mark.parametrize("batch", [1, 2])
def test_int8_runs(runtime: str, batch: int) -> None:
    found = logits(runtime, "int8", batch)
    assert found.shape == (batch, 20) and np.isfinite(found).all() and found.std() > 0.1


@pytest.mark.parametrize("runtime", BOTH)
def test_what_is_bound_runs_on_its_own_images(runtime: str) -> None:
    """Two batches bound to two sessions, run by turns: each answers its own."""
    batches = [random_images((1, 3, 48, 48)), np.zeros((1, 3, 48, 48), np.float32)]
    sessions = [load(runtime).open(model(), "fp32", 1) for _ in batches]
    expected = [session.outputs(batch)["logits"] for session, batch in zip(sessions, batches, strict=True)]
    for run in [session.bound(batch) for session, batch in zip(sessions, batches, strict=True)] * 2:
        run()
    again = [session.outputs(batch)["logits"] for session, batch in zip(sessions, batches, strict=True)]
    np.testing.assert_array_equal(again, expected)
    assert abs(expected[0] - expected[1]).max() > 1e-3


def test_each_offers_its_version_and_what_runs() -> None:
    assert offer("onnxruntime") == Offer(onnxruntime.__version__, ("fp32", "int8"))
    found = offer("openvino")
    assert found.version in openvino.__version__ and not found.obstacle
    assert {"fp32", "int8"} <= set(found.precisions) <= set(choices("precision"))


@pytest.mark.parametrize("runtime", BOTH)
def test_what_is_offered_can_be_had(runtime: str) -> None:
    for precision in offer(runtime).precisions:
        assert np.isfinite(logits(runtime, precision)).all()


@pytest.mark.parametrize(
    ("provider", "fix"),
    [
        ("CUDAExecutionProvider", "pip install onnxruntime-gpu"),
        ("DmlExecutionProvider", "pip install onnxruntime-directml"),
        ("AbacusExecutionProvider", "its own build of onnxruntime"),
    ],
)
def test_a_provider_that_is_missing_is_an_obstacle_with_a_fix(provider: str, fix: str) -> None:
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    found = offer(f"onnxruntime:{provider}")
    assert not found.precisions and found.obstacle.startswith(f"this onnxruntime has no {provider}")
    assert "CPUExecutionProvider" in found.obstacle and fix in found.obstacle


def test_a_provider_that_leaves_the_network_to_the_cpu_is_refused() -> None:
    """Azure's takes no operator of a MobileNet: what would be timed is the CPU's."""
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no such provider")
    runtime = load("onnxruntime:AzureExecutionProvider")
    with pytest.raises(Exception, match="CPU"):
        runtime.open(model(), "fp32", 1)


@pytest.mark.parametrize(("name", "fix"), [("openvino", "pip install 'mnsweep[openvino]'"), ("onnxruntime", "pip install")])
def test_a_runtime_that_is_not_installed_is_an_obstacle_with_a_fix(
    name: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, {"openvino": "mnsweep.worker.ov", "onnxruntime": "mnsweep.worker.ort"}[name])
    with pytest.raises(ImportError):
        load(name)
    found = offer(name)
    assert (found.version, found.precisions) == ("", ())
    assert fix in found.obstacle and found.obstacle.startswith(f"{name} can't be loaded")


def test_a_precision_that_the_cpu_lacks_is_refused_with_what_would_run() -> None:
    if "bf16" in offer("openvino").precisions:
        pytest.skip("this CPU has bf16")
    with pytest.raises(ValueError, match="asked for bf16, OpenVINO would run f32"):
        load("openvino").open(model(), "bf16", 1)


@pytest.mark.parametrize("runtime", BOTH)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_times_of_the_operators_cover_every_row(runtime: str, precision: str) -> None:
    session = load(runtime).open(model(precision), precision, 1, profiled=True)
    times = session.node_times(random_images(session.shape), runs=3)
    named = {re.split(r"[/._]", node.name)[0].replace("logits", "classifier") for node in times}
    rows = {layer.name for layer in LAYERS}
    fused = {row for row in rows if row.startswith("depthwise")} if runtime == "openvino" else set()
    assert rows - fused <= named, "OpenVINO computes some depthwise layers within the one before, on some processors"
    assert all(node.ns >= 0 and node.op for node in times)
    assert 1e4 < sum(node.ns for node in times) < 1e9
    assert len({(node.name, node.op) for node in times}) == len(times)


def test_a_profile_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    session = load("onnxruntime").open(model(), "fp32", 1, profiled=True)
    session.node_times(random_images(session.shape), runs=1)
    assert not list(tmp_path.iterdir())


def test_onnxruntimes_averages_are_of_the_last_runs(tmp_path: Path) -> None:
    """Five events, of which the last two count: 30 and 50 microseconds."""
    conv = {"cat": "Node", "name": "stem_kernel_time", "args": {"op_name": "Conv"}}
    events: list[dict[str, object]] = [{**conv, "dur": us} for us in (900, 90, 9, 30, 50)]
    events += [{"cat": "Node", "name": "stem_fence_before", "dur": 7}, {"cat": "Session", "name": "run", "dur": 1}]
    (tmp_path / "profile.json").write_text(json.dumps(events))

    class Profiled(OrtSession):
        def __init__(self) -> None:
            self.session = self

        def bound(self, images: Array) -> Run:
            return lambda: None

        def end_profiling(self) -> str:
            return str(tmp_path / "profile.json")

    times = Profiled().node_times(np.zeros(1, np.float32), runs=2)
    assert times == [NodeTime(name="stem", op="Conv", implementation="", ns=40_000)]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_session_has_the_threads_that_were_asked_for(threads: int) -> None:
    ort_session, ov_session = (load(runtime).open(model(), "fp32", threads) for runtime in BOTH)
    assert isinstance(ort_session, OrtSession) and isinstance(ov_session, OvSession)
    options = ort_session.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
    assert ov_session.compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert ov_session.compiled.get_property("NUM_STREAMS") == 1


@pytest.mark.parametrize("runtime", BOTH)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_network_whose_answer_is_not_finite_is_not_timed(runtime: str, bad: float) -> None:
    arrays = dict(random_weights(LAYERS).arrays)
    arrays["classifier.bias"] = np.full(20, bad, np.float32)
    session = load(runtime).open(build_onnx(LAYERS, Weights(arrays)), "fp32", 1)
    with pytest.raises(ValueError, match="not finite"):
        ready(session)
    ready(load(runtime).open(model(), "fp32", 1))()


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [("onnxruntime", "INVALID_PROTOBUF : Failed to load model"), ("openvino", "Unable to read the model")],
)
def test_what_is_no_model_raises(runtime: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        load(runtime).open(b"no model", "fp32", 1)


class Abacus:
    """A runtime in two methods, whose models answer with their length."""

    def __init__(self, option: str) -> None:
        self.beads = option
        self.shape: tuple[int, ...] = (1, 3, 32, 32)

    def offer(self) -> Offer:
        return Offer(f"1.0 {self.beads}", ("fp32",))

    def open(self, model: bytes, precision: str, threads: int, *, profiled: bool = False) -> Session:
        self.answer = {"logits": np.full((1, 1), len(model), np.float32)}
        return self

    def outputs(self, images: Array) -> dict[str, Array]:
        return self.answer

    def bound(self, images: Array) -> Run:
        return lambda: None

    def node_times(self, images: Array, runs: int) -> list[NodeTime]:
        return []


def abacus(implementation: str) -> RuntimeName:
    return RuntimeName(
        name="abacus", implementation=implementation, install="carve one", package="abacus", option="[a-z]+",
        compare_with="onnxruntime", session={},
    )  # fmt: skip


def test_a_third_runtime_is_one_class_and_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "abacus", abacus("tests.test_runtimes:Abacus"))
    assert offer("abacus:wooden") == Offer("1.0 wooden", ("fp32",))
    assert load("abacus").open(b"12345", "fp32", 1).outputs(random_images((1,)))["logits"] == 5
    open_ready(b"12345", Deployment(runtime="abacus"))()


def test_a_third_runtime_that_is_not_installed_is_an_obstacle_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "abacus", abacus("no_such_module:Abacus"))
    assert offer("abacus").obstacle.startswith("abacus can't be loaded (No module named 'no_such_module')")


def test_no_runtime_leaves_its_mark_on_the_next_test() -> None:
    """Both have their thread flush denormals to zero, where hypothesis refuses to draw numbers (see conftest)."""
    assert float(np.float32(1e-40) * np.float32(0.5)) > 0


def test_a_session_is_opened_with_the_settings_that_exported_files_name() -> None:
    onnx_session = load("onnxruntime").open(model(), "fp32", 1)
    options = onnx_session.session.get_session_options()  # type: ignore[attr-defined]
    for name, value in RUNTIMES["onnxruntime"].session.items():
        assert options.get_session_config_entry(name) == value
    compiled = load("openvino").open(model(), "fp32", 1).compiled  # type: ignore[attr-defined]
    for name, value in RUNTIMES["openvino"].session.items():
        assert str(compiled.get_property(name)) == {"NO": "False", "YES": "True"}.get(value, value)
