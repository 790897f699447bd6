"""What goes wrong on real machines, with real processes: nothing that was measured is lost.

All in one file, so that under `--dist loadfile` they run one after another: two that time at once measure each other.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from random import Random

import psutil
import pytest

from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Deployment
from mnsweep.errors import StoreError, UnavailableError
from mnsweep.graph.onnx_file import build_onnx
from mnsweep.graph.weights import Weights, random_weights
from mnsweep.machine import lock
from mnsweep.machine.fingerprint import read_machine
from mnsweep.machine.lock import LockedError, measuring
from mnsweep.measure.rounds import Rules
from mnsweep.record import Block, from_line
from mnsweep.space import Space
from mnsweep.sweep.derive import Outcome
from mnsweep.sweep.store import BLOCKS, SweepFolder
from mnsweep.worker.proxy import CellError, WorkerLostError, WorkerProcess
from tests.crash import survive, wait_until
from tests.fakes import FakeWorker
from tests.test_profile import Run, run
from tests.test_sweep import measure

__all__ = ["run"]

CELLS = Space(alpha="0.25", res="32,40,48,56").cells()
FAST = Rules(least_rounds=2, most_rounds=2, process_rounds=2, block_ms=1, warmup_ms=1, cell_timeout_s=1.0)
ONE_THREAD = Deployment()
GRID = ["grid", "--alpha", "0.25,0.5", "--res", "32,48"]


def command(*arguments: str) -> list[str]:
    """The program in a process of its own, under the lock of this test."""
    return ["-m", "tests.own_lock", str(lock.lock_path()), *GRID, *arguments]


def odd_worker() -> WorkerProcess:
    return WorkerProcess(timeout_s=1.0, command=(sys.executable, "-m", "tests.odd_worker"))


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "grid" / read_machine().key)


def measure_oddly(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, odd: dict[str, bytes]) -> Outcome:
    def model_of(cell: Cell) -> bytes:
        layers = expand(cell.design)
        return odd.get(cell.id) or build_onnx(layers, random_weights(layers))

    monkeypatch.setattr("mnsweep.prepare.models.Prepared.model_of", lambda prepared, cell: model_of(cell))
    return measure(folder, CELLS, odd_worker, FAST)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (b"hangs", "no answer within 1 s (`cell_timeout_s`)"),
        (b"dies", "the worker process ended with exit status 11"),
        (b"not a model", "InvalidProtobuf"),
    ],
)
def test_a_runtime_that_misbehaves_for_one_cell_costs_that_cell_only(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, model: bytes, reason: str
) -> None:
    outcome = measure_oddly(folder, monkeypatch, {"a0.25_r40": model})
    assert set(outcome.failures) == {"a0.25_r40"}
    assert reason in outcome.failures["a0.25_r40"]
    assert {r.cell for r in outcome.results if r.samples} == {c.id for c in CELLS} - {"a0.25_r40"}


def test_a_network_whose_output_is_not_finite_is_not_timed(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = expand(CELLS[0].design)
    weights = random_weights(layers)
    broken = Weights({**weights.arrays, "classifier.bias": weights.arrays["classifier.bias"] * float("nan")})
    outcome = measure_oddly(folder, monkeypatch, {CELLS[0].id: build_onnx(layers, broken)})
    assert outcome.failures == {CELLS[0].id: "ValueError: the output is not finite"}


def test_a_lost_worker_says_so_and_a_cell_error_leaves_it_usable() -> None:
    with odd_worker() as worker:
        worker.pin(1)
        with pytest.raises(CellError, match="not for you"):
            worker.open("a", b"raises", ONE_THREAD)
        worker.open("b", b"short", ONE_THREAD)
        assert len(worker.time("b", 5, 1).samples_ns) >= 5
        worker.open("c", b"hangs", ONE_THREAD)
        with pytest.raises(WorkerLostError, match="no answer"):
            worker.time("c", 5, 1)
        with pytest.raises(WorkerLostError):
            worker.time("b", 5, 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_affinity_that_is_narrowed_while_running_is_noticed() -> None:
    with odd_worker() as worker:
        cpus = sorted(os.sched_getaffinity(0))
        worker.pin(len(cpus))
        worker.open("a", b"short", ONE_THREAD)
        assert not [d for d in worker.time("a", 5, 1).disturbed if "affinity" in d]
        os.sched_setaffinity(worker.pid, set(cpus[:1]))
        narrowed = [d for d in worker.time("a", 5, 1).disturbed if "affinity" in d]
        assert bool(narrowed) == (len(cpus) > 1)


def test_results_that_are_removed_in_mid_sweep_are_missed(folder: SweepFolder) -> None:
    def remove(verb: str, *arguments: object) -> None:
        if verb == "time" and worker.blocks.total() == 20:
            shutil.rmtree(folder.path)

    worker = FakeWorker(before=remove)
    with pytest.raises(StoreError, match=r"blocks\.jsonl: was removed during the sweep"):
        measure(folder, worker=worker)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; a limit on the size of files where mounting is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode == 0
    )
    yield disk
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_in_one_line_and_keeps_what_was_written(small_disk: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = SweepFolder(small_disk / "grid" / read_machine().key)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rules = Rules(least_rounds=400, most_rounds=400, process_rounds=400)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"(No space left on device|File too large); .*nothing that was measured is lost"):
            measure(folder, rules=rules)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines = (folder.path / BLOCKS).read_text().split("\n")[:-1]
    assert sum(isinstance(from_line(line), Block) for line in lines) > 50


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that takes no file: a read-only file system, or without its write permission where mounting is not allowed."""
    disk = tmp_path / "fixed"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], capture_output=True).returncode == 0
    disk.chmod(0o555) if not mounted else None
    yield disk
    if mounted:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_folder_is_said_before_anything_is_timed(read_only: Path) -> None:
    worker = FakeWorker()
    with pytest.raises(StoreError, match=r"(Read-only file system|Permission denied); .*another folder"):
        measure(SweepFolder(read_only / "grid" / read_machine().key), worker=worker)
    assert not worker.opened


