"""`mnsweep pick`: choose among the cells of a sweep.

The caller passes the functions that measure and write a model, so a choice among measured cells loads neither a runtime
nor a plotting library.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mnsweep.app.requests import PickRequest
from mnsweep.choice.constraints import Constraints
from mnsweep.choice.ranking import Choice
from mnsweep.choice.ranking import pick as choose
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.result import PREDICTED, Result
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.find import find_results, results_dir_or_default
from mnsweep.sweep.runs import run_named
from mnsweep.sweep.store import CELLS, SweepFolder

if TYPE_CHECKING:
    from mnsweep.app.export import Exported

NOT_DELIVERABLE = "no cell of this sweep was measured with trained weights; run 'mnsweep grid' with `weights`"
Verify: TypeAlias = Callable[[Sequence[Result], Constraints, SweepFolder], Choice]  # `mnsweep.app.verify.verified`
Write: TypeAlias = Callable[[Result, SweepFolder], "Exported"]  # the chosen network, as it was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class PickOutcome:
    """The choice, the sweep folder that it comes from, and the exported file, if any."""

    choice: Choice
    folder: SweepFolder
    exported: "Exported | None" = None


def pick(request: PickRequest, verify: Verify, write: Write) -> PickOutcome:
    """Pick the best cell that meets the constraints; predicted cells are measured first, unless `no_verify`.

    Raises `StoreError` where there are no results.
    """
    directory = results_dir_or_default(request.place.results_dir)
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
