"""`mnsweep train --fleet`: each network on a worker of a cluster; networks that start from one another stay together."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

import msgspec

from mnsweep.app.requests import TrainRequest
from mnsweep.app.train import TrainOutcome
from mnsweep.app.train_plan import Training, TrainPlan, plan_train
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.fleet.cluster import run_all
from mnsweep.fleet.tasks import Errand, run
from mnsweep.fleet.watching import Watcher
from mnsweep.machine.fingerprint import read_machine
from mnsweep.options import as_words, changed, flag
from mnsweep.sweep.find import results_dir_or_default
from mnsweep.sweep.runs import read_run

OF_THE_FLEET = {"fleet", "insecure", "sweep", "results_dir", "precision", "res", "beside", *(f.name for f in fields(Design))}


def train_elsewhere(request: TrainRequest, watcher: Watcher | None = None) -> TrainOutcome:
    """Train what is asked for on the workers of a cluster, which reach the pictures and the results under the same paths.

    A worker that is lost leaves its checkpoint, from which another goes on. Raises `MnsweepError` for bad input, and where the
    only network fails; of several, the others go on.
    """
    plan = plan_train(request, read_machine())
    families = _families(plan.trainings)

    def errands(workers: int, cpus: int) -> Mapping[str, str]:
        del workers
        return {
            name: msgspec.json.encode(_errand(request, plan, name, family, cpus)).decode() for name, family in families.items()
        }

    address = request.elsewhere.fleet or ""
    done = run_all(address, run, errands, watcher or Watcher(), insecure=request.elsewhere.insecure)
    known = read_run(plan.folder.parents[1], request.name).records
    failures = {
        training.cell: str(done.troubles.get(name) or "was not trained; the worker's words say why")
        for name, family in families.items()
        for training in family
        if training.cell not in known or name in done.troubles
    }
    if len(plan.trainings) == 1 and failures:
        raise MnsweepError(next(iter(failures.values())))
    return TrainOutcome(
        name=request.name,
        folder=plan.folder,
        records=tuple(known[t.cell] for t in plan.trainings if t.cell in known and t.cell not in failures),
        failures=MappingProxyType(failures),
        broken=MappingProxyType({}),
        names=plan.names,
    )


def _families(trainings: Sequence[Training]) -> dict[str, list[Training]]:
    """Trainings by the first of each family: those that start from one another, in order."""
    grouped = groupby(trainings, key=lambda training: training.parent or training.design)
    return {(family := list(members))[0].cell: family for _, members in grouped}


def _errand(request: TrainRequest, plan: TrainPlan, name: str, family: Sequence[Training], cpus: int) -> Errand:
    first = family[0].design
    resolutions = sorted({training.design.resolution for training in family})
    own = {part: getattr(first, part) for part in ("variant", "width_rule", "conv_padding", "activation")}
    design = {"alpha": first.alpha, "res": resolutions, "precision": plan.precisions, **own}
    asked = {key: _absolute(value) for key, value in changed(request).items()}
    others = map(str, as_words(request, asked, OF_THE_FLEET))
    results = [flag("results_dir"), str(results_dir_or_default(request.place.results_dir).absolute())]
    paths = [str(path) for key in ("data", "weights", "teacher") if isinstance(path := asked.get(key), Path)]
    words = ("train", *map(str, as_words(request, design, ())), *others, *results, flag("beside"), flag("wait"))
    return Errand(name=name, words=words, threads=cpus, needs=tuple(paths))


def _absolute(value: object) -> object:
    return value.absolute() if isinstance(value, Path) else value