def start_grid(tmp_path: Path, *flags: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(
        [sys.executable, *command(*flags)],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def blocks_file(tmp_path: Path) -> Path | None:
    return next(tmp_path.glob("results/grid/*/blocks.jsonl"), None)


def has_blocks(tmp_path: Path) -> bool:
    path = blocks_file(tmp_path)
    return path is not None and path.read_text().count('"kind":"block"') > 5


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_it_at_once_and_the_next_run_continues(tmp_path: Path, number: int, status: int, word: str) -> None:
    process = start_grid(tmp_path)
    assert wait_until(lambda: has_blocks(tmp_path), 60)
    process.send_signal(number)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    assert time.monotonic() - sent < 5  # within a second on an idle machine; this one may be busy
    assert errors.splitlines()[-1].startswith(f"mnsweep: {word}; everything measured so far is kept")
    assert "Traceback" not in errors
    path = blocks_file(tmp_path)
    assert path
    kept = path.read_bytes()
    again = start_grid(tmp_path, "--quick", "--json")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0
    assert path.read_bytes().startswith(kept)
    assert all(cell["rounds"] >= 8 for cell in json.loads(output)["cells"])


def test_when_the_parent_is_killed_the_worker_ends_and_the_lock_is_free(tmp_path: Path) -> None:
    process = start_grid(tmp_path)
    assert wait_until(lambda: has_blocks(tmp_path) or process.poll() is not None, 60)
    assert process.poll() is None, process.communicate()
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    with (
        pytest.raises(
            UnavailableError, match=rf"another mnsweep is measuring on this machine \(process {process.pid}, since 20"
        ),
        measuring(wait=False),
    ):
        pass
    process.kill()
    process.communicate()
    assert wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), 2)
    with measuring(wait=False):
        pass


def test_two_sweeps_at_once(tmp_path: Path) -> None:
    """The second says who is measuring and ends with 4; with --wait it waits its turn."""
    with measuring(wait=False):
        refused = start_grid(tmp_path)
        _, errors = refused.communicate(timeout=60)
        assert (refused.returncode, len(errors.splitlines())) == (4, 1)
        assert f"(process {os.getpid()}, since 20" in errors
        assert not (tmp_path / "results").exists()
        waiting = start_grid(tmp_path, "--wait", "--quick", "-q")
        time.sleep(1.5)
        assert waiting.poll() is None
    waiting.communicate(timeout=120)
    assert waiting.returncode == 0


def test_the_lock_waits_for_its_holder() -> None:
    with measuring(wait=False), pytest.raises(LockedError) as refused, measuring(wait=False):
        pass
    assert (refused.value.pid, refused.value.fix) == (os.getpid(), "wait for it with `wait`, or stop it")
    assert refused.value.since and refused.value.since.startswith("20")
    with measuring(wait=True):
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_a_machine_with_one_core_works(tmp_path: Path) -> None:
    one = min(os.sched_getaffinity(0))
    on_one = ["-c", f"import os, sys; os.sched_setaffinity(0, {{{one}}}); os.execv(sys.executable, sys.argv[1:])"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, *on_one, sys.executable, *command("--quick", "--json", "--wait")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert all(cell["latency_p50_ms"] > 0 for cell in json.loads(done.stdout)["cells"])


def test_kills_at_random_times_lose_no_acknowledged_block(tmp_path: Path) -> None:
    assert survive(tmp_path, kills=4, rng=Random(1), real=False, longest_s=1.0) >= 1


def test_kills_of_real_sessions_lose_no_acknowledged_block(tmp_path: Path) -> None:
    assert survive(tmp_path, kills=2, rng=Random(2), real=True, longest_s=2.0) >= 1


def test_a_real_profile(run: Run) -> None:
    """The whole way, on this machine: every layer takes time, and the profiler's account is that of the clock."""
    ran = run("--alpha 0.25 --res 64 --pad none --json -q", real=True)
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["cell"] == "a0.25_r64_pnone" and document["machine"] == read_machine().key
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert len(layers) == 30 and all(layer["ms"] > 0 for layer in layers.values())
    assert 0.5 < document["profiled_ms"] / document["latency_ms"] < 3  # the profiler costs, and counts whole microseconds
    assert document["peak_gflops"] > document["gflops"] > 0.1
    assert document["bandwidth_gb_per_s"] > 0.5
    assert document["runtime_version"] == version("onnxruntime")
    assert [finding["rule"] for finding in document["lint"][:2]] == ["blocked-layout", "reorders"]
    picture = Path(document["results_dir"]) / document["files"][1]
    assert picture.read_bytes().startswith(b"\x89PNG")
