"""From cells to the files that run, with a worker that runs nothing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from mnsweep.arch.channel_padding import NARROW, WIDE, Channels, multiples_of, where_it_pays
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.graph.file_size import SYNTHETIC
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.weights import random_weights
from mnsweep.prepare import offers
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import chains
from mnsweep.worker.base import Offer
from mnsweep.worker.proxy import CellError, NewWorker, Worker, WorkerLostError
from tests.fakes import FakeWorker

UNEVEN, EVEN = Design.of(0.3, 32, classes=10), Design.of(0.5, 32, classes=10)
PROBED = (*NARROW, *WIDE)
AT_8 = multiples_of(8, expand(UNEVEN))  # what the fake worker likes
PADS = ("auto", "8")
BOTH = Offer("1.0", ("fp32", "int8"))


def cells(*deployments: Deployment, design: Design = UNEVEN) -> tuple[Cell, ...]:
    return tuple(Cell(design, deployment) for deployment in deployments)


def prepare(
    worker: NewWorker, some: Sequence[Cell], kept: Mapping[str, Channels], probes: Mapping[Any, Any] | None = None
) -> Prepared:
    """What is found out afresh."""
    prepared = Prepared(weight_bits=8, channels=dict(kept), probes=dict(probes or {}))
    offers.prepare(prepared, some, worker)
    return prepared


def prepare_export(
    worker: NewWorker, cell: Cell, seed: int = 0, kept: Channels | None = None, folder: Path | None = None
) -> Prepared:
    """What an export finds out."""
    prepared = Prepared(weight_bits=8, seed=seed, channels={} if kept is None else {cell.id: kept})
    offers.prepare_export(prepared, cell, worker, folder)
    return prepared


def no_worker() -> Worker:
    raise AssertionError("nothing has to be asked")


def probes(worker: FakeWorker) -> float:
    """How many times the chains of a runtime and precision were opened."""
    return worker.asked["chain"] / len(set(PROBED))


def fails(error: type[CellError]) -> Callable[[int], float]:
    """A chain that fails, as `chain_ns` of a fake worker."""

    def chain_ns(count: int) -> float:
        raise error("no chains today")

    return chain_ns


def no_ranges(verb: str, *arguments: object) -> None:
    if verb == "ranges":
        raise CellError("no ranges today")


def constants(model: bytes) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(model).graph.initializer}


def test_cells_of_a_runtime_that_is_not_there_are_skipped_with_the_mend() -> None:
    here, gone, quantized = cells(Deployment(), Deployment(runtime="openvino"), Deployment("int8", "openvino"))
    worker = FakeWorker(offers={"openvino": Offer(obstacle="no openvino: pip install it")})
    prepared = prepare(worker, (gone, here, quantized), {})
    assert prepared.skipped == dict.fromkeys([gone.id, quantized.id], "no openvino: pip install it")
    assert prepared.channels == {here.id: AT_8} and not prepared.failures
    assert worker.asked["ranges"] == 0, "nothing that runs here is int8"


def test_a_precision_that_is_not_there_is_named_with_those_that_are() -> None:
    plain, bf16 = cells(Deployment(), Deployment("bf16"))
    prepared = prepare(FakeWorker(offers={"onnxruntime": Offer("1.23", ("fp32", "int8"))}), (bf16, plain), {})
    assert prepared.skipped == {bf16.id: "onnxruntime 1.23 offers no bf16 on this CPU (it has fp32, int8)"}
    assert plain.id in prepared.channels


def test_a_runtime_that_ends_its_process_when_it_is_loaded_is_skipped() -> None:
    def crash(*request: object) -> None:
        if request == ("offer", "openvino"):
            raise WorkerLostError("the worker process ended with exit status -11")

    here, gone = cells(Deployment(), Deployment(runtime="openvino"))
    prepared = prepare(FakeWorker(before=crash), (gone, here), {})
    assert prepared.skipped == {gone.id: "openvino cannot be loaded: the worker process ended with exit status -11"}
    assert prepared.channels == {here.id: AT_8}


def test_versions_are_those_of_the_runtimes_that_are_there() -> None:
    """A runtime that is installed later must not look like another version of itself."""
    worker = FakeWorker(offers={"onnxruntime": BOTH, "openvino": Offer(obstacle="gone")})
    assert prepare(worker, cells(Deployment(), Deployment(runtime="openvino")), {}).versions == {"onnxruntime": "1.0"}


def test_one_probe_serves_every_cell_of_its_runtime_and_precision() -> None:
    hows = [Deployment(threads=threads, batch=batch, pad=pad) for threads in (1, 2) for batch in (1, 4) for pad in PADS]
    worker = FakeWorker()
    prepare(worker, (*cells(*hows), *cells(*hows, design=EVEN)), {})
    assert probes(worker) == 1
    for precision, runtime in (("int8", "onnxruntime"), ("fp32", "openvino"), ("int8", "openvino")):
        hows.append(Deployment(precision, runtime))
    worker = FakeWorker()
    prepare(worker, cells(*hows), {})
    assert probes(worker) == 4


@pytest.mark.parametrize("pads", [("none",), ("none", "none")])
def test_what_is_not_padded_needs_no_probe(pads: tuple[str, ...]) -> None:
    worker = FakeWorker()
    prepared = prepare(worker, cells(*(Deployment(threads=i, pad=pad) for i, pad in enumerate(pads, 1))), {})
    assert probes(worker) == 0 and set(map(str, prepared.channels.values())) == {"{}"}


def test_kept_channels_are_never_found_out_again() -> None:
    auto, eight, quantized, new = cells(Deployment(), Deployment(pad="8"), Deployment("int8"), Deployment(pad="none"))
    kept = {auto.id: {9: 11}, eight.id: {}, quantized.id: {9: 10}}
    worker = FakeWorker()
    prepared = prepare(worker, (auto, eight, quantized, new), kept)
    assert prepared.channels == kept | {new.id: {}} and probes(worker) == 0
    assert prepared.deployed_layers(auto)[0].out_channels == 11
    assert new.id not in kept, "what was handed in stays as it is"


def test_auto_comes_to_what_pays_in_the_chains_of_the_probe() -> None:
    (auto,) = cells(Deployment())
    penalty = FakeWorker(chain_ns=lambda count: count * (1000 if count % 4 == 0 else 9000))
    by_four = {count: float(count * (1 if count % 4 == 0 else 9)) for count in PROBED}
    assert prepare(penalty, (auto,), {}).channels[auto.id] == where_it_pays(expand(UNEVEN), by_four)
    assert prepare(FakeWorker(chain_ns=lambda count: 1000 * count), (auto,), {}).channels[auto.id] == {}


def test_padding_that_gains_nothing_is_remarked_on_and_measured() -> None:
    seven, eight, auto, none = cells(*(Deployment(pad=pad) for pad in ("7", "8", "auto", "none")))
    prepared = prepare(FakeWorker(), (seven, eight, auto, none), {})
    assert list(prepared.remarks) == [seven.id]
    assert "onnxruntime gains nothing from padding to 7 in fp32" in prepared.remarks[seven.id]
    assert prepared.channels[seven.id] == multiples_of(7, expand(UNEVEN))
    assert not prepared.failures and not prepared.skipped


@pytest.mark.parametrize("error", [CellError, WorkerLostError])
def test_a_probe_that_fails_costs_the_cells_that_need_it(error: type[CellError]) -> None:
    auto, none, again = cells(Deployment(), Deployment(pad="none"), Deployment(threads=2))
    worker = FakeWorker(chain_ns=fails(error))
    prepared = prepare(worker, (auto, none, again), {})
    assert prepared.failures == dict.fromkeys([auto.id, again.id], "while probing channel counts: no chains today")
    assert prepared.channels == {none.id: {}}
    with pytest.raises(CellError, match="no chains today"):
        prepared.model_of(auto)
    assert prepared.model_of(none)


def test_a_multiple_needs_no_probe_to_be_measured() -> None:
    (eight,) = cells(Deployment(pad="8"))
    prepared = prepare(FakeWorker(chain_ns=fails(CellError)), (eight,), {})
    assert prepared.channels == {eight.id: AT_8} and not prepared.failures


def test_a_probe_that_failed_is_not_tried_for_every_cell() -> None:
    worker = FakeWorker(chain_ns=fails(CellError))
    prepare(worker, cells(*(Deployment(threads=threads) for threads in range(1, 9))), {})
    assert probes(worker) == 1


def test_a_probe_that_fails_in_one_precision_leaves_the_other() -> None:
    def refuse_int8(verb: str, *arguments: Any) -> None:
        if verb == "open" and arguments[-1].precision == "int8":
            raise CellError("no int8 today")

    plain, quantized = cells(Deployment(), Deployment("int8"))
    prepared = prepare(FakeWorker(before=refuse_int8), (quantized, plain), {})
    assert set(prepared.failures) == {quantized.id} and prepared.channels == {plain.id: AT_8}


def test_a_worker_that_is_lost_in_one_runtime_leaves_the_others() -> None:
    lost: set[int] = set()  # by the order in which they were started

    def lose(verb: str, *arguments: Any) -> None:
        if verb == "open" and arguments[-1].runtime == "openvino":
            lost.add(worker.started)
        if worker.started in lost:
            raise WorkerLostError("the worker process ended with exit status 11")

    worker = FakeWorker(before=lose)
    theirs = cells(Deployment(runtime="openvino"), Deployment("int8", "openvino"))
    ours = cells(Deployment(), Deployment("int8"))
    prepared = prepare(worker, (*theirs, *ours), {})
    assert set(prepared.failures) == {cell.id for cell in theirs}
    assert prepared.channels == {cell.id: AT_8 for cell in ours}
    assert all(prepared.model_of(cell) for cell in ours)
    assert worker.started == 3, "one for each runtime, and one to calibrate"


def test_a_design_is_calibrated_once_and_with_the_weights_that_run() -> None:
    hows = [Deployment("int8", runtime, threads=threads) for runtime in ("onnxruntime", "openvino") for threads in (1, 2)]
    worker = FakeWorker()
    prepared = prepare(worker, (*cells(*hows), *cells(*hows, Deployment(), design=EVEN)), {})
    assert worker.asked["ranges"] == 2 and set(prepared.ranges) == {UNEVEN, EVEN}
    fp32 = constants(build_onnx(expand(UNEVEN), random_weights(expand(UNEVEN), prepared.seed)))
    model, _ = worker.arguments_of("ranges")[0]
    np.testing.assert_array_equal(constants(model)["stem.weight"], fp32["stem.weight"])


def test_calibration_that_fails_costs_its_design_alone() -> None:
    def refuse_uneven(verb: str, *arguments: Any) -> None:
        if verb == "ranges" and len(constants(arguments[0])["stem.bias"]) == 9:
            raise CellError("out of memory")

    uneven, plain, even = *cells(Deployment("int8"), Deployment()), Cell(EVEN, Deployment("int8"))
    prepared = prepare(FakeWorker(before=refuse_uneven), (uneven, plain, even), {})
    assert prepared.failures == {uneven.id: "while calibrating: out of memory"}
    with pytest.raises(CellError, match="out of memory"):
        prepared.model_of(uneven)
    assert prepared.model_of(plain) and prepared.model_of(even)


def test_there_is_no_model_of_a_cell_that_does_not_run_here() -> None:
    (bf16,) = cells(Deployment("bf16"))
    prepared = prepare(FakeWorker(), (bf16,), {})
    with pytest.raises(CellError, match="no bf16"):
        prepared.model_of(bf16)


def test_the_model_of_a_cell_has_its_channels_its_batch_and_its_precision() -> None:
    plain, quantized = cells(Deployment(batch=4, pad="16"), Deployment("int8", pad="none"))
    prepared = prepare(FakeWorker(), (plain, quantized), {})
    model = onnx.load_from_string(prepared.model_of(plain))
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [4, 3, 32, 32]
    assert constants(prepared.model_of(plain))["pointwise1.weight"].shape == (32, 16, 1, 1)
    assert constants(prepared.model_of(quantized))["pointwise1.weight"].dtype == np.int8
    symbolic = onnx.load_from_string(prepared.model_of(plain, symbolic=True)).graph.input[0].type.tensor_type.shape.dim[0]
    assert symbolic.dim_param and not symbolic.dim_value


def test_chains_are_one_model_for_each_count_and_int8_where_asked() -> None:
    for precision, dtype in (("fp32", np.float32), ("bf16", np.float32), ("int8", np.int8)):
        models = chains(precision)
        assert set(models) == set(PROBED)
        assert all(constants(m)["pointwise1.weight"].shape == (count, count, 1, 1) for count, m in models.items())
        assert constants(models[17])["pointwise1.weight"].dtype == dtype


@pytest.mark.parametrize("pad", ["none", "16"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_export_that_needs_no_runtime_starts_none(pad: str, precision: str) -> None:
    (cell,) = cells(Deployment(precision, "openvino", pad=pad))
    prepared = prepare_export(no_worker, cell)
    assert prepared.channels[cell.id] == ({} if pad == "none" else multiples_of(16, expand(UNEVEN)))
    assert prepared.model_of(cell)


def test_an_export_with_the_channels_it_was_measured_with_starts_none() -> None:
    (cell,) = cells(Deployment(runtime="openvino"))
    assert prepare_export(no_worker, cell, kept={9: 12}).channels == {cell.id: {9: 12}}
    assert prepare_export(no_worker, cell, kept={}).channels == {cell.id: {}}


def test_an_export_with_auto_padding_asks_the_runtime() -> None:
    (cell,) = cells(Deployment())
    worker = FakeWorker()
    assert prepare_export(worker, cell).channels == {cell.id: AT_8}
    assert probes(worker) == 1 and worker.asked["ranges"] == 0


@pytest.mark.parametrize("pad", ["none", "auto"])
def test_an_int8_export_is_calibrated(pad: str) -> None:
    (cell,) = cells(Deployment("int8", pad=pad))
    worker = FakeWorker()
    prepared = prepare_export(worker, cell)
    assert worker.asked["ranges"] == 1 and probes(worker) == (pad == "auto")
    model = onnx.load_from_string(prepared.model_of(cell))
    assert [entry.value for entry in model.metadata_props] == [SYNTHETIC]


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (FakeWorker(offers={"onnxruntime": Offer(obstacle="pip install it")}), "pip install it"),
        (FakeWorker(offers={"onnxruntime": Offer("1", ("fp32",))}), "offers no int8"),
        (FakeWorker(chain_ns=fails(CellError)), "no chains today"),
        (FakeWorker(before=no_ranges), "no ranges today"),
    ],
    ids=["no runtime", "no precision", "no probe", "no ranges"],
)
def test_an_export_that_can_not_be_made_says_why(worker: FakeWorker, reason: str) -> None:
    (cell,) = cells(Deployment("int8"))
    with pytest.raises(UnavailableError, match=f"{cell.id}: .*{reason}"):
        prepare_export(worker, cell)


def test_another_seed_is_other_weights_in_all_that_is_made() -> None:
    (cell,) = cells(Deployment("int8", pad="none"))
    worker = FakeWorker()
    zero, again, one = (prepare_export(worker, cell, seed).model_of(cell) for seed in (0, 0, 1))
    calibrated_on = [constants(model)["stem.weight"] for model, _ in worker.arguments_of("ranges")]
    assert zero == again != one
    assert (calibrated_on[0] == calibrated_on[1]).all() and not (calibrated_on[0] == calibrated_on[2]).any()


def test_pictures_in_a_folder_are_what_an_export_is_calibrated_on(tmp_path: Path) -> None:
    for name, grey in (("a.png", 0), ("b.png", 255)):
        Image.new("L", (40, 50), grey).save(tmp_path / name)
    worker = FakeWorker()
    (cell,) = cells(Deployment("int8", pad="none"))
    prepared = prepare_export(worker, cell, folder=tmp_path)
    ((_, seen),) = worker.arguments_of("ranges")
    assert [float(image.mean()) for image in seen] == [-1, 1] and seen[0].shape == (1, 3, 32, 32)
    assert onnx.load_from_string(prepared.model_of(cell)).metadata_props[0].value == "2 images"
    with pytest.raises(MnsweepError, match="no such folder"):
        prepare_export(no_worker, cell, folder=tmp_path / "none")


def test_nothing_is_asked_twice() -> None:
    """A session prepares more and more cells: a runtime that was asked and probed is not started again."""
    worker, prepared = FakeWorker(), Prepared(weight_bits=8)
    offers.prepare(prepared, cells(Deployment()), worker)
    offers.prepare(prepared, cells(Deployment(), Deployment(threads=2), design=EVEN), no_worker)
    assert probes(worker) == 1 and len(prepared.channels) == 3
    assert set(prepared.versions) == {"onnxruntime"}
