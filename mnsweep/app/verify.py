"""A choice among predictions, verified by measurements."""

from collections.abc import Sequence

from mnsweep.app.exploration import RULES
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import Choice, pick_verified
from mnsweep.errors import UnavailableError
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import read_machine
from mnsweep.machine.lock import measuring
from mnsweep.result import Result
from mnsweep.session import Session
from mnsweep.sweep.derive import derive, read, tabulate
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.proxy import NewWorker


def verified(
    results: Sequence[Result],
    constraints: Constraints,
    folder: SweepFolder,
    *,
    wait: bool = False,
    listener: Listener = SILENT,
    new_worker: NewWorker | None = None,
) -> Choice:
    """The choice among the results of an exploration in `folder`; the predicted cells that it depends on are measured first.

    Raises `UnavailableError` where a cell must be measured but the results are another machine's, and, without `wait`, while
    another process measures.
    """
    with measuring(wait):
        machine, space = folder.read_machine(), read(folder)
        session = Session(
            sweep=space.sweep, folder=folder, machine=machine, rules=RULES, listener=listener, new_worker=new_worker
        )

        def measured(ids: Sequence[str]) -> Sequence[Result]:
            if machine.key != read_machine().key:
                text = f"{folder.path}: was measured on another machine"
                raise UnavailableError(text, "add `no_verify` to choose from its predictions")
            session.measure(space.cells(ids), why="to verify the choice")
            return tabulate(session.known(), machine)

        choice = pick_verified(results, constraints, measured)
        if choice.looked_at:
            derive(folder)
        return choice
