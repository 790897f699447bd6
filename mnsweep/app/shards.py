"""`mnsweep evaluate --fleet`: pictures in shards, each answered by a worker of a cluster that reaches the same files."""

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mnsweep.accuracy.scores import Probabilities
from mnsweep.app.answering import Answered, answer
from mnsweep.app.evaluate import Evaluation, evaluate
from mnsweep.app.models import Classifier, Wanted, open_classifier, wanted_of
from mnsweep.app.requests import EvaluateRequest
from mnsweep.decoding import DamagedError, from_json
from mnsweep.errors import MnsweepError
from mnsweep.fleet.cluster import run_all
from mnsweep.fleet.tasks import own_cpus
from mnsweep.fleet.watching import Watcher
from mnsweep.importing.trained import sha256_of
from mnsweep.machine.fingerprint import read_machine
from mnsweep.worker.proxy import WorkerProcess

SHARDS_A_WORKER = 4  # so that a slow worker is waited for only briefly
FEWEST = 16  # pictures in a shard: starting a runtime takes as long as many


class _Shard(msgspec.Struct):
    """Some pictures for one file, which must be the same there."""

    model: str
    sha256: str
    wanted: dict[str, Any]
    pictures: list[str]


class _Answers(msgspec.Struct):
    """Probabilities (places, classes) as float32 in base64, by place in the shard."""

    places: list[int]
    classes: int
    probabilities: str
    broken: dict[int, str]
    busy_s: float


def answer_shard(text: str, said: str) -> str:
    """The task of a worker: answer the pictures of a shard."""
    del said
    shard = from_json(text, _Shard)
    path = Path(shard.model)
    if not path.is_file():
        raise MnsweepError(f"{path}: is not there", "put it there, or on a disk that all workers share")
    if sha256_of(path) != shard.sha256:
        raise MnsweepError(f"{path}: is another file there", "put the same there, or on a disk that all workers share")
    classifier = open_classifier(path, Wanted(**shard.wanted), read_machine(), WorkerProcess)
    processes = len(own_cpus().split(","))
    found = answer(classifier, [Path(each) for each in shard.pictures], new_worker=WorkerProcess, processes=processes)
    return msgspec.json.encode(
        _Answers(
            places=list(found.places),
            classes=found.probabilities.shape[1],
            probabilities=base64.b64encode(found.probabilities.astype("<f4").tobytes()).decode(),
            broken=found.broken,
            busy_s=found.busy_s,
        )
    ).decode()


def evaluate_elsewhere(request: EvaluateRequest, watcher: Watcher | None = None) -> Evaluation:
    """What `evaluate` returns, with answers of the workers of a cluster; `seconds` are those of this side."""
    heard, wanted = watcher or Watcher(), wanted_of(request)

    def ask(path: Path, classifier: Classifier, pictures: Sequence[Path]) -> Answered:
        del classifier
        address, insecure = request.elsewhere.fleet or "", request.elsewhere.insecure
        return answer_elsewhere(path, wanted, pictures, address, heard, insecure=insecure)

    return evaluate(request, elsewhere=ask)


def answer_elsewhere(
    model: Path, wanted: Wanted, paths: Sequence[Path], address: str, watcher: Watcher, *, insecure: bool
) -> Answered:
    """What `answer` returns, from the workers of a cluster. Raises `MnsweepError` where a shard fails."""
    began, sha256 = time.perf_counter(), sha256_of(model)
    starts: dict[str, int] = {}

    def errands(workers: int, cpus: int) -> Mapping[str, str]:
        del cpus
        size = max(FEWEST, -(-len(paths) // (SHARDS_A_WORKER * workers)))
        shards = {f"pictures from {start + 1:,}": start for start in range(0, len(paths), size)}
        starts.update(shards)
        of = {name: [str(path.absolute()) for path in paths[start : start + size]] for name, start in shards.items()}
        made = {name: _Shard(str(model.absolute()), sha256, asdict(wanted), pictures) for name, pictures in of.items()}
        return {name: msgspec.json.encode(shard).decode() for name, shard in made.items()}

    done = run_all(address, answer_shard, errands, watcher, insecure=insecure)
    for name, trouble in done.troubles.items():
        raise MnsweepError(f"{model.name}: {name}: {trouble.what}", trouble.fix)
    return _joined([(starts[name], _read(name, text)) for name, text in done.texts.items()], began)


def _read(name: str, text: str) -> _Answers:
    try:
        return from_json(text, _Answers)
    except DamagedError as error:
        raise MnsweepError(f"{name}: the answer of a worker is damaged: {error}") from None


def _array(told: _Answers) -> Probabilities:
    """(places, classes). Raises `MnsweepError` where the numbers are too few or too many."""
    try:
        return np.frombuffer(base64.b64decode(told.probabilities), "<f4").reshape(len(told.places), told.classes)
    except ValueError as error:
        raise MnsweepError(f"the answer of a worker is damaged: {error}") from None


def _joined(shards: Sequence[tuple[int, _Answers]], began: float) -> Answered:
    ordered = sorted(shards, key=lambda each: each[0])
    return Answered(
        places=tuple(start + place for start, told in ordered for place in told.places),
        probabilities=np.concatenate([_array(told) for _, told in ordered]),
        broken={start + place: why for start, told in ordered for place, why in told.broken.items()},
        seconds=time.perf_counter() - began,
        busy_s=sum(told.busy_s for _, told in ordered),
    )
