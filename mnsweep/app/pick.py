"""`mnsweep pick`: choose among the cells of a sweep.

The caller passes the functions that measure and write a model, so a choice among measured cells loads neither a runtime
nor a plotting library.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mnsweep.app.requests import PickRequest
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.everywhere import slowest
from mnsweep.choice.ranking import Choice
from mnsweep.choice.ranking import pick as choose
from mnsweep.errors import MnsweepError, StoreError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.result import PREDICTED, Result
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.find import find_results, on_all_machines, results_dir_or_default
from mnsweep.sweep.runs import run_named
from mnsweep.sweep.store import CELLS, SweepFolder
from mnsweep.wording import count_of

if TYPE_CHECKING:
    from mnsweep.app.export import Exported

NOT_DELIVERABLE = "no cell of this sweep was measured with trained weights; run 'mnsweep grid' with `weights`"
Verify: TypeAlias = Callable[[Sequence[Result], Constraints, SweepFolder], Choice]  # `mnsweep.app.verify.verified`
Write: TypeAlias = Callable[[Result, SweepFolder], "Exported"]  # the chosen network, as it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class PickOutcome:
    """The choice, the sweep folder that it comes from, and the exported file, if any.

    Where it is one for all `machines`, these are its results by the key of each; None where nothing was chosen.
    """

    choice: Choice
    folder: SweepFolder
    exported: "Exported | None" = None
    machines: Mapping[str, Result | None] = field(default_factory=dict)


def pick(request: PickRequest, verify: Verify, write: Write) -> PickOutcome:
    """Pick the best cell that meets the constraints; predicted cells are measured first, unless `no_verify`.

    Raises `StoreError` where there are no results.
    """
    directory = results_dir_or_default(request.place.results_dir)
    if request.all_machines:
        return _for_all(request, directory)
    folder = find_results(directory, read_machine().key, request.sweep)
    results = _results(request, folder, directory)
    if request.deliverable:
        results = [result for result in results if result.weights]
        if not results:
            return PickOutcome(choice=Choice(choice=None, runner_up=None, reason=NOT_DELIVERABLE), folder=folder)
    if request.no_verify or all(r.latency_source != PREDICTED for r in results):
        choice = choose(results, request.constraints)
    else:
        choice = verify(results, request.constraints, folder)
    written = write(choice.choice, folder) if request.export and choice.choice else None
    return PickOutcome(choice=choice, folder=folder, exported=written)


def _for_all(request: PickRequest, directory: Path) -> PickOutcome:
    """One choice for every machine that measured the sweep; predicted cells do not count."""
    key = read_machine().key
    name = request.sweep or find_results(directory, key).sweep
    folders = {folder.machine: folder for folder in on_all_machines(directory, name, key) if folder.has(CELLS)}
    if len(folders) < 2:
        text = f"sweep {name}: was measured on {count_of(len(folders), 'machine')}"
        raise StoreError(text, "measure it on others: `on`")
    tables = {machine: _results(request, folder, directory) for machine, folder in folders.items()}
    if request.deliverable:
        tables = {machine: [r for r in results if r.weights] for machine, results in tables.items()}
    results, where = slowest(tables, request.constraints)
    choice = choose(results, request.constraints)
    if (best := choice.choice) is None:
        return PickOutcome(choice=choice, folder=next(iter(folders.values())), machines=dict.fromkeys(folders))
    reason = f"{choice.reason}; it is slowest on {where[best.cell]}, of {count_of(len(folders), 'machine')}"
    each = {machine: next(r for r in results if r.cell == best.cell) for machine, results in tables.items()}
    return PickOutcome(choice=replace(choice, reason=reason), folder=folders[where[best.cell]], machines=each)


def _results(request: PickRequest, folder: SweepFolder, results_dir: Path) -> list[Result]:
    """The results of the sweep, with the accuracies of another source where one is asked for.

    Raises `MnsweepError` where that source has no accuracy of any cell.
    """
    source = request.accuracies.quality_source
    if source is None:
        return from_csv(folder.read_text(CELLS), folder.path / CELLS)
    from mnsweep.sweep.derive import read, tabulate  # loads the estimators, which a choice by the table does not need

    known = read(folder)
    if known.sweep.quality_source == source and not known.sweep.scored:
        return from_csv(folder.read_text(CELLS), folder.path / CELLS)
    run = run_named(results_dir, source)
    sweep = replace(known.sweep, quality_source=source, trained=run.scores if run else {}, scored={})
    results = tabulate(replace(known, sweep=sweep), folder.read_machine())
    if all(result.quality_pct is None for result in results):
        what = f"`quality_source` {source}: has no accuracy of any cell of the sweep {folder.sweep}"
        raise MnsweepError(what, f"measure its networks: 'mnsweep grid --quality-source {source}'")
    return results
