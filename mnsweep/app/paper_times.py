"""`mnsweep paper --measure`: time the networks of the paper's tables on this machine.

The networks are one sweep, `paper-tables`, which is interleaved, stored, interrupted and continued like any other. It has
two passes of a few rounds, so that every network has some rounds when the time is up. The heaviest files are opened first,
while most memory is free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mnsweep.accuracy.published import PAPER
from mnsweep.app.requests import PaperRequest
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import read_machine
from mnsweep.measure.rounds import Rules
from mnsweep.reproduction.judge import Row
from mnsweep.reproduction.ratios import cells
from mnsweep.session import Session, open_session
from mnsweep.space import Space
from mnsweep.sweep.derive import Outcome, derive
from mnsweep.sweep.file import Sweep
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.worker.proxy import NewWorker

NAME = "paper-tables"
PASSES = (3, 6)  # rounds of every network after each pass; each pass is another process
# The slowest networks take a second per run, so a block is one run after the discarded first run. Ratios between networks
# are far from 1, so intervals of a few percent suffice. Opening files and drawing plots add to the time budget.
RULES = Rules(
    least_rounds=PASSES[-1],
    most_rounds=PASSES[-1],
    process_rounds=PASSES[0],
    least_processes=len(PASSES),
    block_runs=1,
    time_budget_s=210.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperMeasured:
    """The measured networks of the tables; `missing` holds those that were not measured, by cell id, with the reason."""

    derived: Outcome
    missing: Mapping[str, str]


def measure_paper(
    request: PaperRequest,
    tables: Mapping[int, Sequence[Row]],
    listener: Listener = SILENT,
    new_worker: NewWorker | None = None,
) -> PaperMeasured:
    """Time every network of the tables on this machine; with all tables, also the 16 MobileNets of Figures 4 and 5.

    Raises `UnavailableError` when no network runs here.
    """
    rows = [row for rows in tables.values() for row in rows]
    figures = Space().cells() if request.table is None else ()
    with open_session(
        Sweep(NAME, tuple(dict.fromkeys((*cells(rows), *figures))), PAPER),
        results_dir_or_default(request.place.results_dir),
        read_machine(),
        rules=RULES,
        wait=request.turn.wait,
        fresh=request.fresh,
        listener=listener,
        new_worker=new_worker,
    ) as session:
        measure_in_passes(session)
        derived = derive(session.folder)
    return PaperMeasured(derived=derived, missing={**session.skipped, **derived.failures})


def measure_in_passes(session: Session) -> None:
    """Measure a few rounds of every network, then a few more."""
    for number, rounds in enumerate(PASSES, 1):
        session.listener.stage(f"pass {number} of {len(PASSES)}: {rounds} rounds of each network; a line after each round")
        session.measure(session.asked, rules=replace(RULES, least_rounds=rounds, most_rounds=rounds))
