"""`mnsweep grid` as a user runs it, on a made-up machine: its exit statuses, and names that tables alone make known."""

from pathlib import Path

import pytest

from mnsweep.machine import facts, fingerprint
from mnsweep.names import RUNTIMES, TASKS, VARIANTS
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Offer
from tests.fakes import FakeWorker
from tests.test_cli import Run, run
from tests.test_names import ABACUS, BIRDS, STUBBY

__all__ = ["run"]
QUICK = ("grid", "--quick", "--alpha", "0.25,0.5", "--res", "64")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """What is timed; no plots are drawn."""
    made = FakeWorker()
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): made)
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    return made


def test_all_measured_is_0(run: Run, worker: FakeWorker) -> None:
    ran = run(*QUICK)
    assert ran.code == 0 and "a0.25_r64" in ran.out
    assert ran.err.splitlines()[0].startswith("sweep grid: 2 cells to measure, about ")
    assert ran.err.splitlines()[-1].startswith("files are in results/grid/"), "nothing to pick: 64 px has no accuracy"


def test_a_cell_that_fails_is_3_and_named(run: Run, worker: FakeWorker) -> None:
    worker.refuses = ("a0.5_r64",)
    ran = run(*QUICK, "--json", "-q")
    assert (ran.code, ran.err) == (3, "mnsweep: a0.5_r64 failed: not today\n")
    assert [cell["latency_p50_ms"] is None for cell in ran.json["cells"]] == [False, True]


def test_a_failure_of_an_earlier_cell_is_no_failure_of_this_run(run: Run, worker: FakeWorker) -> None:
    worker.refuses = ("a0.5_r64",)
    run(*QUICK)
    assert run("grid", "--quick", "--alpha", "0.25", "--res", "64", "-q").code == 0


def test_where_every_cell_fails_it_is_4(run: Run, worker: FakeWorker) -> None:
    worker.refuses = ("a0.25_r64", "a0.5_r64")
    ran = run(*QUICK, "-q")
    assert ran.code == 4 and ran.err.count("failed: not today") == 2


def test_what_is_not_offered_is_skipped_by_name_and_not_asked_for_again(run: Run, worker: FakeWorker) -> None:
    worker.offers = {"openvino": Offer(obstacle="no openvino: pip install it")}
    asked = (*QUICK, "--runtime", "onnxruntime,openvino")
    ran = run(*asked, "--json", "-q")
    gone = ["a0.25_r64_openvino", "a0.5_r64_openvino"]
    assert (ran.code, ran.json["skipped"]) == (0, dict.fromkeys(gone, "no openvino: pip install it"))
    assert ran.err == f"mnsweep: skipped {', '.join(gone)}: no openvino: pip install it\n"
    assert run(*QUICK, "-q").err == "", "a sweep does not hold what does not run here"
    nothing = run(*QUICK, "--runtime", "openvino", "-q")
    assert (nothing.code, nothing.out) == (4, "") and nothing.err.endswith("mnsweep: no openvino: pip install it\n")


def test_the_machine_is_read_once_and_the_blocks_before_and_after(
    run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    read_facts, read = facts.read_facts, SweepFolder.read

    def count_facts(root: Path) -> facts.Facts:
        counted.append("facts")
        return read_facts(root)

    def count_blocks(folder: SweepFolder) -> object:
        counted.append("blocks")
        return read(folder)

    monkeypatch.setattr(fingerprint, "read_facts", count_facts)
    monkeypatch.setattr(SweepFolder, "read", count_blocks)
    for _ in range(2):
        counted.clear()
        assert run(*QUICK).code == 0
        assert counted == ["facts", "blocks", "blocks"]


def test_a_made_up_task_runtime_and_variant_are_measured_by_their_rows_alone(
    run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "birds", BIRDS)
    monkeypatch.setitem(RUNTIMES, "abacus", ABACUS)
    monkeypatch.setitem(VARIANTS, "stubby", STUBBY)
    asked = ("--alpha", "0.5", "--res", "64", "--task", "birds", "--variant", "stubby")
    (counted,) = run("count", *asked, "--json").json["cells"]
    assert (counted["cell"], counted["classes"]) == ("a0.5_r64_stubby_birds", 200)
    (cell,) = run("grid", "--quick", *asked, "--runtime", "abacus:beads", "--name", "birds", "--json", "-q").json["cells"]
    assert (cell["cell"], cell["params"]) == ("a0.5_r64_stubby_birds_abacus-beads", counted["params"])
    assert cell["latency_source"] == "measured" and worker.asked["abacus:beads"] == 1
    assert run("rebuild", "results", "-q").code == 0
    assert "--quality" not in run("pick", "--sweep", "birds", "--max-latency-ms", "9", "--runtime", "abacus:beads").err
