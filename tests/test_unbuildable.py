"""A cell whose ONNX file cannot be built costs that cell only, and says why."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import EncodeError

from mnsweep.arch.layer import Layer
from mnsweep.cell import Cell, Deployment, Design
from mnsweep.graph import file_size
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.machine.fingerprint import read_machine
from mnsweep.prepare import models
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import WorkerLostError, WorkerProcess
from tests.fakes import FakeWorker
from tests.test_cli import Run, run
from tests.test_grid_cli import QUICK, worker
from tests.test_sweep import measure

__all__ = ["run", "worker"]
SMALL, LARGE = Design.of(0.25, 32), Design.of(0.55, 32, classes=1_000_000)
TOO_LARGE = "its ONNX file would have 2.26 GB, and no single one can have more than 2.15 GB"


@pytest.mark.parametrize("deployment", [Deployment(pad="none"), Deployment("int8", pad="none"), Deployment(pad="16")])
def test_a_file_that_is_too_large_fails_before_it_is_built(deployment: Deployment, tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "results" / "grid" / read_machine().key)
    small, large = Cell(SMALL, deployment), Cell(LARGE, deployment)
    outcome = measure(folder, (small, large), FakeWorker())
    assert list(outcome.failures) == [large.id]
    assert "no single one can have more than 2.15 GB" in outcome.failures[large.id]
    assert [r.cell for r in outcome.results if r.samples] == [small.id]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EncodeError("Failed to serialize proto"), "EncodeError: Failed to serialize proto"),
        (ValueError("Message exceeds maximum protobuf size of 2GB"), "ValueError: Message exceeds maximum"),
        (np.exceptions.AxisError("axis 7"), "AxisError"),  # a ValueError
        (MemoryError(), "there is too little memory"),
    ],
)
def test_whatever_prevents_a_file_the_others_are_measured(
    run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def build_small(layers: Sequence[Layer], *weights: Any, **settings: Any) -> bytes:
        if layers[0].out_channels > 8:
            raise error
        return build_onnx(layers, *weights, **settings)

    monkeypatch.setattr(models, "build_onnx", build_small)
    ran = run(*QUICK, "--pad", "none", "--json", "-q")
    assert ran.code == 3 and ran.err.startswith("mnsweep: a0.5_r64_pnone failed: its ONNX file cannot be built: ")
    assert reason in ran.err and ran.err.count("\n") == 1
    assert [cell["latency_p50_ms"] is None for cell in ran.json["cells"]] == [False, True]


def test_the_limit_is_that_of_protocol_buffers() -> None:
    assert file_size.impossible(2**31) and not file_size.impossible(2**31 - 1)


@pytest.mark.parametrize("flags", [[], ["--json"], ["--csv"], ["--layers"]])
def test_a_size_that_cannot_exist_is_said_where_it_is_counted(run: Run, flags: list[str]) -> None:
    ran = run("count", "--alpha", "0.55", "--res", "32", "--classes", "1000000", *flags)
    assert ran.code == 0 and f"mnsweep: a0.55_r32_c1000000 can't be built: {TOO_LARGE}\n" in ran.err
    assert "built" not in run("count", "--alpha", "0.55", "--res", "32", *flags).err


def test_several_sizes_that_cannot_exist_are_one_line(run: Run) -> None:
    ran = run("count", "--alpha", "0.55,0.25", "--res", "32,64,128", "--classes", "1000000", "-q")
    assert ran.err == f"mnsweep: a0.55_r32_c1000000 can't be built: {TOO_LARGE} (and 2 more cells likewise)\n"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_file_that_is_too_large_is_not_exported(run: Run, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr("mnsweep.app.export.WorkerProcess", FakeWorker())
    ran = run("export", "--alpha", "0.55", "--res", "32", "--classes", "1000000", "--precision", precision, "--out", "x.onnx")
    assert ran.code in (2, 4) and TOO_LARGE in ran.err and ran.err.count("\n") == 1
    assert not Path("x.onnx").exists()


def test_a_model_that_memory_cannot_hold_twice_ends_the_worker_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with WorkerProcess() as worker:
        worker.pin(1)
        monkeypatch.setattr("mnsweep.worker.proxy.pickle.dump", _no_memory)
        with pytest.raises(WorkerLostError, match="too little memory to send the model"):
            worker.open("a", b"", Deployment())


def _no_memory(*arguments: object) -> None:
    raise MemoryError
