"""`mnsweep profile`: the flow with a worker that times nothing, and the command; a real run is in `test_faults.py`."""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import mnsweep.app.profile
from mnsweep.app.profile import profile as profile_and_write
from mnsweep.app.profile import to_document, write
from mnsweep.app.requests import Place, ProfileRequest
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.cli.main import main
from mnsweep.errors import UnavailableError
from mnsweep.graph.matrix_product import FORMS, MULT_ADDS, PRODUCTS, build_product
from mnsweep.machine import lock
from mnsweep.machine.facts import read_facts
from mnsweep.machine.fingerprint import read_machine
from mnsweep.profiling.lint import Finding
from mnsweep.profiling.measure import ROUNDS, profile
from mnsweep.space import Space
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Array, NodeTime, Offer
from mnsweep.worker.proxy import WorkerLostError
from tests.fakes import FakeWorker

CELL = Cell(Design.of(0.3, 64), Deployment(pad="none"))
HERE = read_machine()
CELL_MS = 2.0
US = 50.0  # of each operator
PRODUCT_MS: dict[str, tuple[float, ...]] = {"matmul": (100.0,), "convolution": (81.0, 90.0, 80.0, 82.0, 95.0)}
TIMING = ("time", "node_times")


def lab(
    cell_ms: tuple[float, ...] = (CELL_MS,), left: tuple[str, ...] = (), slow_round: int = 0, **settings: Any
) -> FakeWorker:
    """A worker whose blocks of the cell take `cell_ms` in turn, and each operator 50 µs, ten times that in `slow_round`.

    Operators of layers that `left` the blocked layout ran as FusedConv.
    """
    times = {key: cycle(ms) for key, ms in (PRODUCT_MS | {CELL.id: cell_ms}).items()}
    rounds = count(1)

    def nodes_of(model: bytes) -> list[NodeTime]:
        ns = 1e3 * US * (10 if next(rounds) == slow_round else 1)
        names = [n.name for n in onnx.load_from_string(model).graph.node if n.op_type in ("Conv", "Gemm")]
        return [node(name, ns, name in left) for name in names]

    return FakeWorker(
        ms_of=lambda key, deployment: next(times.get(key, times[CELL.id])),
        noise_pct=0,
        runs=(1, 1, 3),
        first=9,
        version="9.9",
        nodes_of=nodes_of,
        **settings,
    )


def node(name: str, ns: float, left: bool) -> NodeTime:
    if name == "classifier":
        return NodeTime(name=name, op="Gemm", implementation="", ns=ns)
    if left:
        return NodeTime(name=name, op="FusedConv", implementation="", ns=ns)
    return NodeTime(name=f"{name}_nchwc", op="Conv", implementation="blocked", ns=ns)


def dying(key: str) -> Callable[..., None]:
    """A worker whose process ends when this model is opened, as `before`."""

    def die(verb: str, *arguments: object) -> None:
        if verb == "open" and arguments[0] == key:
            raise WorkerLostError("killed")

    return die


# --- the flow


def test_a_profile_holds_latency_rows_and_roofs() -> None:
    found = profile(CELL, HERE, new_worker=lab())
    assert found.latency_ms == CELL_MS
    assert found.roof.peak_gflops == pytest.approx(2 * MULT_ADDS / 80e6)  # the fastest block of the faster form
    assert found.roof.bandwidth_gb_per_s == 20.0
    assert (found.cell, found.machine.key, found.runtime_version, found.channels) == (CELL, HERE.key, "9.9", {})
    assert found.profiled_ms == pytest.approx(28 * US / 1e3)
    deployed = sum(row.mult_adds for row in found.rows)
    assert found.gflops == pytest.approx(2 * deployed / (CELL_MS * 1e6))


def test_latency_is_the_middle_of_blocks_that_take_turns_with_products_and_profiles() -> None:
    worker = lab(cell_ms=(2.0, 9.0, 3.0, 1.0, 4.0))
    assert profile(CELL, HERE, new_worker=worker).latency_ms == 3.0
    said = [request[1] if request[0] == "time" else "profile" for request in worker.requests if request[0] in TIMING]
    assert said == [CELL.id, "matmul", "convolution", "profile"] * ROUNDS


