"""The flow from plan to files, with a worker that times nothing."""

from collections import Counter
from pathlib import Path
from typing import ClassVar, Self

import pytest

from mnsweep.cell import Cell, Design
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.measure.machine import Machine, read_machine
from mnsweep.measure.proxy import CellError, Worker, WorkerDiedError
from mnsweep.measure.rounds import Rules
from mnsweep.measure.timing import Timing
from mnsweep.space import Space
from mnsweep.store import SweepFolder
from mnsweep.sweep import Outcome, Status, _groups, derive, merge, plan, run
from mnsweep.sweep_file import Sweep

RULES = Rules(rounds=4, processes=2)
SMALL = Space(alpha="0.25,0.5", res="32,48").cells()
HERE = read_machine()


class FakeWorker(Worker):
    """Opens everything, times by formula; `dies_after` blocks it is gone."""

    version = "1.0"
    refuses: tuple[str, ...] = ()
    dies_after: int | None = None
    opened: ClassVar[Counter[str]] = Counter()

    def __enter__(self) -> Self:
        self.blocks = 0
        return self

    def __exit__(self, *exc: object) -> None: ...

    def about(self) -> dict[str, str]:
        return {"runtime": "fake", "runtime_version": self.version}

    def open(self, key: str, model: bytes, threads: int) -> None:
        self.opened[key] += 1
        if key in self.refuses:
            raise CellError("not today")

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        self.blocks += 1
        if self.dies_after is not None and self.blocks > self.dies_after:
            raise WorkerDiedError("the worker process ended with exit status 9")
        ns = 1_000_000 + 1_000 * sum(map(ord, key)) + self.blocks
        return Timing(ns, (ns, ns + 10, ns + 20, ns + 5, ns))


def fake(**settings: object) -> type[FakeWorker]:
    return type("Fake", (FakeWorker,), {"opened": Counter(), **settings})


def measure(
    folder: SweepFolder, cells: tuple[Cell, ...] = SMALL, worker: type[Worker] = FakeWorker, rules: Rules = RULES
) -> Outcome:
    sweep = merge(Sweep(folder.sweep, cells), folder)
    return run(plan(sweep, folder, rules), folder, rules, HERE, lambda status: None, worker)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "grid" / HERE.key)


def test_a_run_leaves_every_file_and_every_cell(folder: SweepFolder) -> None:
    outcome = measure(folder)
    assert {r.cell for r in outcome.results} == {cell.id for cell in SMALL}
    assert all(r.rounds == RULES.rounds and r.samples == 5 * RULES.rounds for r in outcome.results)
    assert {p.name for p in folder.path.iterdir()} == {
        "blocks.jsonl", "machine.json", "sweep.toml", "cells.csv",
        "pareto.png", "pareto.svg", "latency_mult_adds.png", "latency_mult_adds.svg",
    }  # fmt: skip


def test_rounds_are_spread_over_processes(folder: SweepFolder) -> None:
    measure(folder)
    taken = Counter((b.process, b.cell) for b in folder.read().blocks)
    assert set(taken.values()) == {2} and {process for process, _ in taken} == {1, 2}


def test_asking_again_measures_nothing(folder: SweepFolder) -> None:
    measure(folder)
    before = (folder.path / "blocks.jsonl").read_bytes()
    worker = fake()
    outcome = measure(folder, worker=worker)
    assert (folder.path / "blocks.jsonl").read_bytes() == before
    assert not worker.opened and len(outcome.results) == len(SMALL)


@pytest.mark.parametrize("blocks", [0, 1, 5, 9])
def test_a_worker_that_dies_loses_nothing_and_the_next_run_continues(folder: SweepFolder, blocks: int) -> None:
    with pytest.raises(MnsweepError, match="run the same command again"):
        measure(folder, worker=fake(dies_after=blocks))
    kept = folder.read().blocks
    assert len(kept) == max(0, blocks - len(SMALL))
    measure(folder)
    assert folder.read().blocks[: len(kept)] == kept
    assert set(Counter(b.cell for b in folder.read().blocks).values()) == {RULES.rounds}


def test_other_cells_join_the_sweep_with_references(folder: SweepFolder) -> None:
    measure(folder)
    added = (Cell(Design(0.75, 40)),)
    outcome = measure(folder, added)
    assert [r.cell for r in outcome.results] == [cell.id for cell in (*SMALL, *added)]
    later = Counter(b.cell for b in folder.read().blocks if b.process > 2)
    assert later["a0.75_r40"] == RULES.rounds
    assert 1 <= len(set(later) - {"a0.75_r40"}) <= 3


def test_a_cell_that_fails_is_recorded_and_the_others_are_measured(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=fake(refuses=("a0.25_r48",)))
    assert outcome.failures == {"a0.25_r48": "not today"}
    assert {r.cell for r in outcome.results if r.samples} == {c.id for c in SMALL} - {"a0.25_r48"}
    assert not measure(folder).failures, "a later run that succeeds takes the failure back"


def test_another_version_of_the_runtime_is_never_merged(folder: SweepFolder) -> None:
    measure(folder)
    before = (folder.path / "blocks.jsonl").read_bytes()
    with pytest.raises(StoreError, match=r"runtime_version 1\.0, now it is 2\.0: .*--fresh"):
        measure(folder, rules=Rules(rounds=8, processes=2), worker=fake(version="2.0"))
    assert (folder.path / "blocks.jsonl").read_bytes() == before


def test_results_of_another_machine_are_never_merged(folder: SweepFolder) -> None:
    measure(folder)
    elsewhere = Machine({**HERE.checked, "cpu": "Abacus"}, {})
    before = (folder.path / "blocks.jsonl").read_bytes()
    with pytest.raises(StoreError, match=r"another machine \(differs in cpu\)"):
        run(plan(Sweep("grid", SMALL), folder, RULES), folder, RULES, elsewhere, lambda status: None, FakeWorker)
    assert (folder.path / "blocks.jsonl").read_bytes() == before


def test_everything_derived_comes_back_byte_for_byte(folder: SweepFolder) -> None:
    measure(folder)
    derived = ("cells.csv", "pareto.png", "pareto.svg", "latency_mult_adds.png", "latency_mult_adds.svg")
    before = {name: (folder.path / name).read_bytes() for name in derived}
    for name in derived:
        (folder.path / name).unlink()
    derive(folder)
    assert {name: (folder.path / name).read_bytes() for name in derived} == before


def test_status_counts_to_the_plan(folder: SweepFolder) -> None:
    seen: list[Status] = []
    the_plan = plan(Sweep("grid", SMALL), folder, RULES)
    run(the_plan, folder, RULES, HERE, seen.append, FakeWorker)
    assert [s.done for s in seen] == list(range(1, the_plan.blocks + 1))
    assert all(s.total == the_plan.blocks for s in seen)


def test_groups_fit_in_memory_and_share_references() -> None:
    cells = Space(alpha="0.1:1.0:0.1", res="64:160:32").cells()
    groups = _groups(cells, cells, 200e6)
    assert len(groups) > 1 and {c for g in groups for c in g} == set(cells)
    shared = set.intersection(*map(set, groups))
    assert len(shared) == 3
    assert sum(len(set(g) - shared) for g in groups) == len(cells) - len(shared)


def test_one_group_needs_no_references() -> None:
    assert _groups(SMALL, SMALL, 1e12) == (SMALL,)


def test_a_thousand_cells_stay_in_groups_of_a_bounded_size() -> None:
    cells = Space(alpha="0.01:1.0:0.01", res="128:200:8").cells()
    assert len(cells) == 1000
    assert max(map(len, _groups(cells, cells, 1e12))) <= 64 + 3
