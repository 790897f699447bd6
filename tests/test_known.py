"""When the answer is known: what `grid` stops at, and what it says is certain."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mnsweep.app.grid import patience_s
from mnsweep.choice.targets import settling_targets
from mnsweep.cli.progress import GridNarrator, describe
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.campaign import SILENT_S
from mnsweep.measure.rounds import Rules, narrow
from mnsweep.measure.status import Status
from mnsweep.result import Result
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.derive import conclude
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.store import SweepFolder
from tests.fakes import FakeClock, FakeWorker
from tests.test_cli import Run, run

__all__ = ["run"]
CELLS = Space().cells()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> FakeWorker:
    """What is timed; no plots are drawn."""
    made = FakeWorker()
    monkeypatch.setattr("mnsweep.session.WorkerProcess", lambda timeout_s, runtimes=(): made)
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: [])
    return made


def swept(tmp_path: Path, rules: Rules, **session: object) -> tuple[FakeWorker, Session]:
    worker = FakeWorker(noise_pct=1.0)
    folder = SweepFolder(tmp_path / "results" / "known" / read_machine().key)
    made = Session(
        sweep=Sweep("known", cells=CELLS),
        folder=folder,
        machine=read_machine(),
        rules=rules,
        new_worker=worker,
        **session,  # type: ignore[arg-type]
    )
    made.measure(made.asked)
    return worker, made


def test_a_sweep_ends_when_the_frontier_is_known(tmp_path: Path) -> None:
    decided, session = swept(tmp_path / "decided", Rules())
    all_narrow, _ = swept(tmp_path / "narrow", narrow(Rules(), 1.0))
    assert decided.blocks.total() < 0.8 * all_narrow.blocks.total()
    known = session.known().estimates
    targets = settling_targets(CELLS, known, rules=Rules(), quality_source="slim-2018-08")
    assert all((known[cell].relative_ci_pct or 100) <= pct for cell, pct in targets.items())
    assert {1.0, 5.0} >= set(targets.values()) and 5.0 in targets.values()


def test_a_budget_must_be_decided_too(tmp_path: Path) -> None:
    _, session = swept(tmp_path / "first", Rules())
    ms = session.known().estimates["a0.5_r160"].p50_ms
    near, far = (
        settling_targets(CELLS, session.known().estimates, rules=Rules(), quality_source="slim-2018-08", max_latency_ms=budget)
        for budget in (1.001 * ms, 1.3 * ms)
    )
    assert near["a0.5_r160"] == 1.0 and far["a0.5_r160"] == 5.0


def test_a_cell_without_a_quality_is_measured_narrowly() -> None:
    cells = Space(alpha="0.33", res="100,200").cells()
    assert set(settling_targets(cells, {}, rules=Rules(), quality_source="slim-2018-08").values()) == {1.0}


def test_it_says_that_all_is_certain(run: Run, worker: FakeWorker) -> None:
    ran = run("grid")
    assert ran.code == 0 and "\n16 of 16 places on the frontier are certain\n" in ran.err
    assert "did not settle" not in ran.err
    document = run("grid", "--json", "-q").json
    assert len(document["places"]["certain"]) == 16 and document["places"]["open"] == []


def test_it_names_the_pairs_that_are_too_close_to_tell(run: Run, worker: FakeWorker) -> None:
    """A worse and a better cell whose latencies are the same but for noise."""
    worker.ms_of = lambda key, _: {"a0.5_r192": 4.0, "a0.75_r128": 4.0}.get(key, 1.0 + sum(map(ord, key)) % 97)
    worker.noise_pct = 2.0
    ran = run("grid", "--alpha", "0.5,0.75", "--res", "128,192")
    assert "3 of 4 places on the frontier are certain; too close to tell: a0.5_r192 against" in ran.err or (
        "3 of 4 places on the frontier are certain; too close to tell: a0.75_r128 against a0.5_r192" in ran.err
    )
    (pair,) = run("grid", "--alpha", "0.5,0.75", "--res", "128,192", "--json", "-q").json["places"]["open"]
    assert {pair["cell"], pair["against"]} == {"a0.5_r192", "a0.75_r128"}
    assert abs(pair["slower_pct"]) < pair["half_width_pct"] < 5


def test_without_more_time_it_stops_and_says_how_to_go_on(
    run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnsweep.app.grid.PATIENCE_S", 0.0)
    ran = run("grid", "--alpha", "0.25,0.5", "--res", "128")
    assert "stopped after 0 s, the default for 2 cells; to go on: the same command again" in ran.err
    assert not worker.blocks
    assert run("grid", "--alpha", "0.25,0.5", "--res", "128", "--time-budget-s", "inf").code == 0
    assert worker.blocks


def test_patience_grows_with_the_cells_beyond_thirty_two() -> None:
    assert [patience_s(cells) for cells in (1, 16, 32, 64)] == [120, 120, 120, 240]


def test_one_line_counts_what_did_not_settle_and_verbose_gives_reasons(run: Run, worker: FakeWorker) -> None:
    worker.noise_pct = 20.0
    ran = run("grid", "--alpha", "0.25,0.5", "--res", "128", "--ci-pct", "0.5")
    assert ran.err.count("did not settle") == 1 and "2 of 2 cells did not settle, the widest to ± " in ran.err
    verbose = run("grid", "--alpha", "0.25,0.5", "--res", "128", "--ci-pct", "0.5", "-v")
    assert verbose.err.count("did not settle: ±") == 2


def test_the_table_is_printed_before_anything_is_drawn(run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(what: str) -> Callable[..., list[tuple[str, bytes]]]:
        def note(*_: object) -> list[tuple[str, bytes]]:
            order.append(what)
            return []

        return note

    monkeypatch.setattr("mnsweep.sweep.derive._plots", noted("drawn"))
    monkeypatch.setattr("mnsweep.cli.grid._print", noted("printed"))
    run("grid", "--quick", "--alpha", "0.25,0.5", "--res", "128")
    assert order == ["printed", "drawn"]


def status(**changes: int) -> Status:
    about = {"process": 1, "round": 2, "done": 0, "settled": 0, "cells": 3, "fixed": False, "widest_pct": None, "left_s": 9.0}
    return Status(**{**about, **changes})  # type: ignore[arg-type]


def test_a_terminal_shows_the_table_so_far_above_the_bar(tmp_path: Path) -> None:
    narrator = GridNarrator(quiet=False)
    narrator.console = Console(force_terminal=True, width=120, record=True, file=StringIO())
    with narrator:
        swept(tmp_path, Rules(), listener=narrator)
    text = narrator.console.export_text()
    assert text.index("process 1, round 1") < text.index("a0.25_r128") < text.index("process 2, round 1")
    assert "top-1" in text and text.count("process 2") >= 1


def test_a_long_round_says_how_far_it_is(tmp_path: Path) -> None:
    clock, seen = FakeClock(), list[Status]()

    class Heard(GridNarrator):
        def status(self, status: Status) -> None:
            seen.append(status)

    worker = FakeWorker(ms_of=lambda *_: 1000.0, clock=clock)
    folder = SweepFolder(tmp_path / "results" / "long" / read_machine().key)
    session = Session(
        sweep=Sweep("long", cells=CELLS[:4]),
        folder=folder,
        machine=read_machine(),
        rules=Rules(least_rounds=1, most_rounds=1, least_processes=1),
        new_worker=worker,
        clock=clock.s,
        listener=Heard(quiet=True),
    )
    session.measure(session.asked)
    within = [s for s in seen if s.timed]
    assert len(within) >= 4 and seen[-1].timed == 0
    assert "round 1, 2 blocks timed: " in describe(status(round=1, timed=2))
    assert " timed" not in describe(status()) and SILENT_S == 5.0


def test_what_is_shown_so_far_are_the_cells_asked_for(tmp_path: Path) -> None:
    shown: list[Result] = []

    class Heard(GridNarrator):
        def so_far(self, results) -> None:  # type: ignore[no-untyped-def]
            shown[:] = results()

    _, session = swept(tmp_path, Rules(), listener=Heard(quiet=True))
    assert [r.cell for r in shown] == [cell.id for cell in CELLS]
    assert shown == list(conclude(session.folder).results)
