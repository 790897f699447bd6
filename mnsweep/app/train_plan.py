"""What a training would do: its networks, their data, and what each takes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import psutil

from mnsweep.app.requests import TrainRequest
from mnsweep.arch.cost import layer_params
from mnsweep.arch.expand import expand
from mnsweep.cell import Cell, Design
from mnsweep.errors import MnsweepError
from mnsweep.graph.integers import Integers
from mnsweep.importing.read import import_file
from mnsweep.importing.trained import Trained, sha256_of
from mnsweep.machine.fingerprint import Machine
from mnsweep.names import PRECISIONS, TASKS
from mnsweep.options import changed
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.sweep.file import read_sweep
from mnsweep.sweep.find import find_sweep_file, results_dir_or_default
from mnsweep.sweep.runs import run_folder
from mnsweep.training.dataset import Split, data_bytes, find_split
from mnsweep.training.memory import fitting_batch, step_seconds, training_bytes, training_seconds
from mnsweep.training.recipe import Recipe, read_recipe

CLASSIFY = "classify"
OF_RESOLUTION = "largest"  # in a key: the network starts from that of the largest resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One network to train: with `parent`, from the network of that design in the same run."""

    design: Design
    recipe: Recipe
    key: str
    parent: Design | None = None

    @property
    def cell(self) -> str:
        """The id of its plain cell."""
        return Cell(self.design).id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """All networks of a run, in order, and what they are trained on and from; `precisions` are those to score."""

    folder: Path
    split: Split
    data_name: str
    preprocessing: Preprocessing
    trainings: tuple[Training, ...]
    precisions: tuple[str, ...]
    start: Trained | None
    start_file: str
    teacher: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds and bytes that one training takes."""

    training: Training
    seconds: float
    memory_bytes: int


def plan_train(request: TrainRequest, machine: Machine) -> TrainPlan:
    """Read everything that is asked for; nothing is trained. Raises `MnsweepError` for what does not fit."""
    recipe = read_recipe(request.recipe, request.set)
    folder = run_folder(results_dir_or_default(request.place.results_dir), request.name)
    start = _start(request)
    split = find_split(request.data, request.seed)
    designs, precisions = _asked(request, machine, len(split.classes), start)
    if request.teacher is not None and not request.teacher.is_file():
        raise MnsweepError(f"`teacher` {request.teacher}: no such file")
    preprocessing = replace(start.preprocessing) if start else Preprocessing()
    about = {
        "data": _data_key(split),
        "seed": request.seed,
        "threads": machine.usable_threads,
        "start": start.provenance.sha256 if start else "",
        "teacher": sha256_of(request.teacher) if request.teacher else "",
    }
    return TrainPlan(
        folder=folder,
        split=split,
        data_name=request.data.resolve().name,
        preprocessing=preprocessing,
        trainings=tuple(_trainings(designs, recipe, about, request.share_resolutions)),
        precisions=precisions,
        start=start,
        start_file=request.weights.name if request.weights else "",
        teacher=request.teacher,
    )


def check_memory(plan: TrainPlan) -> None:
    """Raise `MnsweepError`, which says what batch fits, where a network and its pictures take more than is free."""
    free = psutil.virtual_memory().available
    for training in plan.trainings:
        layers, pixels = expand(training.design), data_bytes(plan.split, training.design.resolution)
        params = sum(map(layer_params, layers))
        if training_bytes(layers, params, training.recipe.batch, pixels) > free:
            fits = fitting_batch(layers, params, pixels, free)
            what = (
                f"{training.cell}: its pictures and a batch of {training.recipe.batch} take more than the {free / 1e9:.1f} GB"
            )
            fix = (
                f"a batch of {fits} fits: `set` batch={fits}" if fits else "the pictures alone do not fit: use a smaller `res`"
            )
            raise MnsweepError(f"{what} that are free", fix)


def estimate(plan: TrainPlan) -> list[Estimate]:
    """What each training takes, from a few timed steps of each."""
    validation = len(plan.split.validation.paths)
    found = []
    for training in plan.trainings:
        layers = expand(training.design)
        pixels = data_bytes(plan.split, training.design.resolution)
        seconds = training_seconds(
            step_seconds(training.design, training.recipe), training.recipe, len(plan.split.train.paths), validation
        )
        memory = training_bytes(layers, sum(map(layer_params, layers)), training.recipe.batch, pixels)
        found.append(Estimate(training=training, seconds=seconds, memory_bytes=memory))
    return found


def _start(request: TrainRequest) -> Trained | None:
    if request.weights is None:
        return None
    start = import_file(request.weights)
    if isinstance(start.weights, Integers) or start.weights.is_folded:
        what = f"`weights` {request.weights}: its batch norm is folded into its filters, so that it can't be trained on"
        raise MnsweepError(what, "start from the float network that it was made from (.h5, .pth, a checkpoint)")
    return start


def _asked(
    request: TrainRequest, machine: Machine, classes: int, start: Trained | None
) -> tuple[list[Design], tuple[str, ...]]:
    """The designs, with the classes of the pictures, and the precisions to score."""
    asked = changed(request.space)
    if request.sweep is not None:
        if asked:
            text = f"`sweep` {request.sweep} and `{next(iter(asked))}` contradict each other"
            raise MnsweepError(text, "put the value into the file, or drop `sweep`")
        path = find_sweep_file(request.sweep, results_dir_or_default(request.place.results_dir))
        cells = read_sweep(path, auto_threads=machine.usable_threads).cells
    else:
        space = request.space
        if start is not None:
            own: dict[str, Any] = {"alpha": start.design.alpha, "res": start.design.resolution}
            own |= {name: getattr(start.design, name) for name in ("variant", "width_rule", "conv_padding", "activation")}
            space = replace(space, **{name: value for name, value in own.items() if name not in asked})
        if space.alpha is None and space.res is None:
            raise MnsweepError("`alpha` and `res` name the networks to train", "e.g. `alpha` 0.25 and `res` 64, or a `sweep`")
        cells = space.cells()
    if other := next((cell for cell in cells if cell.design.task != CLASSIFY), None):
        raise MnsweepError(f"`task` {other.design.task}: can't be trained here", f"train {CLASSIFY} on your own classes")
    _check_classes(request, cells, classes)
    designs = list(dict.fromkeys(replace(cell.design, classes=classes) for cell in cells))
    if start is not None:
        _check_start(start, designs)
    precisions = tuple(name for name in PRECISIONS if any(cell.deployment.precision == name for cell in cells))
    return designs, precisions


def _check_classes(request: TrainRequest, cells: Sequence[Cell], classes: int) -> None:
    for cell in cells:
        if cell.design.classes not in (classes, TASKS[CLASSIFY].classes) or request.space.classes not in (None, classes):
            asked = request.space.classes or cell.design.classes
            raise MnsweepError(f"`classes` {asked}: the pictures have {classes} classes", "leave it out")


def _check_start(start: Trained, designs: Sequence[Design]) -> None:
    for design in designs:
        same = replace(start.design, resolution=design.resolution, classes=design.classes)
        if design != same:
            what = f"`weights`: are of {start.cell.id}, and {Cell(design).id} has other layers"
            raise MnsweepError(what, f"train `alpha` {start.design.alpha:g}, or start from other weights")


def _trainings(designs: Sequence[Design], recipe: Recipe, about: dict[str, Any], shared: bool) -> list[Training]:
    if not shared:
        return [Training(design=d, recipe=recipe, key=_key(d, recipe, about)) for d in designs]
    brief = msgspec.structs.replace(
        recipe, epochs=max(1, round(recipe.epochs * recipe.shared_epochs)), lr=recipe.lr * recipe.shared_lr
    )
    largest: dict[Design, Design] = {}
    for design in sorted(designs, key=lambda d: -d.resolution):
        largest.setdefault(replace(design, resolution=designs[0].resolution), design)
    trainings = []
    for parent in largest.values():
        trainings.append(Training(design=parent, recipe=recipe, key=_key(parent, recipe, about)))
        for design in designs:
            if design != parent and replace(design, resolution=parent.resolution) == parent:
                key = _key(design, brief, {**about, "start": f"{OF_RESOLUTION} {_key(parent, recipe, about)}"})
                trainings.append(Training(design=design, recipe=brief, key=key, parent=parent))
    return trainings


def _key(design: Design, recipe: Recipe, about: dict[str, Any]) -> str:
    told = {"cell": Cell(design).id, "recipe": recipe.document(), **about}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _data_key(split: Split) -> str:
    """Which pictures with which labels: their names and sizes."""
    told = hashlib.sha256()
    for part in (split.train, split.validation):
        for path, label in zip(part.paths, part.labels, strict=True):
            told.update(f"{path.parent.name}/{path.name} {path.stat().st_size} {label}\n".encode())
    return told.hexdigest()