@pytest.mark.parametrize(
    ("disturbed", "ms"), [((f"{CELL.id} 2", f"{CELL.id} 5"), 2.0), ((CELL.id,), 3.0)], ids=["two blocks", "all blocks"]
)
def test_disturbed_blocks_tell_only_where_there_are_no_others(disturbed: tuple[str, ...], ms: float) -> None:
    assert profile(CELL, HERE, new_worker=lab(cell_ms=(2.0, 9.0, 3.0, 1.0, 4.0), disturbed=disturbed)).latency_ms == ms


def test_one_disturbed_profile_leaves_no_trace() -> None:
    found = profile(CELL, HERE, new_worker=lab(slow_round=2))
    assert found.profiled_ms == pytest.approx(28 * US / 1e3)


@pytest.mark.parametrize(("ms", "runs"), [(2.0, 50), (0.01, 200), (90.0, 5)])
def test_a_profile_has_enough_runs_and_takes_no_age(ms: float, runs: int) -> None:
    worker = lab(cell_ms=(ms,))
    profile(CELL, HERE, new_worker=worker)
    assert [asked for *_, asked in worker.arguments_of("node_times")] == [runs] * ROUNDS


def test_the_batch_and_the_threads_are_those_of_the_cell() -> None:
    worker = lab()
    found = profile(Cell(Design.of(0.3, 64), Deployment(threads=3, batch=4, pad="none")), HERE, new_worker=worker)
    assert worker.arguments_of("pin")[-1] == (3,)
    one = profile(CELL, HERE, new_worker=lab())
    assert [row.flops for row in found.rows] == [4 * row.flops for row in one.rows]
    assert [row.mult_adds for row in found.rows] == [row.mult_adds for row in one.rows]


def test_padded_channels_are_deployed_and_the_shares_stay_the_network_s() -> None:
    plain = profile(CELL, HERE, new_worker=lab())
    found = profile(Cell(CELL.design, Deployment(pad="16")), HERE, new_worker=lab())
    assert found.channels[9] == 16
    assert sum(row.mult_adds for row in found.rows) > sum(row.mult_adds for row in plain.rows)
    assert [kind.mult_adds_pct for kind in found.kinds] == [kind.mult_adds_pct for kind in plain.kinds]


@pytest.mark.parametrize(("precision", "quantized"), [("fp32", False), ("int8", True)])
def test_products_are_in_the_precision_of_the_cell(precision: str, quantized: bool) -> None:
    worker = lab()
    profile(Cell(Design.of(0.3, 64), Deployment(precision, pad="none")), HERE, new_worker=worker)
    models = {key: onnx.load_from_string(model) for key, model, _ in worker.arguments_of("open")}
    ops = [{node.op_type for node in model.graph.node} for model in models.values()]
    assert all(("QuantizeLinear" in of_model) is quantized for of_model in ops)
    assert set(models) > set(FORMS)


@pytest.mark.parametrize(
    ("settings", "peak_ms"),
    [
        ({"refuses": ("convolution",)}, 100.0),
        ({"refuses": FORMS}, None),
        ({"before": dying("convolution")}, None),  # the process is gone: measured again without any product
    ],
)
def test_a_product_that_does_not_run_hides_no_cell(settings: dict[str, Any], peak_ms: float | None) -> None:
    found = profile(CELL, HERE, new_worker=lab(**settings))
    assert found.latency_ms == CELL_MS
    assert found.roof.peak_gflops == (peak_ms and pytest.approx(2 * MULT_ADDS / (1e6 * peak_ms)))


def test_without_memory_for_a_copy_the_bandwidth_is_unknown() -> None:
    found = profile(CELL, HERE, new_worker=lab(bytes_per_s=None))
    assert found.roof.bandwidth_gb_per_s is None and found.roof.peak_gflops


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"offers": {"onnxruntime": Offer(obstacle="no such runtime: pip install it")}}, "pip install it"),
        ({"refuses": (CELL.id,)}, f"{CELL.id} does not run: not today"),
        ({"before": dying(CELL.id)}, f"{CELL.id} does not run: killed"),
    ],
)
def test_a_cell_that_does_not_run_is_not_available(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnavailableError, match=reason):
        profile(CELL, HERE, new_worker=lab(**settings))


