"""Two names of one file: timed once, shown under each."""

from pathlib import Path

import pytest

from mnsweep.decoding import DamagedError
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare
from mnsweep.prepare.twins import twins
from mnsweep.record import Process, Same
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.consistency import Consistency
from mnsweep.sweep.derive import derive
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.kept import forget
from mnsweep.sweep.store import SWEEP, SweepFolder
from tests.fakes import FakeWorker

HERE: Machine = read_machine()
BOTH = Space(alpha="0.25,0.3", res="32,48", pad="none,auto").cells()  # at α = 0.25 there is nothing to pad
TWINS = {"a0.25_r32": "a0.25_r32_pnone", "a0.25_r48": "a0.25_r48_pnone"}
RULES = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "twins" / HERE.key)


def measure(folder: SweepFolder, cells: object = BOTH, worker: FakeWorker | None = None) -> FakeWorker:
    worker = worker or FakeWorker()
    sweep = Sweep("twins", cells=tuple(cells))  # type: ignore[arg-type]
    session = Session(sweep=sweep, folder=folder, machine=HERE, rules=RULES, new_worker=worker)
    session.measure(session.asked)
    return worker


def test_cells_are_twins_exactly_where_their_files_are_the_same() -> None:
    cells = Space(alpha="0.25,0.3", res="32", precision="fp32,int8", pad="none,auto,8,16").cells()
    prepared = Prepared(weight_bits=8)
    prepare(prepared, cells, FakeWorker())
    found = twins(cells, prepared.channels, measured=())
    files = {cell.id: (prepared.model_of(cell), cell.deployment.precision) for cell in cells}
    timed = {cell.id: found.get(cell.id, cell.id) for cell in cells}
    for a in files:
        for b in files:
            assert (timed[a] == timed[b]) == (files[a] == files[b]), (a, b)
    assert len(set(timed.values())) < len(cells)


def test_a_provider_that_is_the_default_is_no_other_runtime() -> None:
    cells = Space(alpha="0.25", res="32", runtime="onnxruntime,onnxruntime:CPUExecutionProvider,openvino", pad="none").cells()
    (pair,) = twins(cells, {cell.id: {} for cell in cells}, measured=()).items()
    assert "CPUExecutionProvider" in pair[0] and "CPUExecutionProvider" not in pair[1]


def test_each_file_is_timed_once_and_shown_under_each_name(folder: SweepFolder) -> None:
    worker = measure(folder)
    assert set(worker.opened) == {cell.id for cell in BOTH} - set(TWINS)
    assert folder.read().same == TWINS
    outcome = derive(folder)
    results = {r.cell: r for r in outcome.results}
    for twin, timed in TWINS.items():
        ours, its = results[twin], results[timed]
        assert ours.latency_p50_ms == its.latency_p50_ms is not None
        assert (ours.on_frontier, ours.samples, ours.interval_ms) == (its.on_frontier, its.samples, its.interval_ms)


def test_a_twin_that_is_asked_for_later_is_not_timed_again(folder: SweepFolder) -> None:
    measure(folder, [cell for cell in BOTH if cell.deployment.pad == "auto"])
    worker = measure(folder, [cell for cell in BOTH if cell.deployment.pad == "none"])
    assert not {"a0.25_r32_pnone", "a0.25_r48_pnone"} & set(worker.opened)
    assert folder.read().same == {timed: twin for twin, timed in TWINS.items()}
    assert all(r.latency_p50_ms for r in derive(folder).results)


def test_a_failure_is_shared_too(folder: SweepFolder) -> None:
    measure(folder, worker=FakeWorker(refuses=("a0.25_r32_pnone",)))
    assert derive(folder).failures == {"a0.25_r32": "not today", "a0.25_r32_pnone": "not today"}


def test_the_records_alone_tell_the_sweep(folder: SweepFolder) -> None:
    measure(folder)
    before = {r.cell: r.latency_p50_ms for r in derive(folder).results}
    (folder.path / SWEEP).unlink()
    with pytest.warns(match="has no sweep.toml"):
        assert {r.cell: r.latency_p50_ms for r in derive(folder).results} == before


@pytest.mark.parametrize("gone", ["a0.25_r32", "a0.25_r32_pnone"])
def test_either_name_can_be_forgotten(folder: SweepFolder, gone: str) -> None:
    measure(folder)
    forget(folder, [gone])
    assert "a0.25_r32" not in folder.read().same
    worker = measure(folder)
    assert all(r.latency_p50_ms for r in derive(folder).results)
    assert bool(worker.opened) == (gone == "a0.25_r32_pnone"), "the blocks went with the name that was timed"


def test_contradictory_records_are_refused() -> None:
    for records in (
        [Same("a0.25_r32", "a0.5_r32"), Same("a0.25_r32", "a0.75_r32")],
        [Same("a0.25_r32", "a0.5_r32"), Same("a0.5_r32", "a0.75_r32")],
        [Same("a0.25_r32", "a0.5_r32"), Same("a0.75_r32", "a0.25_r32")],
    ):
        checks = Consistency()
        checks.check(Process(number=1, started_at="", settings={}, cells=("a0.5_r32",)))
        with pytest.raises(DamagedError, match="timed as"):
            for record in records:
                checks.check(record)
