"""How a design is run, from the flags to the table: axes, what is offered, what was measured, what is said of it."""

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mnsweep.accuracy.published import published, weights_note
from mnsweep.app.asking import asked_cells
from mnsweep.arch.channel_padding import WIDE, multiples_of, to_text
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.space import Space
from mnsweep.sweep.file import parse_sweep
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Offer
from tests.fakes import FakeWorker
from tests.test_cli import Run, assert_refused, run
from tests.test_sweep import measure

__all__ = ["run"]  # a fixture
UNEVEN, EVEN = Design.of(0.3, 32), Design.of(0.5, 32)
# tensorflow/models, research/slim/nets/mobilenet_v1.md, quantized TFLite models of 2018-08-02.
QUANTIZED = {
    (1.0, 224): 70.1, (1.0, 192): 69.2, (1.0, 160): 67.2, (1.0, 128): 63.4,
    (0.75, 224): 66.8, (0.75, 192): 66.1, (0.75, 160): 62.3, (0.75, 128): 55.8,
    (0.5, 224): 60.7, (0.5, 192): 60.0, (0.5, 160): 57.7, (0.5, 128): 54.5,
    (0.25, 224): 48.0, (0.25, 192): 46.0, (0.25, 160): 43.4, (0.25, 128): 39.5,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "grid" / read_machine().key)


def cells(*deployments: Deployment, design: Design = UNEVEN) -> tuple[Cell, ...]:
    return tuple(Cell(design, deployment) for deployment in deployments)


def test_the_deployments_of_a_grid_are_the_product_of_their_axes() -> None:
    space = Space("0.5", "32", precision="fp32,int8", runtime=["onnxruntime", "openvino"], threads="1,2", pad="none,16,16")
    found = space.deployments()
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2
    assert Deployment("int8", "openvino", threads=2, batch=1, pad="16") in found
    assert found[0] == Deployment(pad="none")


def test_auto_threads_are_the_machines() -> None:
    assert [d.threads for d in Space(threads="1,auto", auto_threads=6).deployments()] == [1, 6]
    assert [d.threads for d in Space(threads=["auto"], auto_threads=6).deployments()] == [6]
    assert [d.threads for d in Space(threads="auto,6", auto_threads=6).deployments()] == [6]
    with pytest.raises(MnsweepError, match="`threads` auto"):
        Space(threads="auto").deployments()


@pytest.mark.parametrize("axes", [{"precision": "fp32,"}, {"pad": []}, {"runtime": [None]}], ids=str)
def test_an_axis_of_names_that_is_none_is_refused(axes: dict[str, Any]) -> None:
    with pytest.raises(MnsweepError, match=f"`{next(iter(axes))}`"):
        Space(**axes).deployments()


@pytest.mark.parametrize("pad", ["", "0", "1", "257", "07", "8.0", "-8", "auto8"])
def test_a_bad_padding_is_named(pad: str) -> None:
    with pytest.raises(MnsweepError, match=r"pad .*auto, none, or a multiple from 2 to 256"):
        Deployment(pad=pad)


@pytest.mark.parametrize("runtime", ["onnxruntime:", "onnxruntime:CUDA", "openvino:CPUExecutionProvider", "tflite"])
def test_a_bad_runtime_is_named(runtime: str) -> None:
    with pytest.raises(MnsweepError, match=r"runtime .*onnxruntime, openvino"):
        Deployment(runtime=runtime)


def test_a_sweep_file_takes_deployments_as_lists_and_text(tmp_path: Path) -> None:
    text = 'alpha = 0.5\nres = 32\npad = ["none", 16]\nprecision = "fp32,int8"\nthreads = ["auto"]\ndesigns = [[0.3, 32]]\n'
    found = parse_sweep(text, tmp_path / "x.toml", auto_threads=3).cells
    assert [c.id for c in found if c.design == EVEN] == [
        f"a0.5_r32{p}_t3_{pad}" for p in ("", "_int8") for pad in ("pnone", "p16")
    ]
    assert {c.deployment for c in found if c.design == UNEVEN} == {c.deployment for c in found if c.design == EVEN}


