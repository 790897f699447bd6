"""`mnsweep time`: time model files of anyone's by the protocol of a sweep, and compare them with the first."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mnsweep.app.asking import check_threads
from mnsweep.app.feeding import ONLY, feeds_of, parse_shapes, read_arrays
from mnsweep.app.items import Bench, measure_items
from mnsweep.app.requests import TimeRequest
from mnsweep.cell import Deployment
from mnsweep.comparing.within import judge_pairs
from mnsweep.errors import MnsweepError, UnavailableError
from mnsweep.estimate.ratio import Verdicts
from mnsweep.listener import SILENT, Listener
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import measuring
from mnsweep.measure.plan import Item
from mnsweep.measure.rounds import Rules, narrow
from mnsweep.names import RUNTIMES, runtime_named
from mnsweep.sweep.derive import Outcome
from mnsweep.sweep.file import Listed, Sweep
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.sweep.store import SweepFolder
from mnsweep.worker.base import Fed, Offer
from mnsweep.worker.proxy import CellError, NewWorker, Worker, WorkerProcess

READ_BY = {".onnx": "onnxruntime", ".ort": "onnxruntime", ".tflite": "litert", ".xml": "openvino"}  # by default
ALSO_READS = {".onnx": ("openvino",)}
PATIENCE_S, CI_PCT = 120.0, 0.7  # the latter so that a ratio is known to ± 1 %
BYTES_PER_S = 2e9  # weights that a core reads and uses: only for estimates of time
_LATENCIES = {  # columns, and what an estimate calls them
    "latency_p50_ms": "p50_ms",
    "latency_ci_low_ms": "ci_low_ms",
    "latency_ci_high_ms": "ci_high_ms",
    "relative_ci_pct": "relative_ci_pct",
}
SESSION = 4  # memory of an open session over the size of its file


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFile:
    """A file in one deployment: its id, where it is, and what it is run on."""

    item: Item
    listed: Listed
    fed: Fed


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeOutcome:
    """The files in order, by id, their sweep, and the verdicts on all timed ones but the first (None where there are none)."""

    derived: Outcome
    files: Mapping[str, Listed]
    against_first: Verdicts | None

    @property
    def failures(self) -> dict[str, str]:
        """Why files failed, by id."""
        known = self.derived.failures
        return {item: known[item] for item in self.files if item in known}

    def rows(self) -> list[dict[str, Any]]:
        """A row for each file: its latency in ms with intervals, and its ratio to the first; None where unknown."""
        known = self.derived.known.estimates
        ratios = {r.cell: r for r in self.against_first.cells} if self.against_first else {}
        return [
            {
                "cell": item,
                **{column: getattr(known.get(item), name, None) for column, name in _LATENCIES.items()},
                **{name: getattr(ratios.get(item), name, None) for name in ("ratio", "ci_low", "ci_high", "verdict")},
            }
            for item in self.files
        ]


def time_files(
    request: TimeRequest, listener: Listener = SILENT, new_worker: NewWorker | None = None, rules: Rules | None = None
) -> TimeOutcome:
    """Time every file in every deployment asked for, interleaved.

    Raises `MnsweepError` for a file that no runtime reads, or an input that does not fit, before anything is timed, and
    `UnavailableError` where a runtime is not installed.
    """
    machine = read_machine()
    asked = _asked(request, machine)
    runtimes = tuple(dict.fromkeys(deployment.runtime for _, deployment in asked))
    start = new_worker or partial(WorkerProcess, request.measuring.cell_timeout_s, runtimes=runtimes)
    folder = SweepFolder(results_dir_or_default(request.place.results_dir) / request.name / machine.key)
    budget_s = PATIENCE_S if request.measuring.time_budget_s is None else request.measuring.time_budget_s
    ci_pct = CI_PCT if request.measuring.ci_pct is None else request.measuring.ci_pct
    rules = rules or narrow(Rules(cell_timeout_s=request.measuring.cell_timeout_s), ci_pct)
    Sweep(request.name, ())  # raises for a bad name before anything starts
    with measuring(request.turn.wait):
        with start() as worker:
            worker.pin(1)
            offers = {runtime: _offered(worker, runtime) for runtime in runtimes}
            files = _with_inputs(request, asked, worker, offers)
        if request.measuring.fresh and (aside := folder.set_aside()):
            listener.set_aside(aside)
        by_id = {file.item.id: file for file in files}
        bench = Bench(
            model_of=lambda item: by_id[item.id].fed,
            new_worker=start,
            settings={runtime: offer.version for runtime, offer in offers.items()},
            rules=replace(rules, time_budget_s=budget_s),
            listener=listener,
        )
        sweep = Sweep(request.name, (), items={file.item.id: file.listed for file in files})
        derived = measure_items(folder, sweep, tuple(file.item for file in files), machine, bench)
    return outcome_of(derived, [file.item.id for file in files], request.same_pct)


def outcome_of(derived: Outcome, ids: Sequence[str], same_pct: float) -> TimeOutcome:
    """What is known of the files with these ids."""
    files = {item: derived.known.sweep.items[item] for item in ids}
    return TimeOutcome(derived=derived, files=files, against_first=_against_first(ids, derived, same_pct))


def _against_first(ids: Sequence[str], derived: Outcome, same_pct: float) -> Verdicts | None:
    first, *others = ids
    known = derived.known.estimates
    pairs = [(first, other) for other in others if first in known and other in known]
    return judge_pairs(pairs, known, same_pct) if pairs else None


def _asked(request: TimeRequest, machine: Machine) -> list[tuple[Path, Deployment]]:
    """Every file in every deployment. Raises `MnsweepError` for a file that is not there, or that no runtime reads."""
    if not request.files:
        raise MnsweepError("no file is named", "name one or more: mnsweep time a.onnx b.onnx")
    space = replace(request.space, auto_threads=machine.usable_threads)
    asked = []
    for path in request.files:
        ending = path.suffix.lower()
        if not path.is_file():
            raise MnsweepError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}", "name a model file")
        if ending not in READ_BY:
            raise MnsweepError(
                f"{path}: no runtime reads {ending or 'a file without an ending'}", f"known: {', '.join(READ_BY)}"
            )
        own = replace(space, runtime=READ_BY[ending]) if request.runtime is None else replace(space, runtime=request.runtime)
        for deployment in own.deployments():
            base = deployment.runtime.partition(":")[0]
            if base not in (READ_BY[ending], *ALSO_READS.get(ending, ())):
                fix = f"leave `runtime` out, or use {READ_BY[ending]}"
                raise MnsweepError(f"{path}: {base} does not read {ending} files", fix)
            asked.append((path.absolute(), deployment))
    check_threads((deployment for _, deployment in asked), machine)
    return asked


def _offered(worker: Worker, runtime: str) -> Offer:
    offer = worker.offer(runtime)
    if offer.obstacle:
        raise UnavailableError(offer.obstacle, "" if "pip" in offer.obstacle else runtime_named(runtime).install)
    return offer


def _with_inputs(
    request: TimeRequest, asked: Sequence[tuple[Path, Deployment]], worker: Worker, offers: Mapping[str, Offer]
) -> list[TimedFile]:
    """The files with what they are run on. Raises `MnsweepError` for files and inputs that do not go together."""
    arrays, shapes = read_arrays(request.input), parse_shapes(request.shape)
    seen = set[str]()
    files: list[TimedFile] = []
    for path, deployment in asked:
        if deployment.precision not in offers[deployment.runtime].precisions:
            has = ", ".join(offers[deployment.runtime].precisions)
            what = f"`precision` {deployment.precision}: {deployment.runtime} does not offer it on this CPU"
            raise UnavailableError(what, f"it has {has}")
        try:
            inputs = worker.inputs(path, deployment.runtime)
        except CellError as error:
            raise MnsweepError(
                f"{path.name}: {deployment.runtime} does not open it: {error}", "is it a complete model?"
            ) from None
        seen |= {each.name for each in inputs} | ({ONLY} if len(inputs) == 1 else set())
        fed = Fed(path, feeds_of(path.name, inputs, arrays, shapes))
        file = _timed(fed, deployment)
        if file.item.id in {other.item.id for other in files}:
            raise MnsweepError(f"{path.name}: is named twice", "leave one out, or give a copy another name")
        files.append(file)
    if left := [name for name in (*arrays, *shapes) if name not in seen]:
        setting = "input" if left[0] in arrays else "shape"
        known = ", ".join(sorted(seen - {ONLY}))
        raise MnsweepError(f"`{setting}` {left[0] or 'without a name'}: no file has one input of that name", f"known: {known}")
    return files


def _timed(fed: Fed, deployment: Deployment) -> TimedFile:
    size = fed.path.stat().st_size
    with fed.path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    stem = re.sub("[^A-Za-z0-9.-]+", "-", fed.path.stem)[:60].strip("-.") or "model"
    fed_on = hashlib.sha256(sha256.encode())
    for name, array in fed.feeds.items():
        fed_on.update(f"{name} {array.shape}".encode() + array.tobytes())
    parts = [f"{stem}-{fed_on.hexdigest()[:8]}"]
    if deployment.precision != "fp32":
        parts.append(deployment.precision)
    if deployment.runtime != next(iter(RUNTIMES)):
        parts.append(deployment.runtime.replace(":", "-"))
    if deployment.threads != 1:
        parts.append(f"t{deployment.threads}")
    item = Item(
        id="_".join(parts), deployment=deployment, memory_bytes=SESSION * size + 4_000_000, run_s=max(1e-3, size / BYTES_PER_S)
    )
    listed = Listed(fed.path.name, deployment.precision, deployment.runtime, deployment.threads, size, sha256)
    return TimedFile(item=item, listed=listed, fed=fed)
