"""The flow of an exploration, on a made-up machine: what is measured when, what is predicted, and what is never lost."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_record

from mnsweep.app.exploration import Aims, explore
from mnsweep.arch.channel_padding import NARROW, WIDE
from mnsweep.cell import Cell, Design, parse_cell
from mnsweep.errors import UnavailableError
from mnsweep.listener import Listener
from mnsweep.measure.rounds import Rules
from mnsweep.prediction.model_file import from_json
from mnsweep.prepare.models import Prepared
from mnsweep.record import Block, to_line
from mnsweep.result import Result
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.derive import Outcome, derive, read
from mnsweep.sweep.file import Prediction, Sweep, parse_sweep
from mnsweep.sweep.store import BLOCKS, CELLS, MODEL, SWEEP, SweepFolder
from tests.fakes import FakeClock, FakeWorker
from tests.test_sweep import HERE

RULES = Rules(least_rounds=2, most_rounds=2, process_rounds=2, least_processes=1)
AIMS = Aims(measure=16, verify=4, validate=5)
ASKED = Sweep("explore", Space("0.25:0.55:0.05", "128:224:16").cells(), prediction=Prediction())


@cache
def truth_ms(key: str) -> float:
    """Pixels and channels, and something for a run: smooth in both."""
    cell = parse_cell(key)
    alpha, pixels = cell.design.alpha, cell.design.resolution**2
    return (30_000 + pixels * (30 * alpha**2 + 9 * alpha) * (0.4 if cell.deployment.runtime == "openvino" else 1)) / 1e6


def machinery(**settings: Any) -> FakeWorker:
    """Times by `truth_ms`, always alike."""
    return FakeWorker(ms_of=lambda key, deployment: truth_ms(key), noise_pct=0, runs=(1.0,) * 5, **settings)


@pytest.fixture(autouse=True)
def _no_pictures_and_no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnsweep.sweep.derive._plots", lambda *_: {})
    monkeypatch.setattr(Prepared, "model_of", lambda self, cell: b"")
    monkeypatch.setattr("mnsweep.prepare.offers.chains", lambda *_: dict.fromkeys((*NARROW, *WIDE), b""))
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def session_of(folder: SweepFolder, worker: FakeWorker | None = None, asked: Sweep = ASKED, **more: Any) -> Session:
    settings: dict[str, Any] = {"rules": RULES, "machine": HERE, "new_worker": worker or machinery(), **more}
    return Session(sweep=asked, folder=folder, **settings)


def run(folder: SweepFolder, worker: FakeWorker | None = None, aims: Aims = AIMS, asked: Sweep = ASKED, **more: Any) -> Outcome:
    explore(session_of(folder, worker, asked, **more), aims)
    return derive(folder)


class Stages(Listener):
    """Keeps what is said of each stage."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "results" / "explore" / HERE.key)


@pytest.fixture
def explored(folder: SweepFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SweepFolder]:
    """A copy of a finished one."""
    kept = tmp_path_factory.getbasetemp() / "explored-once"
    if not (kept / CELLS).exists():
        run(SweepFolder(kept))
    shutil.copytree(kept, folder.path)
    yield folder


def table(folder: SweepFolder) -> dict[str, Result]:
    return {r.cell: r for r in from_csv(folder.read_text(CELLS), CELLS)}


def measured(folder: SweepFolder) -> set[str]:
    return {block.cell for block in folder.read().blocks}


def test_stages_come_in_order_and_as_many_cells_are_measured_as_asked(folder: SweepFolder) -> None:
    listener = Stages()
    outcome = run(folder, listener=listener)
    said = listener.said
    words = [line.split(" cells ")[1].split(",")[0] for line in said]
    assert list(dict.fromkeys(words)) == [
        "to learn from", "of the predicted frontier to verify", "chosen at random to validate the model"
    ]  # fmt: skip
    assert [int(line.split()[0]) for line in said] == [12, 4, 4, 5]
    known = read(folder).prediction
    assert (len(known.verified), len(known.held_out), len(measured(folder))) == (4, 5, 16 + 4 + 5)
    assert outcome.verification and outcome.verification.designs == 4
    assert outcome.validation and outcome.validation.designs == 5
    corners = {Cell(Design.of(alpha, res)).id for alpha, res in ((0.25, 128), (0.55, 224))}
    assert corners <= set(folder.read().processes[0].cells)