def test_nothing_is_timed_while_another_measures(tmp_path: Path) -> None:
    request = ProfileRequest(space=Space(0.3, 64, pad="none"), place=Place(results_dir=tmp_path))
    with lock.measuring(wait=False), pytest.raises(UnavailableError, match="another mnsweep"):
        profile_and_write(request, worker := lab())
    assert not worker.blocks and not list(tmp_path.iterdir())


def test_disturbed_blocks_are_counted() -> None:
    found = profile(CELL, HERE, new_worker=lab(disturbed=("matmul",)))
    assert (found.blocks, found.disturbed_blocks) == (3 * ROUNDS, ROUNDS)


# --- files


def test_the_files_are_one_document_and_one_picture_in_two_forms(tmp_path: Path) -> None:
    found = profile(CELL, HERE, new_worker=lab(left=("depthwise1",)))
    folder = SweepFolder(tmp_path / "results" / "profile" / HERE.key)
    names = write(found, folder)
    assert names == [f"{CELL.id}.json", f"{CELL.id}_roofline.png", f"{CELL.id}_roofline.svg"]
    assert sorted(p.name for p in folder.path.iterdir()) == sorted(names)
    text = folder.read_text(names[0])
    assert json.loads(text) == json.loads(json.dumps(to_document(found, names)))
    assert str(tmp_path) not in text
    svg = folder.read_text(names[2])
    assert "hollow" in svg and HERE.title in svg and "9.9" in svg and "caches are faster" in svg


def test_a_document_has_every_number_and_null_for_what_is_not_known() -> None:
    document = to_document(profile(CELL, HERE, new_worker=lab(left=("depthwise1", "pointwise1"))), ["a"])
    assert list(document) == [
        "schema_version", "cell", "machine", "runtime_version", "padding", "latency_ms", "profiled_ms", "not_attributed_ms",
        "gflops", "peak_gflops", "bandwidth_gb_per_s", "blocks", "disturbed_blocks", "kinds", "layers", "lint", "files",
    ]  # fmt: skip
    assert document["not_attributed_ms"] == pytest.approx(CELL_MS - 28 * US / 1e3)
    assert sum(layer["time_pct"] for layer in document["layers"]) == pytest.approx(100)
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert (layers["pool"]["gflops"], layers["pool"]["bound"], layers["pool"]["roof_pct"]) == (None, None, None)
    assert layers["stem"]["operators"] == [{"name": "stem_nchwc", "op": "Conv", "implementation": "blocked", "ns": 1e3 * US}]
    assert (
        document["lint"][0]["layers"] == ["depthwise1", "pointwise1"]
        and "`pad` auto" in document["lint"][0]["mend"] == document["lint"][0]["fix"]
    )
    assert document["lint"][1] == {
        "rule": "reorders",
        "text": document["lint"][1]["text"],
        "mend": None,
        "layers": [],
        "fix": None,
    }
    slower = to_document(profile(CELL, HERE, new_worker=lab(cell_ms=(1.0,), refuses=FORMS)), [])
    assert slower["not_attributed_ms"] is None and slower["peak_gflops"] is None


# --- the products


@pytest.mark.parametrize("form", FORMS)
def test_a_product_is_what_it_is_counted_as(form: str) -> None:
    """Against numpy: the chain of products, in either form, on four columns; int8 is the same to a few percent."""
    model = onnx.load_from_string(build_product(form))
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).reshape(1024, 1024)
    assert PRODUCTS * weight.size * 1024 == MULT_ADDS
    shape = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    images = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    expected = images.reshape(1024, 1024)
    for _ in range(PRODUCTS):
        expected = expected @ weight if form == "matmul" else weight @ expected
    got, int8 = (_run(build_product(form, kind), images).reshape(1024, 1024) for kind in (False, True))
    assert np.allclose(got, expected, atol=1e-3)
    assert 0.5 < expected.std() < 2
    assert np.corrcoef(int8.ravel(), expected.ravel())[0, 1] > 0.99


