"""The flow from plan to files, with a worker that times nothing."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mnsweep.cell import Cell, Deployment, Design
from mnsweep.choice.targets import settling_targets, unsettled
from mnsweep.errors import StoreError, UnavailableError
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.measure.plan import groups
from mnsweep.measure.rounds import Rules, narrow
from mnsweep.measure.status import Status
from mnsweep.record import Records
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.derive import Outcome, derive
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import NewWorker, WorkerProcess
from tests.fakes import TIMED_OUT, FakeWorker

RULES = Rules(least_rounds=4, most_rounds=4, process_rounds=2)
SMALL = Space(alpha="0.25,0.5", res="32,48").cells()
HERE = read_machine()


def measure(
    folder: SweepFolder,
    cells: tuple[Cell, ...] = SMALL,
    worker: NewWorker | None = None,
    rules: Rules = RULES,
    machine: Machine = HERE,
    listener: Listener = SILENT,
) -> Outcome:
    session = session_of(folder, cells, worker, rules, machine, listener)
    session.measure(session.asked)
    return derive(folder)


def session_of(
    folder: SweepFolder,
    cells: tuple[Cell, ...] = SMALL,
    worker: NewWorker | None = None,
    rules: Rules = RULES,
    machine: Machine = HERE,
    listener: Listener = SILENT,
) -> Session:
    return Session(
        sweep=Sweep(folder.sweep, cells),
        folder=folder,
        machine=machine,
        rules=rules,
        listener=listener,
        new_worker=worker or FakeWorker(),
    )


class Statuses(Listener):
    """Keeps what it hears of each round."""

    def __init__(self) -> None:
        self.seen: list[Status] = []

    def status(self, status: Status) -> None:
        self.seen.append(status)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "grid" / HERE.key)


def test_a_run_leaves_every_file_and_every_cell(folder: SweepFolder) -> None:
    outcome = measure(folder)
    assert {r.cell for r in outcome.results} == {cell.id for cell in SMALL}
    assert all(r.rounds == RULES.most_rounds for r in outcome.results)
    assert {p.name for p in folder.path.iterdir()} == {
        "blocks.jsonl", "machine.json", "sweep.toml", "cells.csv",
        "pareto.png", "pareto.svg", "latency_mult_adds.png", "latency_mult_adds.svg",
    }  # fmt: skip


def test_rounds_are_spread_over_processes(folder: SweepFolder) -> None:
    measure(folder)
    taken = Counter((b.process, b.cell) for b in folder.read().blocks if not b.canary)
    assert {process for process, _ in taken} == {1, 2}
    assert set(taken.values()) == {RULES.process_rounds}


def test_asking_again_measures_nothing(folder: SweepFolder) -> None:
    measure(folder)
    before = (folder.path / "blocks.jsonl").read_bytes()
    worker = FakeWorker()
    outcome = measure(folder, worker=worker)
    assert (folder.path / "blocks.jsonl").read_bytes() == before
    assert not worker.opened
    assert len(outcome.results) == len(SMALL)


def test_what_is_measured_is_what_was_asked_now_and_the_sweep_keeps_all(folder: SweepFolder) -> None:
    measure(folder)
    (other,) = Space(alpha="0.75", res="40").cells()
    session = session_of(folder, (other,), worker := FakeWorker())
    session.measure(session.asked)
    assert session.asked == (other,) and session.sweep.cells == (*SMALL, other)
    assert worker.opened[other.id] and {r.cell for r in derive(folder).results} == {c.id for c in (*SMALL, other)}


def test_blocks_are_read_once_before_measuring_and_once_after(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(folder)
    reads: list[SweepFolder] = []
    read = SweepFolder.read

    def counted(self: SweepFolder) -> Records:
        reads.append(self)
        return read(self)

    monkeypatch.setattr(SweepFolder, "read", counted)
    session = session_of(folder, Space(alpha="0.75", res="40,48").cells())
    session.measure(session.asked)
    assert len(reads) == 1
    derive(folder)
    assert len(reads) == 2


@pytest.mark.parametrize("blocks", [0, 3, 5, 9, 23])
def test_an_interrupt_loses_nothing_and_the_next_run_continues(folder: SweepFolder, blocks: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(folder, worker=FakeWorker(interrupted_after=blocks))
    kept = folder.read().blocks
    assert len(kept) >= max(0, blocks - 3 * len(SMALL))
    outcome = measure(folder)
    assert folder.read().blocks[: len(kept)] == kept
    assert all((r.rounds or 0) >= RULES.least_rounds for r in outcome.results)


def test_other_cells_join_the_sweep_with_cells_that_were_measured_before(folder: SweepFolder) -> None:
    measure(folder)
    added = (
        Cell(Design.of(0.75, 40)),
        Cell(Design.of(1.0, 40)),
        Cell(Design.of(1.0, 48)),
        Cell(Design.of(1.0, 56)),
        Cell(Design.of(1.0, 64)),
    )
    outcome = measure(folder, added)
    assert [r.cell for r in outcome.results] == [cell.id for cell in (*SMALL, *added)]
    later = {b.cell for b in folder.read().blocks if b.process > 2}
    assert later >= {cell.id for cell in added}
    assert len(later & {cell.id for cell in SMALL}) == 3


def test_a_cell_that_fails_is_recorded_and_the_others_are_measured(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=FakeWorker(refuses=("a0.25_r48",)))
    assert outcome.failures == {"a0.25_r48": "not today"}
    assert {r.cell for r in outcome.results if r.samples} == {c.id for c in SMALL} - {"a0.25_r48"}
    assert not measure(folder).failures, "a later run that succeeds takes the failure back"


def test_a_cell_that_hangs_costs_its_process_and_no_other_cell(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=FakeWorker(lost_at="a0.5_r32"))
    assert outcome.failures == {"a0.5_r32": TIMED_OUT}
    assert {r.cell for r in outcome.results if r.rounds} == {c.id for c in SMALL} - {"a0.5_r32"}


def test_a_sweep_whose_cells_all_fail_ends(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=FakeWorker(refuses=tuple(c.id for c in SMALL)))
    assert set(outcome.failures) == {c.id for c in SMALL}
    assert not any(r.samples for r in outcome.results)


def test_a_worker_that_cannot_start_is_said_in_one_line(folder: SweepFolder) -> None:
    with pytest.raises(UnavailableError, match="could not start"):
        measure(folder, worker=partial(WorkerProcess, command=["/bin/false"]))


@pytest.mark.parametrize(("rules", "name"), [(RULES, "onnxruntime"), (Rules(sustain_s=1), "sustain_s")])
def test_other_settings_are_never_merged(folder: SweepFolder, rules: Rules, name: str) -> None:
    measure(folder, rules=Rules(least_rounds=2, most_rounds=2))
    before = (folder.path / "blocks.jsonl").read_bytes()
    with pytest.raises(StoreError, match=f"{name} .*, now it is .*`fresh`"):
        measure(folder, rules=rules, worker=FakeWorker(version="2.0") if name == "onnxruntime" else FakeWorker())
    assert (folder.path / "blocks.jsonl").read_bytes() == before


def test_results_of_another_machine_are_never_merged(folder: SweepFolder) -> None:
    measure(folder)
    elsewhere = Machine({**HERE.checked, "cpu": "Abacus"}, {})
    before = (folder.path / "blocks.jsonl").read_bytes()
    with pytest.raises(StoreError, match=r"another machine \(differs in cpu\)"):
        measure(folder, machine=elsewhere)
    assert (folder.path / "blocks.jsonl").read_bytes() == before


def test_everything_derived_comes_back_byte_for_byte(folder: SweepFolder) -> None:
    measure(folder)
    derived = ("cells.csv", "pareto.png", "pareto.svg", "latency_mult_adds.png", "latency_mult_adds.svg")
    before = {name: (folder.path / name).read_bytes() for name in derived}
    for name in derived:
        (folder.path / name).unlink()
    derive(folder)
    assert {name: (folder.path / name).read_bytes() for name in derived} == before


def test_status_tells_what_has_settled(folder: SweepFolder) -> None:
    listener = Statuses()
    measure(folder, listener=listener)
    assert [(s.process, s.round) for s in listener.seen] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert listener.seen[-1].done == listener.seen[-1].cells == len(SMALL)
    assert [s.done for s in listener.seen] == [0, 0, 0, len(SMALL)]
    assert all(s.fixed for s in listener.seen), "rounds that are fixed promise no width"
    assert listener.seen[-1].left_s == 0


def test_calm_cells_settle_early_and_noisy_ones_go_to_the_limit(folder: SweepFolder, tmp_path: Path) -> None:
    rules = replace(narrow(Rules(), 1.0), most_rounds=40)
    calm = measure(folder, rules=rules, worker=FakeWorker(noise_pct=0.01))
    noisy_folder = SweepFolder(tmp_path / "noisy" / HERE.key)
    noisy = measure(noisy_folder, rules=rules, worker=FakeWorker(noise_pct=5))
    assert all(r.rounds == 16 for r in calm.results)
    assert all((r.rounds or 0) >= 40 for r in noisy.results)
    assert open_cells(calm, rules) == {}
    assert set(open_cells(noisy, rules)) == {c.id for c in SMALL}
    assert all("at the limit of 40 rounds, wanted ± 1 %" in reason for reason in open_cells(noisy, rules).values())


def targets(outcome: Outcome, cells: tuple[Cell, ...], **budget: float) -> dict[str, float]:
    rules = narrow(Rules(), 1.0)
    return settling_targets(cells, outcome.known.estimates, rules=rules, quality_source="slim-2018-08", **budget)


def open_cells(outcome: Outcome, rules: Rules) -> dict[str, str]:
    return unsettled(targets(outcome, SMALL), outcome.known.estimates, outcome.failures, rules)


def test_sustained_load_comes_before_the_first_warm_up_and_is_recorded(folder: SweepFolder) -> None:
    worker = FakeWorker()
    cells = (*SMALL, Cell(Design.of(0.25, 32), Deployment(threads=2)))
    measure(folder, cells, worker, rules=Rules(least_rounds=1, most_rounds=1, sustain_s=30))
    asked = [request for request in worker.arguments_of("time") if "chain" not in request[0]]
    assert asked[0] == ("a0.25_r32_t2", 1, 30_000)
    assert {p.settings["sustain_s"] for p in folder.read().processes} == {30}


def test_a_worker_that_is_lost_under_sustained_load_costs_one_cell(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=FakeWorker(lost_at="a0.25_r32"), rules=Rules(least_rounds=1, most_rounds=1, sustain_s=1))
    assert set(outcome.failures) == {"a0.25_r32"}
    assert sum(bool(r.samples) for r in outcome.results) == len(SMALL) - 1


def test_a_time_budget_of_nothing_measures_nothing(folder: SweepFolder) -> None:
    outcome = measure(folder, rules=Rules(time_budget_s=0))
    assert not any(r.samples for r in outcome.results)


def test_targets_are_narrow_near_the_frontier_or_the_budget(folder: SweepFolder) -> None:
    cells = Space(alpha="0.25,0.5,0.75,1.0", res="128,160,192,224").cells()
    outcome = measure(folder, cells)
    estimates = outcome.known.estimates
    by_frontier = targets(outcome, cells)
    assert {by_frontier[r.cell] for r in outcome.results if r.on_frontier} == {1.0}
    assert 2.0 in by_frontier.values()
    budget = estimates["a0.5_r160"].p50_ms
    by_budget = targets(outcome, cells, max_latency_ms=budget)
    assert by_budget == {k: 1.0 if abs(e.p50_ms / budget - 1) <= 0.05 else 2.0 for k, e in estimates.items()}


def test_groups_fit_in_memory_and_share_references() -> None:
    cells = Space(alpha="0.1:1.0:0.1", res="64:160:32").cells()
    found = groups(cells, cells, measured=(), memory_bytes=200e6)
    assert len(found) > 1
    assert [c for g in found for c in g.cells] == list(cells)
    assert len({g.references for g in found}) == 1
    assert len(found[0].references) == 3
    assert all(g.canary in g.references for g in found)


def test_a_thousand_cells_stay_in_groups_of_a_bounded_size() -> None:
    cells = Space(alpha="0.01:1.0:0.01", res="128:200:8").cells()
    assert len(cells) == 1000
    assert max(len(g.cells) for g in groups(cells, cells, measured=(), memory_bytes=1e12)) <= 64


def test_references_of_a_sweep_that_grows_were_measured_before() -> None:
    cells = Space(alpha="0.1:1.0:0.1", res="64").cells()
    old = {cell.id for cell in cells[:4]}
    (group,) = groups(cells[4:], cells, measured=old, memory_bytes=1e12)
    assert {cell.id for cell in group.references} <= old


def test_one_cell_alone_is_its_own_reference() -> None:
    cell = Cell(Design.of(0.25, 32), Deployment(threads=2))
    (group,) = groups([cell], [cell], measured=(), memory_bytes=1e12)
    assert group.all == (cell,)
