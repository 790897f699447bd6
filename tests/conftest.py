"""Made-up results, and a sweep folder that was never measured."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from mnsweep.cell import parse_cell
from mnsweep.machine import lock
from mnsweep.machine.fingerprint import read_machine
from mnsweep.record import Block, Failure, Process
from mnsweep.result import Result
from mnsweep.sweep.derive import derive
from mnsweep.sweep.file import Sweep, write_sweep
from mnsweep.sweep.store import SWEEP, SweepFolder

# A slow or a picky example is no failure on a busy machine; in CI every run tries the same examples. EXAMPLES=1000 tries more.
settings.register_profile(
    "mnsweep",
    max_examples=int(os.environ.get("EXAMPLES", "20")),
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("mnsweep")


@pytest.fixture(autouse=True)
def _own_lock(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock for each test: whoever measures on this machine meanwhile is not waited for."""
    path = tmp_path_factory.getbasetemp() / f"{uuid4().hex}.lock"
    monkeypatch.setattr(lock, "lock_path", lambda: path)
    monkeypatch.delenv("COLUMNS", raising=False)  # tables as wide as when piped


@pytest.fixture(autouse=True)
def _denormals_count_again() -> Iterator[None]:
    """A runtime that ran in this process may have told its processor to flush them; hypothesis wants them back."""
    yield
    if {"onnxruntime", "openvino"} & set(sys.modules):
        import torch

        torch.set_flush_denormal(False)


# Milliseconds. a0.33_r200 has no published accuracy, a0.5_r128 failed: neither may be picked.
TRUTH_MS = {"a0.25_r128": 1.0, "a0.5_r160": 3.0, "a0.75_r192": 7.0, "a1.0_r224": 15.0, "a1.0_r128": 8.0, "a0.33_r200": 2.0}
FAILED = "a0.5_r128"
PROCESSES, ROUNDS, RUNS = 2, 6, 5


def make_result(cell: str = "a0.25_r128", **columns: Any) -> Result:
    """A result with made-up counts and nothing measured, but for `columns`."""
    value = parse_cell(cell)
    counts = {"params": 2, "mult_adds": 3, "deployed_mult_adds": 3, "onnx_bytes": 5, "peak_activation_bytes": 7}
    return Result(**{"cell": cell, **asdict(value.design), **asdict(value.deployment), **counts, **columns})


def made_up_blocks() -> Iterator[Process | Block | Failure]:
    """Two processes whose rounds move by up to 4 % and whose blocks move by up to 1 %, always alike."""
    ids = tuple(TRUTH_MS)
    for process in range(1, PROCESSES + 1):
        shared: dict[str, str | int | float] = {"onnxruntime": "made-up 1", "seed": 0}
        yield Process(number=process, started_at=f"2025-01-0{process}T12:00:00+00:00", settings=shared, cells=(*ids, FAILED))
        yield Failure(FAILED, process, "made up")
        for number in range(1, ROUNDS + 1):
            for i, (cell, ms) in enumerate(TRUTH_MS.items()):
                ns = round(ms * 1e6 * (1 + 0.01 * (number % 5)) * (1 + 0.01 * (i * number * process % 7) / 7))
                yield Block(
                    cell=cell,
                    process=process,
                    round=number,
                    at_s=float(number),
                    first_ns=2 * ns,
                    samples_ns=tuple(ns + 100 * run for run in range(RUNS)),
                )


def write_folder(folder: SweepFolder) -> SweepFolder:
    """A complete folder of this machine."""
    folder.write_machine(read_machine())
    folder.replace(SWEEP, write_sweep(Sweep(folder.sweep, tuple(map(parse_cell, (*TRUTH_MS, FAILED))))))
    with folder.appending() as append:
        for record in made_up_blocks():
            append(record)
    derive(folder)
    return folder


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    return write_folder(SweepFolder(tmp_path_factory.mktemp("written") / "results" / "grid" / read_machine().key))


@pytest.fixture
def sweep_folder(_written: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """A copy of a complete folder, `results/grid/MACHINE` in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNSWEEP_RESULTS", raising=False)
    path = tmp_path / "results" / "grid" / _written.machine
    shutil.copytree(_written.path, path)
    return SweepFolder(path)