def test_more_threads_than_the_machine_has_are_refused() -> None:
    two_cpus = Machine({"cpu": "Abacus", "logical_cpus": 8}, {"usable_cpus": 4, "cpu_quota": 2.5})
    assert {cell.deployment.threads for cell in asked_cells(Space(threads="auto"), two_cpus)} == {2}
    with pytest.raises(MnsweepError, match="`threads` 3: this process may use 2 CPUs"):
        asked_cells(Space(threads="1,3"), two_cpus)


@pytest.mark.parametrize(("alpha", "resolution"), QUANTIZED)
def test_int8_has_the_accuracy_of_a_network_trained_with_quantization(alpha: float, resolution: int) -> None:
    design = Design.of(alpha, resolution)
    quality, as_fp32 = published(Cell(design, Deployment("int8"))), published(Cell(design))
    assert quality and as_fp32
    assert quality.quality_pct == QUANTIZED[alpha, resolution] != as_fp32.quality_pct
    assert quality.provenance == "published, quantization-aware training: slim-2018-08"
    assert "trained with quantization" in weights_note(quality.provenance)
    assert "trained with quantization" not in weights_note(as_fp32.provenance)
    assert published(Cell(design, Deployment("int8")), "paper") is None


def test_bf16_inherits_and_says_so() -> None:
    quality, as_fp32 = published(Cell(Design.of(1.0, 224), Deployment("bf16"))), published(Cell(Design.of(1.0, 224)))
    assert quality and as_fp32
    assert (quality.quality_pct, quality.top5_pct) == (as_fp32.quality_pct, as_fp32.top5_pct)
    assert quality.provenance == "inherited from fp32, published: slim-2018-08"
    assert published(Cell(Design.of(0.33, 224), Deployment("bf16"))) is None


def test_what_auto_came_to_is_recorded_and_kept(folder: SweepFolder) -> None:
    """The fake runtime likes multiples of eight; later it would like others, but one sweep has one probe."""
    auto, none = cells(Deployment(), Deployment(pad="none"))
    results = {r.cell: r for r in measure(folder, (auto, none)).results}
    widths = results[auto.id].deployed_channels
    assert widths and all(int(pair.split(">")[1]) % 8 == 0 for pair in widths.split())
    assert results[none.id].deployed_channels == "unpadded"
    assert results[auto.id].deployed_mult_adds > results[none.id].deployed_mult_adds == results[none.id].mult_adds
    assert {p.padding.get(auto.id) for p in folder.read().processes} == {widths}
    assert not any(none.id in p.padding for p in folder.read().processes)
    other = FakeWorker(chain_ns=lambda count: 1000 * count)
    (more,) = cells(Deployment(), design=Design.of(0.35, 32))
    again = {r.cell: r for r in measure(folder, (more,), worker=other).results}
    assert again[auto.id].deployed_channels == widths
    assert again[more.id].deployed_channels == to_text(multiples_of(8, expand(more.design)))
    assert not other.asked["chain"]


def test_one_probe_for_each_runtime_and_precision_that_pads(folder: SweepFolder) -> None:
    worker = FakeWorker()
    settings = product(("fp32", "int8"), ("onnxruntime", "openvino"), ("auto", "none"))
    hows = [Deployment(precision, runtime, pad=pad) for precision, runtime, pad in settings]
    measure(folder, (*cells(*hows), *cells(*hows, design=EVEN)), worker=worker)
    chains = len(set(WIDE)) + 6
    assert worker.asked == Counter(onnxruntime=1, openvino=1, chain=4 * chains, ranges=2)


