"""`mnsweep evaluate --sweep`: score every cell of a sweep that has trained weights, with the file that it was measured as."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from mnsweep.app.evaluate import examples_for, is_labelled
from mnsweep.app.models import Wanted, classifier_of
from mnsweep.app.requests import EvaluateRequest
from mnsweep.app.scoring import scored
from mnsweep.app.weights import measured_weights
from mnsweep.cell import Cell, Deployment
from mnsweep.errors import MnsweepError
from mnsweep.machine.fingerprint import read_machine
from mnsweep.machine.lock import measuring
from mnsweep.prepare.models import Prepared
from mnsweep.prepare.offers import prepare_export
from mnsweep.result import Result
from mnsweep.sweep.cells_file import from_csv
from mnsweep.sweep.derive import Outcome, conclude
from mnsweep.sweep.file import Scored, write_sweep
from mnsweep.sweep.find import find_results, results_dir_or_default
from mnsweep.sweep.kept import kept_sweep
from mnsweep.sweep.store import CELLS, SWEEP, SweepFolder
from mnsweep.worker.proxy import NewWorker, WorkerProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepEvaluation:
    """A sweep with scores: `scored` are the results of its cells with weights."""

    derived: Outcome
    scored: tuple[Result, ...]


def evaluate_sweep(
    request: EvaluateRequest,
    progress: Callable[[str, int, int], None] = lambda what, of, done: None,
    new_worker: NewWorker | None = None,
) -> SweepEvaluation:
    """Score the cells and write the sweep's derived files anew.

    Cells that differ in threads, batch or padding alone answer alike, and are scored once. Raises `MnsweepError` where no cell
    has weights, or the pictures have no labels, `UnavailableError` while another process measures here.
    """
    if request.model is not None or request.against is not None:
        name = "model" if request.model is not None else "against"
        raise MnsweepError(f"`{name}` and `sweep` contradict each other", "leave one of them out")
    folder = find_results(results_dir_or_default(request.place.results_dir), read_machine().key, request.sweep)
    results = [r for r in from_csv(folder.read_text(CELLS), folder.path / CELLS) if r.weights]
    if not results:
        raise MnsweepError(f"no cell of the sweep {folder.sweep} has trained weights", "measure it with `weights` first")
    with measuring(request.turn.wait):
        scores = _scores(results, folder, request, progress, new_worker or WorkerProcess)
        sweep = kept_sweep(folder, folder.read())
        if sweep is not None:
            folder.replace(SWEEP, write_sweep(replace(sweep, scored={**sweep.scored, **scores})))
        derived = conclude(folder)
    derived.draw()
    return SweepEvaluation(derived=derived, scored=tuple(r for r in derived.results if r.cell in scores))


def _scores(
    results: list[Result],
    folder: SweepFolder,
    request: EvaluateRequest,
    progress: Callable[[str, int, int], None],
    new_worker: NewWorker,
) -> dict[str, Scored]:
    found: dict[object, Scored] = {}
    scores: dict[str, Scored] = {}
    for result in results:
        deployment = result.deployment
        key = (result.design, deployment.precision, deployment.runtime)
        if key not in found:
            found[key] = _score(result, folder, request, progress, new_worker)
        scores[result.cell] = found[key]
    return scores


def _score(
    result: Result,
    folder: SweepFolder,
    request: EvaluateRequest,
    progress: Callable[[str, int, int], None],
    new_worker: NewWorker,
) -> Scored:
    machine, trained = read_machine(), measured_weights(result, folder)
    if trained is None:
        raise MnsweepError(f"{result.cell}: has no trained weights", "measure it with `weights` first")
    cell = Cell(result.design, Deployment(result.precision, result.runtime, pad="none"))
    prepared = Prepared(weight_bits=machine.int8_weight_bits, trained={trained.design: trained})
    prepare_export(prepared, cell, new_worker, request.calibration)
    classifier = classifier_of(trained, prepared, cell, Wanted(**asdict(request.pixels)))
    pictures = examples_for(request, classifier)
    if not is_labelled(pictures):
        raise MnsweepError(
            f"`data` {request.data}: its pictures have no labels", "add `labels`, or sort them into class folders"
        )

    def told(done: int) -> None:
        progress(cell.id, len(pictures.paths), done)

    return scored(
        classifier,
        pictures,
        pictures.name,
        new_worker=new_worker,
        processes=machine.usable_threads,
        progress=told,
    )