@pytest.mark.parametrize(
    ("measure", "budget", "stages"),
    [
        (8, None, [8]),
        (12, None, [12]),
        (14, None, [12, 2]),
        (12, 0.3, [8, 4]),
        (16, 0.3, [10, 4, 2]),
        (30, None, [18, 4, 4, 4]),
    ],
)
def test_a_dozen_come_at_once_and_with_a_budget_fewer(
    folder: SweepFolder, measure: int, budget: float | None, stages: list[int]
) -> None:
    listener = Stages()
    run(folder, listener=listener, aims=Aims(measure=measure, verify=0, max_latency_ms=budget))
    assert [int(line.split()[0]) for line in listener.said] == stages
    assert {Cell(Design.of(alpha, res)).id for alpha in (0.25, 0.55) for res in (128, 224)} <= measured(folder)
    if budget:
        first = set(read(folder).records.processes[0].cells)
        assert all(abs(truth_ms(key) / budget - 1) < 0.5 for key in measured(folder) - first), "the others are near the budget"


def test_every_cell_is_measured_or_predicted_and_says_which(explored: SweepFolder) -> None:
    rows = table(explored)
    assert list(rows) == [cell.id for cell in ASKED.cells]
    assert {key for key, r in rows.items() if r.latency_source == "measured"} == measured(explored)
    for key, r in rows.items():
        assert r.latency_p50_ms and r.latency_ci_low_ms and r.latency_ci_high_ms and r.quality_source
        assert r.latency_p50_ms == pytest.approx(truth_ms(key), rel=0.2 if r.samples is None else 1e-5)
        assert r.latency_ci_low_ms <= r.latency_p50_ms <= r.latency_ci_high_ms
        on_paper = r.alpha in (0.25, 0.5) and r.resolution in (128, 160, 192, 224)
        assert r.quality_source == ("published: slim-2018-08" if on_paper else "predicted: slim-2018-08")
        assert (r.quality_sd_pct is None) is on_paper
        assert r.latency_source == "measured" or (r.on_frontier, r.samples, r.latency_p90_ms) == (None, None, None)


def on_frontier(rows: Sequence[Result]) -> set[str]:
    def beats(a: Result, b: Result) -> bool:
        one, other = ((r.latency_p50_ms or 0, -(r.quality_pct or 0)) for r in (a, b))
        return one != other and one[0] <= other[0] and one[1] <= other[1]

    return {r.cell for r in rows if not any(beats(other, r) for other in rows)}


def test_frontiers_by_brute_force_and_verified_cells_were_on_it(explored: SweepFolder) -> None:
    rows = list(table(explored).values())
    assert {r.cell for r in rows if r.on_frontier} == on_frontier([r for r in rows if r.latency_source == "measured"])
    assert {r.cell for r in rows if r.predicted_on_frontier} == on_frontier(rows)
    verified = set(read(explored).prediction.verified)
    believed = [replace(r, latency_p50_ms=truth_ms(r.cell)) for r in rows]
    assert len(verified & on_frontier(believed)) >= len(verified) - 1


def test_cells_held_out_are_never_fitted_whatever_they_measured(explored: SweepFolder) -> None:
    held_out, before = read(explored).prediction.held_out, explored.read_text(MODEL)
    (model,) = from_json(before, MODEL).values()
    assert not set(model.cells) & set(held_out)
    assert set(model.cells) == measured(explored) - set(held_out)
    rewrite(explored, lambda b: replace_record(b, samples_ns=tuple(3 * ns for ns in b.samples_ns)) if b.cell in held_out else b)
    outcome = derive(explored)
    assert explored.read_text(MODEL) == before
    assert outcome.validation and outcome.validation.errors.mean_pct > 60


def rewrite(folder: SweepFolder, change: Callable[[Block], Block]) -> None:
    lines = [json.loads(line) for line in folder.read_text(BLOCKS).splitlines()]
    blocks = iter([to_line(change(b)) for b in folder.read().blocks])
    text = "".join(next(blocks) if line["kind"] == "block" else json.dumps(line) + "\n" for line in lines)
    folder.replace(BLOCKS, text)


def test_begun_again_it_measures_nothing_and_leaves_all_as_it_was(explored: SweepFolder) -> None:
    before = {path.name: path.read_bytes() for path in explored.path.iterdir()}
    worker = machinery()
    run(explored, worker)
    assert not worker.opened and not worker.asked
    assert {path.name: path.read_bytes() for path in explored.path.iterdir()} == before


