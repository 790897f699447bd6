"""The flow from plan to files, with a worker that times nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, Self

import onnx
import pytest

from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.errors import StoreError, UnavailableError
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.measure.campaign import Status
from mnsweep.measure.fit import estimate
from mnsweep.measure.plan import groups
from mnsweep.measure.rounds import Rules
from mnsweep.session import Request, begin, get_ready, merge, run, settling_targets, unsettled
from mnsweep.space import Space
from mnsweep.sweep.derive import Outcome, derive
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Array, Offer
from mnsweep.worker.proxy import CellError, Worker, WorkerLostError
from mnsweep.worker.timing import Timing

RULES = Rules(least_rounds=4, most_rounds=4, process_rounds=2)
SMALL = Space(alpha="0.25,0.5", res="32,48").cells()
HERE = read_machine()


class FakeWorker(Worker):
    """Opens everything, times by formula, with a noise of `noise_pct` that never settles when it is large."""

    version = "1.0"
    refuses: tuple[str, ...] = ()
    lost_at: str | None = None
    interrupted_after: int | None = None
    noise_pct = 0.1
    offers: ClassVar[dict[str, Offer]] = {}
    chain_ns: ClassVar = staticmethod(lambda count: 1000 * count if count % 8 == 0 else 3000 * count)  # blocks of 8
    asked: ClassVar[Counter[str]] = Counter()  # what is asked beside timing
    opened: ClassVar[Counter[str]] = Counter()
    blocks: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None: ...

    def pin(self, threads: int) -> None: ...

    def offer(self, runtime: str) -> Offer:
        self.asked[runtime] += 1
        return self.offers.get(runtime, Offer(self.version, ("fp32", "int8")))

    def ranges(self, model: bytes, images: Sequence[Array]) -> dict[str, tuple[float, float]]:
        self.asked["ranges"] += 1
        names = [output.name for output in onnx.load_from_string(model).graph.output]
        return dict.fromkeys(["image", *names], (-1.0, 6.0))

    def open(self, key: str, model: bytes, how: Deployment) -> None:
        if "chain" in key:
            self.asked["chain"] += 1
            return
        self.opened[key] += 1
        if key in self.refuses:
            raise CellError("not today")

    def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
        if "chain" in key:
            ns = self.chain_ns(int(key.split()[-1]))
            return Timing(ns, (ns,) * 5)
        self.blocks[key] += 1
        if key == self.lost_at:
            raise WorkerLostError("no answer within 60 s (--cell-timeout-s)")
        if self.interrupted_after is not None and self.blocks.total() > self.interrupted_after:
            raise KeyboardInterrupt
        moved = 1 + Random(f"{key} {self.blocks[key]}").gauss(0, self.noise_pct / 100)
        design = parse_cell(key).design
        ns = round(200 * design.alpha * design.resolution**2 * moved)
        return Timing(ns, (ns, ns + 10, ns + 20, ns + 5, ns))


def fake(**settings: object) -> type[FakeWorker]:
    return type("Fake", (FakeWorker,), {"asked": Counter(), "opened": Counter(), "blocks": Counter(), **settings})


def measure(
    folder: SweepFolder,
    cells: tuple[Cell, ...] = SMALL,
    worker: type[FakeWorker] | None = None,
    rules: Rules = RULES,
    machine: Machine = HERE,
    seen: list[Status] | None = None,
) -> Outcome:
    new_worker = worker or fake()
    request = Request(merge(Sweep(folder.sweep, cells), folder), rules)
    request, plan, prepared = get_ready(request, begin(request, folder, machine), folder, new_worker)
    statuses = [] if seen is None else seen
    return run(request, plan, prepared, folder, statuses.append, new_worker)


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
    worker = fake()
    outcome = measure(folder, worker=worker)
    assert (folder.path / "blocks.jsonl").read_bytes() == before
    assert not worker.opened
    assert len(outcome.results) == len(SMALL)


@pytest.mark.parametrize("blocks", [0, 3, 5, 9, 23])
def test_an_interrupt_loses_nothing_and_the_next_run_continues(folder: SweepFolder, blocks: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure(folder, worker=fake(interrupted_after=blocks))
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
    outcome = measure(folder, worker=fake(refuses=("a0.25_r48",)))
    assert outcome.failures == {"a0.25_r48": "not today"}
    assert {r.cell for r in outcome.results if r.samples} == {c.id for c in SMALL} - {"a0.25_r48"}
    assert not measure(folder).failures, "a later run that succeeds takes the failure back"


def test_a_cell_that_hangs_costs_its_process_and_no_other_cell(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=fake(lost_at="a0.5_r32"))
    assert outcome.failures == {"a0.5_r32": "no answer within 60 s (--cell-timeout-s)"}
    assert {r.cell for r in outcome.results if r.rounds} == {c.id for c in SMALL} - {"a0.5_r32"}


def test_a_sweep_whose_cells_all_fail_ends(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=fake(refuses=tuple(c.id for c in SMALL)))
    assert set(outcome.failures) == {c.id for c in SMALL}
    assert not any(r.samples for r in outcome.results)


def test_a_worker_that_cannot_start_is_said_in_one_line(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "command", ["/bin/false"])
    with pytest.raises(UnavailableError, match="could not start"):
        measure(folder, worker=Worker)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rules", "name"), [(RULES, "onnxruntime"), (Rules(sustain_s=1), "sustain_s")])
def test_other_settings_are_never_merged(folder: SweepFolder, rules: Rules, name: str) -> None:
    measure(folder, rules=Rules(least_rounds=2, most_rounds=2))
    before = (folder.path / "blocks.jsonl").read_bytes()
    with pytest.raises(StoreError, match=f"{name} .*, now it is .*--fresh"):
        measure(folder, rules=rules, worker=fake(version="2.0") if name == "onnxruntime" else fake())
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
    seen: list[Status] = []
    measure(folder, seen=seen)
    assert [(s.process, s.round) for s in seen] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert seen[-1].settled == seen[-1].cells == len(SMALL)
    assert seen[-1].left_s == 0


def test_calm_cells_settle_early_and_noisy_ones_go_to_the_limit(folder: SweepFolder, tmp_path: Path) -> None:
    rules = Rules(ci_pct=1.0, least_rounds=12, most_rounds=40)
    calm = measure(folder, rules=rules, worker=fake(noise_pct=0.01))
    noisy_folder = SweepFolder(tmp_path / "noisy" / HERE.key)
    noisy = measure(noisy_folder, rules=rules, worker=fake(noise_pct=5))
    assert all(r.rounds == 16 for r in calm.results)
    assert all((r.rounds or 0) >= 40 for r in noisy.results)
    request = Request(Sweep("grid", SMALL), rules)
    assert unsettled(request, calm) == {}
    assert set(unsettled(request, noisy)) == {c.id for c in SMALL}
    assert all("at the limit of 40 rounds, wanted ± 1 %" in reason for reason in unsettled(request, noisy).values())


def test_sustained_load_comes_before_the_first_warm_up_and_is_recorded(folder: SweepFolder) -> None:
    asked: list[tuple[str, int, float]] = []

    class Asked(fake()):  # type: ignore[misc]
        def time(self, key: str, min_runs: int, min_ms: float) -> Timing:
            if "chain" not in key:
                asked.append((key, min_runs, min_ms))
            return super().time(key, min_runs, min_ms)  # type: ignore[no-any-return]

    cells = (*SMALL, Cell(Design.of(0.25, 32), Deployment(threads=2)))
    measure(folder, cells, worker=Asked, rules=Rules(least_rounds=1, most_rounds=1, sustain_s=30))
    assert asked[0] == ("a0.25_r32_t2", 1, 30_000)
    assert {p.settings["sustain_s"] for p in folder.read().processes} == {30}


def test_a_worker_that_is_lost_under_sustained_load_costs_one_cell(folder: SweepFolder) -> None:
    outcome = measure(folder, worker=fake(lost_at="a0.25_r32"), rules=Rules(least_rounds=1, most_rounds=1, sustain_s=1))
    assert set(outcome.failures) == {"a0.25_r32"}
    assert sum(bool(r.samples) for r in outcome.results) == len(SMALL) - 1


def test_a_time_budget_of_nothing_measures_nothing(folder: SweepFolder) -> None:
    outcome = measure(folder, rules=Rules(time_budget_s=0))
    assert not any(r.samples for r in outcome.results)


def test_targets_are_narrow_near_the_frontier_or_the_budget(folder: SweepFolder) -> None:
    cells = Space(alpha="0.25,0.5,0.75,1.0", res="128,160,192,224").cells()
    outcome = measure(folder, cells)
    found = estimate(folder.read().blocks)
    by_frontier = settling_targets(Request(Sweep("grid", cells), RULES), found)
    assert {by_frontier[r.cell] for r in outcome.results if r.on_frontier} == {1.0}
    assert 2.0 in by_frontier.values()
    budget = found["a0.5_r160"].p50_ms
    by_budget = settling_targets(Request(Sweep("grid", cells), RULES, max_latency_ms=budget), found)
    assert by_budget == {k: 1.0 if abs(e.p50_ms / budget - 1) <= 0.05 else 2.0 for k, e in found.items()}


def test_groups_fit_in_memory_and_share_references() -> None:
    cells = Space(alpha="0.1:1.0:0.1", res="64:160:32").cells()
    found = groups(cells, cells, (), 200e6)
    assert len(found) > 1
    assert [c for g in found for c in g.cells] == list(cells)
    assert len({g.references for g in found}) == 1
    assert len(found[0].references) == 3
    assert all(g.canary in g.references for g in found)


def test_a_thousand_cells_stay_in_groups_of_a_bounded_size() -> None:
    cells = Space(alpha="0.01:1.0:0.01", res="128:200:8").cells()
    assert len(cells) == 1000
    assert max(len(g.cells) for g in groups(cells, cells, (), 1e12)) <= 64


def test_references_of_a_sweep_that_grows_were_measured_before() -> None:
    cells = Space(alpha="0.1:1.0:0.1", res="64").cells()
    old = {cell.id for cell in cells[:4]}
    (group,) = groups(cells[4:], cells, old, 1e12)
    assert {cell.id for cell in group.references} <= old


def test_one_cell_alone_is_its_own_reference() -> None:
    cell = Cell(Design.of(0.25, 32), Deployment(threads=2))
    (group,) = groups([cell], [cell], (), 1e12)
    assert group.all == (cell,)