def test_what_does_not_run_here_is_left_out_and_the_rest_is_measured(folder: SweepFolder) -> None:
    missing = Offer(obstacle="openvino can't be loaded: pip install 'mnsweep[openvino]'")
    worker = FakeWorker(offers={"openvino": missing, "onnxruntime": Offer("1.0", ("fp32",))})
    asked = cells(Deployment(), Deployment("int8"), Deployment(runtime="openvino"))
    outcome = measure(folder, asked, worker=worker)
    assert [r.cell for r in outcome.results] == ["a0.3_r32"]
    assert not outcome.failures


def test_when_nothing_runs_here_it_says_how_to_get_it(folder: SweepFolder) -> None:
    worker = FakeWorker(offers={"openvino": Offer(obstacle="pip install 'mnsweep[openvino]'")})
    with pytest.raises(UnavailableError, match=r"pip install 'mnsweep\[openvino\]'"):
        measure(folder, cells(Deployment(runtime="openvino")), worker=worker)


def test_what_was_measured_stays_when_its_runtime_is_gone(folder: SweepFolder) -> None:
    with_openvino = cells(Deployment(runtime="openvino"))
    measure(folder, with_openvino)
    gone = FakeWorker(offers={"openvino": Offer(obstacle="gone")})
    outcome = measure(folder, cells(Deployment()), worker=gone)
    assert {r.cell for r in outcome.results if r.samples} == {"a0.3_r32_openvino", "a0.3_r32"}


def test_latency_of_a_batch_is_also_images_per_second(folder: SweepFolder) -> None:
    for r in measure(folder, cells(Deployment(), Deployment(batch=8))).results:
        assert r.latency_p50_ms and r.images_per_s == pytest.approx(1000 * r.batch / r.latency_p50_ms, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--runtime", "tflite"], ["runtime 'tflite'", "onnxruntime, openvino"]),
        (["--precision", "fp16"], ["precision 'fp16'", "fp32, bf16, int8"]),
        (["--threads", "0"], ["--threads 0"]),
        (["--threads", "1024"], ["--threads 1024", "CPUs"]),
        (["--batch", "0"], ["--batch 0"]),
        (["--pad", "0"], ["pad '0'", "auto, none"]),
        (["--pad", "none,"], ["--pad none,"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_bad_deployment_is_one_line(run: Run, arguments: list[str], parts: list[str]) -> None:
    assert_refused(run("grid", *arguments), *parts)


def test_count_says_what_is_deployed(run: Run) -> None:
    plain, padded, quantized = (
        run("count", "--alpha", "0.3", "--res", "128", "--json", *more).json["cells"][0]
        for more in ([], ["--pad", "16"], ["--precision", "int8", "--pad", "none"])
    )
    assert plain["mult_adds"] == padded["mult_adds"] == plain["deployed_mult_adds"] < padded["deployed_mult_adds"]
    assert plain["params"] == padded["params"] and padded["onnx_bytes"] > plain["onnx_bytes"]
    assert plain["deployed_channels"] is None and quantized["deployed_channels"] == "unpadded"
    assert padded["deployed_channels"].startswith("9>16 19>32 38>48")
    assert quantized["onnx_bytes"] < plain["onnx_bytes"] / 2
    assert quantized["peak_activation_bytes"] < plain["peak_activation_bytes"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_calibration_needs_int8_and_pictures(run: Run, precision: str) -> None:
    network = ["--alpha", "0.3", "--res", "32", "--precision", precision]
    ran = run("export", *network, "--out", "m.onnx", "--calibration", "nowhere")
    assert_refused(ran, "--calibration nowhere", "--precision int8" if precision == "fp32" else "no such folder")
    assert not Path("m.onnx").exists()


def test_every_setting_of_a_deployment_is_in_the_id() -> None:
    for changed in ({"precision": "int8"}, {"runtime": "openvino"}, {"threads": 2}, {"batch": 2}, {"pad": "none"}):
        cell = Cell(UNEVEN, replace(Deployment(), **changed))
        assert cell.id != Cell(UNEVEN).id and parse_cell(cell.id) == cell
