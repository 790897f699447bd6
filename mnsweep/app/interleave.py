"""`mnsweep compare --interleave`: two ways to run the same cells, measured against each other in the same rounds.

Two runs of a sweep meet two states of the machine. Here both sides meet the same one: each has a worker of its own, in its own
interpreter, and every round times both. So a difference of half a percent is seen in half a minute.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from mnsweep.app.asking import asked_cells
from mnsweep.app.items import Bench, measure_items
from mnsweep.app.requests import CompareRequest
from mnsweep.cell import Cell
from mnsweep.comparing.matching import Matched
from mnsweep.comparing.side import Side
from mnsweep.comparing.verdicts import Comparison
from mnsweep.comparing.within import decided, judge_pairs
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import measuring
from mnsweep.measure.plan import Item, run_seconds, session_bytes
from mnsweep.measure.rounds import Rules, narrow
from mnsweep.prepare.kept_models import KeptModels
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare
from mnsweep.session import KEPT_SHARE, MEMORY_SHARE
from mnsweep.space import Space
from mnsweep.sweep.derive import Outcome
from mnsweep.sweep.file import Listed, Sweep
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Model
from mnsweep.worker.isolated import isolated
from mnsweep.worker.pair import SIDE_A, SIDE_B, SIDES, Pair
from mnsweep.worker.proxy import NewWorker, NotStartedError, WorkerProcess

CI_PCT, PATIENCE_S = 0.35, 30.0  # so that a ratio is known to ± 0.5 %
DEFAULT_ALPHA, DEFAULT_RES = "0.5", "160"
VISITS = 12  # of all items together, in one process: what is fixed when a process starts is most of the error
MOST_ROUNDS = 2_000  # time ends it


def interleave(
    request: CompareRequest,
    listener: Listener = SILENT,
    new_workers: tuple[NewWorker, NewWorker] | None = None,
    rules: Rules | None = None,
) -> tuple[Comparison, Outcome]:
    """Measure the cells both ways, and compare B with A.

    Raises `MnsweepError` for several deployments of one side, `UnavailableError` where a side does not run here.
    """
    if request.sweeps:
        raise MnsweepError("`interleave` measures: it takes no sweeps", "give `alpha` and `res`, or leave `interleave` out")
    machine = read_machine()
    cells = _cells(request, machine)
    Sweep(request.name, ())  # raises for a bad name before anything starts
    timeout_s = request.measuring.cell_timeout_s
    budget_s = PATIENCE_S if request.measuring.time_budget_s is None else request.measuring.time_budget_s
    ci_pct = CI_PCT if request.measuring.ci_pct is None else request.measuring.ci_pct
    process_rounds = max(3, VISITS // (2 * len(cells)))
    usual = narrow(Rules(cell_timeout_s=timeout_s, process_rounds=process_rounds, most_rounds=MOST_ROUNDS), ci_pct)
    starts = new_workers or _workers(request, cells, timeout_s)
    folder = SweepFolder(results_dir_or_default(request.place.results_dir) / request.name / machine.key)
    with measuring(request.turn.wait), ExitStack() as kept:
        folder.check_machine(machine)
        sides = _prepared([side for side, _ in cells], [side for _, side in cells], machine, starts)
        if aside := folder.set_aside():  # two states of the machine would not be one comparison
            listener.set_aside(aside)
        memory = psutil.virtual_memory().available * MEMORY_SHARE * KEPT_SHARE
        models = [kept.enter_context(KeptModels(side.model_of, memory / 2)) for side in sides]
        items = _items(cells)

        def model_of(item: Item) -> Model:
            cell, side = items[item.id]
            return models[side](cell)

        pairs = [(a.id + SIDE_A, b.id + SIDE_B) for a, b in cells]
        made = [
            Item(id=key, deployment=cell.deployment, memory_bytes=session_bytes(cell), run_s=run_seconds(cell))
            for key, (cell, _) in items.items()
        ]
        bench = Bench(
            model_of=model_of,
            new_worker=lambda: Pair(*starts),
            settings={f"{name}{end}": v for s, end in zip(sides, ("", SIDE_B), strict=True) for name, v in s.versions.items()},
            rules=replace(rules or usual, time_budget_s=budget_s),
            decided=lambda estimates: decided(pairs, estimates, request.same_pct),
            listener=listener,
        )
        listed = {key: _listed(cell, models[side](cell)) for key, (cell, side) in items.items()}
        outcome = measure_items(folder, Sweep(request.name, (), items=listed), tuple(made), machine, bench)
    return _comparison(request, cells, sides, outcome), outcome


def _cells(request: CompareRequest, machine: Machine) -> list[tuple[Cell, Cell]]:
    """The cells of both sides, pair by pair."""
    space = request.space
    if space == Space():
        space = replace(space, alpha=DEFAULT_ALPHA, res=DEFAULT_RES)
    ours = asked_cells(space, machine)
    if len({cell.deployment for cell in ours}) > 1:
        raise MnsweepError("side A has several deployments", "give one precision, runtime, threads and pad")
    other = {"precision": request.precision_b, "runtime": request.runtime_b, "threads": request.threads_b, "pad": request.pad_b}
    changes: dict[str, Any] = {name: value for name, value in other.items() if value is not None}
    theirs = asked_cells(replace(space, **changes), machine)
    if len(theirs) != len(ours):
        raise MnsweepError("side B has several deployments", "give one value of each setting")
    return list(zip(ours, theirs, strict=True))


def _workers(request: CompareRequest, cells: list[tuple[Cell, Cell]], timeout_s: float) -> tuple[NewWorker, NewWorker]:
    a, b = cells[0]
    start = partial(WorkerProcess, timeout_s, runtimes=(a.deployment.runtime,))
    if request.python_b is None:
        return start, partial(WorkerProcess, timeout_s, runtimes=(b.deployment.runtime,))
    if not request.python_b.is_file():
        raise MnsweepError(f"`python_b` {request.python_b}: no such file", "name an interpreter: other/bin/python")
    command = isolated("mnsweep.worker.process", str(request.python_b))
    return start, partial(WorkerProcess, timeout_s, command=command, runtimes=(b.deployment.runtime,))


def _prepared(
    ours: list[Cell], theirs: list[Cell], machine: Machine, starts: tuple[NewWorker, NewWorker]
) -> tuple[Prepared, Prepared]:
    """What both sides need to be built; channels that a probe would choose are chosen once, so that both run one file."""
    a = Prepared(weight_bits=machine.int8_weight_bits)
    prepare(a, ours, starts[0])
    b = Prepared(weight_bits=machine.int8_weight_bits, probes=dict(a.probes), ranges=dict(a.ranges))
    try:
        prepare(b, theirs, starts[1])
    except NotStartedError as error:
        raise UnavailableError(f"side B: {error.what}", "its interpreter needs numpy and the runtime") from None
    for side, cells, letter in ((a, ours, "A"), (b, theirs, "B")):
        for cell in cells:
            if reason := side.obstacle(cell):
                raise UnavailableError(f"side {letter}: {cell.id}: {reason}")
    return a, b


def _items(cells: list[tuple[Cell, Cell]]) -> dict[str, tuple[Cell, int]]:
    """The cell and the side (0 or 1) of each item, by its id."""
    return {pair[side].id + end: (pair[side], side) for side, end in enumerate(SIDES) for pair in cells}


def _listed(cell: Cell, model: bytes | Path) -> Listed:
    d = cell.deployment
    size = len(model) if isinstance(model, bytes) else model.stat().st_size
    return Listed(cell.id, d.precision, d.runtime, d.threads, size)


def _comparison(
    request: CompareRequest, cells: list[tuple[Cell, Cell]], sides: tuple[Prepared, Prepared], outcome: Outcome
) -> Comparison:
    known = outcome.known.estimates
    measured = [(a, b) for a, b in cells if a.id + SIDE_A in known and b.id + SIDE_B in known]
    if not measured:
        reasons = "; ".join(dict.fromkeys(outcome.failures.values())) or "the time ended before both sides were timed"
        raise UnavailableError(f"nothing was measured on both sides: {reasons}", "give it more time, or other cells")
    pairs = [(a.id + SIDE_A, b.id + SIDE_B) for a, b in measured]
    made = [
        Side(
            sweep=outcome.folder.sweep,
            machine=outcome.folder.machine,
            title=_title(letter, side, request),
            estimates={pair[at].id: known[pairs[i][at]] for i, pair in enumerate(measured)},
            networks={},
            settings=side.versions,
            started_at=outcome.known.records.processes[0].started_at,
        )
        for at, (letter, side) in enumerate(zip("AB", sides, strict=True))
    ]
    return Comparison(
        a=made[0],
        b=made[1],
        matched=Matched(tuple((a.id, b.id) for a, b in measured), "cell"),
        same_pct=request.same_pct,
        verdicts=judge_pairs(pairs, known, request.same_pct, [a.id for a, _ in measured]),
        swaps=(),
        picks=(),
        rank_correlation=None,
    )


def _title(letter: str, side: Prepared, request: CompareRequest) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in side.versions.items())
    where = f" of {request.python_b}" if letter == "B" and request.python_b else ""
    return f"{versions}{where}, interleaved"