def test_what_is_derived_comes_back_byte_for_byte(explored: SweepFolder) -> None:
    before = {name: (explored.path / name).read_bytes() for name in (CELLS, MODEL)}
    for name in before:
        (explored.path / name).unlink()
    derive(explored)
    assert {name: (explored.path / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("blocks", [17, 70, 95])
def test_an_interrupt_loses_nothing_and_nothing_is_measured_twice(folder: SweepFolder, blocks: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(folder, machinery(interrupted_after=blocks))
    kept, probes = folder.read().blocks, folder.read().probes
    worker = machinery()
    outcome = run(folder, worker)
    assert folder.read().blocks[: len(kept)] == kept
    assert not (probes and worker.asked["chain"]), "a runtime is probed once"
    known = read(folder).prediction
    assert (len(known.verified), len(known.held_out)) == (4, 5)
    assert len(measured(folder)) == 25 and outcome.validation and outcome.validation.designs == 5
    rounds = {key: len({(b.process, b.round) for b in kept if b.cell == key}) for key in measured(folder)}
    beside = set(chain.from_iterable(p.cells for p in folder.read().processes[-1:]))
    done = {key for key, count in rounds.items() if count >= 2} - beside
    later = [b.cell for b in folder.read().blocks[len(kept) :]]
    references = {key for key in done if key in later}
    assert len(references) <= 9, "those that have settled come along as references only"


def test_more_is_added_to_what_there_is(explored: SweepFolder) -> None:
    before = measured(explored)
    run(explored, aims=Aims(measure=20, verify=4, validate=7))
    assert before < measured(explored)
    assert len(measured(explored)) == 20 + 4 + 7
    assert len(read(explored).prediction.held_out) == 7


def test_a_second_exploration_joins_the_first_and_keeps_what_it_predicts_from(explored: SweepFolder) -> None:
    kept, before = parse_sweep(explored.read_text(SWEEP), Path("x")), explored.read().blocks
    wider = replace(ASKED, cells=Space("0.6:0.7:0.05", "128:224:32", runtime="onnxruntime,openvino").cells())
    outcome = run(explored, aims=replace(AIMS, measure=10), asked=wider)
    now = parse_sweep(explored.read_text(SWEEP), Path("x"))
    assert now.cells == (*ASKED.cells, *wider.cells) and kept.prediction
    assert now.prediction and set(kept.prediction.held_out) <= set(now.prediction.held_out)
    assert explored.read().blocks[: len(before)] == before
    assert len(outcome.known.models) == 2 and all(r.latency_p50_ms for r in outcome.results)


def test_a_cell_that_fails_is_neither_predicted_nor_tried_again(folder: SweepFolder) -> None:
    broken = ("a0.25_r128", "a0.55_r224")
    outcome = run(folder, machinery(refuses=broken))
    assert outcome.failures == dict.fromkeys(broken, "not today")
    assert all(table(folder)[key].latency_p50_ms is None for key in broken)
    assert len(measured(folder)) == 25 - 2, "they were tried"
    run(folder, worker := machinery())
    assert not worker.opened


def test_when_the_time_is_up_what_there_is_is_used_and_the_next_run_goes_on(folder: SweepFolder) -> None:
    clock = FakeClock()

    def hear(verb: str, *arguments: object) -> None:
        if verb == "pin" and worker.blocks:  # the first designs were timed
            clock.advance(1e9)

    worker: FakeWorker = machinery(before=hear)
    outcome = run(folder, worker, rules=replace(RULES, time_budget_s=1e6), clock=clock.s)
    assert len(measured(folder)) == 12 and not outcome.validation and not outcome.verification
    assert all(r.latency_p50_ms for r in outcome.results)
    run(folder)
    assert len(measured(folder)) >= 16
    with pytest.raises(UnavailableError, match="too few designs were measured in the time"):
        run(SweepFolder(folder.path.parents[1] / "none" / HERE.key), rules=replace(RULES, time_budget_s=0.0))


def test_a_grid_on_an_explored_sweep_measures_what_was_asked_alone(explored: SweepFolder) -> None:
    before, asked = measured(explored), tuple(parse_cell(key) for key in ("a0.3_r128", "a0.4_r200"))
    session = session_of(explored, asked=Sweep("explore", asked))
    assert session.asked == asked and session.sweep.prediction == read(explored).prediction
    assert {cell.id for cell in session.plan(asked).pending} == {cell.id for cell in asked} - before
    session.measure(asked)
    assert measured(explored) == before | {cell.id for cell in asked}
    assert not session.plan(asked).pending
