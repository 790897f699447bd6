"""What is said when little was measured: nothing that is not known, and what would be enough."""

import re
import shlex
from itertools import product
from pathlib import Path

import pytest

from mnsweep.cell import Cell, parse_cell
from mnsweep.listener import Listener
from mnsweep.measure.plan import Plan
from mnsweep.measure.rounds import Rules
from mnsweep.session import Session
from mnsweep.space import Space
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.store import SweepFolder
from tests.fakes import FakeClock, FakeWorker
from tests.fuzz import run as run_bare
from tests.test_cli import Run, run
from tests.test_grid_cli import worker
from tests.test_sweep import HERE

__all__ = ["run", "worker"]
SMALL = ("--alpha", "0.25,0.5", "--res", "128")


def test_without_time_nothing_is_claimed(run: Run, worker: FakeWorker) -> None:
    ran = run("grid", *SMALL, "--time-budget-s", "0")
    assert ran.code == 4
    assert "nothing was measured; about " in ran.err and "rerun the same command" in ran.err
    for claim in ("on the frontier", "machine's own speed", "next: mnsweep pick", "did not settle"):
        assert claim not in ran.out + ran.err


def test_quick_says_done_and_never_settled(run: Run, worker: FakeWorker) -> None:
    ran = run("grid", "--quick", *SMALL)
    assert "2 of 2 cells done" in ran.err and "settled" not in ran.err


def test_one_round_has_no_interval_and_cannot_be_picked(run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnsweep.app.grid.quick", lambda rules: Rules(least_rounds=1, most_rounds=1, least_processes=1))
    ran = run("grid", "--quick", *SMALL)
    assert "2 cells with too few rounds for an interval; about " in ran.err and "next: mnsweep pick" not in ran.err
    picked = run("pick", "--max-latency-ms", "1000")
    assert picked.code == 1 and "not considered: 2 cells with too few rounds for an interval" in picked.err


def test_the_suggested_budget_is_met_and_as_typed(run: Run, worker: FakeWorker) -> None:
    ran = run("grid", "--quick", *SMALL)
    (command,) = re.findall(r"^next: mnsweep (pick .*)$", ran.err, re.MULTILINE)
    budget = command.split("--max-latency-ms ")[1]
    assert f"{float(budget):g}" == budget
    assert run(*shlex.split(command)).code == 0


@pytest.mark.parametrize(
    "precision, pad, batch, more",
    list(product(["fp32", "int8"], ["none", "16"], ["1", "2"], [(), ("--conv-padding", "keras"), ("--classes", "10")])),
)
def test_the_command_that_export_suggests_measures_the_same_cell(
    run: Run, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, precision: str, pad: str, batch: str, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr("mnsweep.app.export.WorkerProcess", lambda: worker)
    asked = ("--alpha", "0.25", "--res", "32", "--precision", precision, "--pad", pad, "--batch", batch, *more)
    ran = run("export", *asked, "--out", "model.onnx", "--json")
    assert ran.code == 0, ran.err
    (command,) = re.findall(r"mnsweep (grid .*)$", ran.err, re.MULTILINE)
    planned = run(*shlex.split(command), "--dry-run", "--json")
    assert planned.json["cells"] == [ran.json["cell"]]


def test_a_precision_that_no_file_holds_is_not_exported(run: Run) -> None:
    ran = run("export", "--alpha", "0.25", "--res", "32", "--precision", "bf16", "--out", "model.onnx")
    assert ran.code == 2 and ran.err.count("\n") == 1 and "--precision bf16: no file holds it" in ran.err
    assert not Path("model.onnx").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("pick", "--min-top1", "10", "--margin-pct", "5"), "--margin-pct 5.0 requires --max-latency-ms"),
        (("pick", "--max-latency-ms", "9", "--calibration", "."), "--calibration . requires --export"),
        (("pick", "--no-verify", "--wait"), "--no-verify and --wait contradict each other"),
        (("count", "--csv", "--json"), "--json and --csv contradict each other"),
        (("grid", "--quick", "--ci-pct", "3"), "--quick and --ci-pct contradict each other"),
        (("grid", "--all", "--fresh"), "--all-cells and --fresh contradict each other"),
        (("grid", "-q", "-v"), "--quiet and --verbose contradict each other"),
        (("explore", "-q", "-v"), "--quiet and --verbose contradict each other"),
        (("pick", "-q", "-v"), "--quiet and --verbose contradict each other"),
        (("explore", "--measure", "100000", "--dry-run"), "--measure 100000': the highest value is 10000"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(sweep_folder: SweepFolder, arguments: tuple[str, ...], said: str) -> None:
    ran = run_bare(*arguments)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert said in ran.err


@pytest.mark.parametrize(
    "arguments",
    [("rebuild", ""), ("grid", "--results-dir", ""), ("grid", "--name="), ("export", "--out", ""), ("pick", "--sweep", ""),
     ("grid", "--alpha", "")],
)  # fmt: skip
def test_an_empty_value_is_refused(sweep_folder: SweepFolder, arguments: tuple[str, ...]) -> None:
    before = sorted(path.stat().st_mtime_ns for path in sweep_folder.path.iterdir())
    ran = run_bare(*arguments)
    assert (ran.status, ran.err.count("\n")) == (2, 1) and "the value is empty" in ran.err
    assert sorted(path.stat().st_mtime_ns for path in sweep_folder.path.iterdir()) == before


def test_an_exploration_says_how_long_it_takes(run: Run) -> None:
    assert re.search(r"about \d+ s; the others are predicted", run("explore", "--dry-run").out)


class Log(Listener):
    """Hears what a session says."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.plans: list[Plan] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)


def session(tmp_path: Path, cells: tuple[Cell, ...], budget_s: float, clock: FakeClock, log: Listener) -> Session:
    return Session(
        sweep=Sweep("grid", cells),
        folder=SweepFolder(tmp_path / "grid" / HERE.key),
        machine=HERE,
        rules=Rules(time_budget_s=budget_s),
        listener=log,
        new_worker=lambda: FakeWorker(clock=clock),
        clock=clock.s,
    )


def test_cells_that_take_least_are_answered_first(tmp_path: Path) -> None:
    cells = (parse_cell("a2.0_r1024_pnone"), *Space("0.25,0.5", "64,96", pad="none").cells())
    clock = FakeClock()
    made = session(tmp_path, cells, 6.0, clock, Log())
    made.measure(made.asked)
    timed = {block.cell for block in made.records.blocks}
    assert timed >= {cell.id for cell in cells[1:]} and cells[0].id not in timed


@pytest.mark.parametrize("budget_s", [2.0, 5.0, 9.0])
def test_a_time_budget_is_kept_to_a_block(tmp_path: Path, budget_s: float) -> None:
    clock = FakeClock()
    made = session(tmp_path, Space("0.25,0.5", "64,96", pad="none").cells(), budget_s, clock, Log())
    began = clock.s()
    made.measure(made.asked)
    assert clock.s() - began <= budget_s + 1.0


def test_what_no_time_is_left_for_is_said(tmp_path: Path) -> None:
    log = Log()
    made = session(tmp_path, Space("0.25", "64", pad="none").cells(), 0.0, FakeClock(), log)
    made.measure(made.asked, why="chosen at random to validate the model")
    assert log.stages == ["1 cell chosen at random to validate the model, but no time is left for them"]