def _run(model: bytes, images: Array) -> Array:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    output: Array = session.run(None, {session.get_inputs()[0].name: images})[0]
    return output


# --- the command


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program in this process and an empty directory, with a made-up worker of these settings and no pictures."""

    def run(command: str, **settings: Any) -> Ran:
        if settings.pop("real", False) is False:
            worker = lab(**settings)
            monkeypatch.setattr(mnsweep.app.profile, "WorkerProcess", worker)
            monkeypatch.setattr(
                mnsweep.app.profile, "draw", lambda *args: {f"{args[3]}.{kind}": b"" for kind in ("png", "svg")}
            )
        monkeypatch.setattr(sys, "argv", ["mnsweep", "profile", *command.split()])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    return run


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--alpha 3 --res 64", "--alpha 3:"),
        ("--alpha x --res 64", "--alpha"),
        ("--alpha 0.5 --res 16", "--res 16:"),
        ("--alpha 0.5", "--res"),
        ("--res 64", "--alpha"),
        ("--alpha 0.5 --res 64 --precision fp64", "precision 'fp64'"),
        ("--alpha 0.5 --res 64 --runtime abacus", "runtime 'abacus'"),
        ("--alpha 0.5 --res 64 --pad 1", "pad '1'"),
        ("--alpha 0.5 --res 64 --batch 0", "--batch 0:"),
        ("--alpha 0.5 --res 64 --threads 0", "--threads 0:"),
        ("--alpha 0.5 --res 64 --threads two", "--threads two"),
        ("--alpha 0.5 --res 64 --threads 1,2", "--threads 1,2"),
        ("--alpha 0.5 --res 64 --threads 512", "--threads 512: this process may use"),
        ("--alpha 0.5 --res 64 --activation gelu", "activation 'gelu'"),
    ],
)
def test_bad_values_are_one_line_and_measure_nothing(run: Run, flags: str, says: str) -> None:
    ran = run(flags, before=dying(CELL.id))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("mnsweep: ") and ran.err.count("\n") == 1 and says in ran.err, ran.err


@pytest.mark.parametrize(("flags", "waits"), [("", False), ("--wait", True)])
def test_only_who_asks_waits_for_another(run: Run, monkeypatch: pytest.MonkeyPatch, flags: str, waits: bool) -> None:
    asked: list[bool] = []

    def measuring(wait: bool) -> nullcontext[None]:
        asked.append(wait)
        return nullcontext()

    monkeypatch.setattr(mnsweep.app.profile, "measuring", measuring)
    assert run(f"--alpha 0.3 --res 64 --pad none {flags}").code == 0
    assert asked == [waits]


def test_what_is_not_offered_here_is_exit_status_4_and_one_line(run: Run) -> None:
    ran = run(
        "--alpha 0.3 --res 64 -q",
        offers={"onnxruntime": Offer(obstacle="openvino can't be loaded: pip install 'mnsweep[openvino]'")},
    )
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == "mnsweep: openvino can't be loaded: pip install 'mnsweep[openvino]'\n"


def test_threads_auto_are_all_that_may_be_used(run: Run) -> None:
    ran = run("--alpha 0.3 --res 64 --threads auto --json -q")
    usable = read_facts().usable_threads
    assert json.loads(ran.out)["cell"] == Cell(Design.of(0.3, 64), Deployment(threads=usable)).id


def test_the_text_says_where_time_goes_what_is_wrong_and_what_to_do(run: Run) -> None:
    ran = run("--alpha 0.3 --res 64 --pad none", left=("depthwise1", "depthwise2", "depthwise4"), disturbed=("matmul",))
    assert ran.code == 0
    for text in (
        "mult-adds", "depthwise13", "bound", "ran as", "FusedConv", "not attributed 0.600 ms",
        "peak           107.4 GFLOP/s: a 1024³ matrix product, 1 thread", "bandwidth      20.0 GB/s",
        "3 of 27 convolutions left onnxruntime's blocked layout (11 % of the time): depthwise1–2, depthwise4",
        "→ --pad auto", f"files          results/profile/{HERE.key}: {CELL.id}.json, {CELL.id}_roofline.png",
    ):  # fmt: skip
        assert text in ran.out, text
    assert "\nchannels " not in ran.out
    assert ran.err.splitlines()[-1] == "next: mnsweep profile --alpha 0.3 --res 64 --pad auto"
    assert "5 of 15 blocks were disturbed" in ran.err
    assert (Path("results/profile") / HERE.key / f"{CELL.id}_roofline.png").exists()


def test_the_table_by_kind_is_that_of_the_document(run: Run) -> None:
    out = run("--alpha 1.0 --res 224 --pad none").out
    table = {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}
    gflops = 2 * 0.9486 * 568_740_352 / (1e6 * 13 * US / 1e3)
    assert table["pointwise"] == ["0.650", "46.43", "94.86", "74.47", f"{gflops:.0f}"]
    assert table["head"][2:4] == ["0.18", "24.22"]


def test_padding_and_the_profiler_s_own_time_are_told(run: Run) -> None:
    out = run("--alpha 0.3 --res 64 --pad 16", cell_ms=(1.0,)).out
    assert "channels       9 → 16, 19 → 32" in out
    assert "profiler       takes 0.400 ms itself" in out


def test_an_unknown_peak_and_bandwidth_are_said(run: Run) -> None:
    out = run("--alpha 0.3 --res 64 --pad none", refuses=FORMS, bytes_per_s=None).out
    assert out.count("unknown: it could not be measured") == 2 and "of the peak" not in out.split("peak  ")[1]


@pytest.mark.parametrize("columns", [80, 100])
def test_the_tables_fit_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("mnsweep.cli.show.PIPED_WIDTH", columns)
    out = run("--alpha 1.0 --res 224 --pad none").out
    table = out[: out.index("latency  ")]
    assert max(map(len, table.splitlines())) <= columns and "…" not in table and "ran as" not in table


def test_json_is_one_document_with_its_place_and_quiet_is_silent(run: Run, tmp_path: Path) -> None:
    ran = run(f"--alpha 0.3 --res 64 --pad none --json -q --results-dir {tmp_path / 'elsewhere'}")
    document = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert document["results_dir"] == str(tmp_path / "elsewhere" / "profile" / HERE.key)
    assert all((Path(document["results_dir"]) / name).exists() for name in document["files"])


@pytest.mark.parametrize(
    ("flags", "changes", "next_command"),
    [
        ("--threads 1 --batch 2", (), "grid --alpha 0.3 --res 64 --batch 2 --precision fp32,int8"),
        ("--precision int8 --classes 10", (), "grid --alpha 0.3 --res 64 --classes 10 --precision fp32,int8"),
        ("--width-rule round8", (("pad", "16"),), "profile --alpha 0.3 --res 64 --width-rule round8 --pad 16"),
        ("--pad none", (("runtime", "openvino"),), "grid --alpha 0.3 --res 64 --pad none --runtime onnxruntime,openvino"),
        (
            "--task ssd --variant shallow",
            (),
            "grid --alpha 0.3 --res 64 --variant shallow --task ssd --runtime onnxruntime,openvino",
        ),
    ],
)
def test_the_last_line_is_a_command_that_follows(
    run: Run, monkeypatch: pytest.MonkeyPatch, flags: str, changes: tuple[tuple[str, str], ...], next_command: str
) -> None:
    findings = (Finding("made-up", "fine"), Finding("made-up", "not fine", "try", changes=changes))
    monkeypatch.setattr(mnsweep.profiling.measure, "lint", lambda *_: findings)
    assert run(f"--alpha 0.3 --res 64 {flags}").err.splitlines()[-1] == f"next: mnsweep {next_command}"


def test_help_has_an_example() -> None:
    from mnsweep.cli.profile import EXAMPLE

    assert "mnsweep profile --alpha 1.0 --res 224" in EXAMPLE
