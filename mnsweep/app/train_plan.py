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
from mnsweep.tasks.kind import Split
from mnsweep.tasks.kinds import kind_of
from mnsweep.training.dataset import data_bytes
from mnsweep.training.memory import fitting_batch, step_seconds, training_bytes, training_seconds
from mnsweep.training.objectives.table import objective_of
from mnsweep.training.recipe import Recipe, read_recipe

OF_RESOLUTION = "largest"  # in a key: the network starts from that of the largest resolution
WHOLE = "squash"  # the crop of detectors, whose boxes are shares of the whole picture
FP32 = "fp32"
NOISY = "-noisy"  # the end of the name of a run on pictures with unreliable labels
FINETUNE = "finetune"  # the recipe after such a run


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
    """All networks of a run, in order, and what they are trained on and from; `precisions` are those to score.

    `noisy` is the run that each network starts from, where there is one; `names` are those of the outputs.
    """

    folder: Path
    task: str
    split: Split
    names: tuple[str, ...]
    data_name: str
    preprocessing: Preprocessing
    trainings: tuple[Training, ...]
    precisions: tuple[str, ...]
    start: Trained | None
    start_file: str
    teacher: Path | None
    noisy: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds and bytes that one training takes."""

    training: Training
    seconds: float
    memory_bytes: int


def plan_train(request: TrainRequest, machine: Machine) -> TrainPlan:
    """Read everything that is asked for; nothing is trained. Raises `MnsweepError` for what does not fit."""
    start = _start(request)
    cells = _cells(request, machine, start)
    task = _task_of(cells)
    recipe = read_recipe(request.recipe or (FINETUNE if request.noisy else TASKS[task].recipe), request.set)
    folder = run_folder(results_dir_or_default(request.place.results_dir), request.name)
    kind = kind_of(task)
    split = kind.split(request.data, request.seed)
    classes = len(split.names) if kind.names_outputs else None
    designs, precisions = _asked(request, cells, classes, start)
    _check_settings(request, task)
    preprocessing = replace(start.preprocessing) if start else Preprocessing()
    if TASKS[task].detects:
        preprocessing = replace(preprocessing, crop=WHOLE)
    about = {
        "data": _data_key(split),
        "seed": request.seed,
        "threads": machine.usable_threads,
        "start": start.provenance.sha256 if start else "",
        "teacher": sha256_of(request.teacher) if request.teacher else "",
        **({"noisy": _data_key(kind.split(request.noisy, request.seed))} if request.noisy else {}),
    }
    return TrainPlan(
        folder=folder,
        task=task,
        split=split,
        names=split.names if kind.names_outputs else (),
        data_name=request.data.resolve().name,
        preprocessing=preprocessing,
        trainings=tuple(_trainings(designs, recipe, about, request.share_resolutions)),
        precisions=precisions,
        start=start,
        start_file=request.weights.name if request.weights else "",
        teacher=request.teacher,
        noisy=folder.parent.with_name(folder.parent.name + NOISY) / folder.name if request.noisy else None,
    )


def before(request: TrainRequest) -> TrainRequest | None:
    """The run that a run starts from: the same networks, on pictures with unreliable labels; None without any."""
    if request.noisy is None:
        return None
    space = replace(request.space, precision=FP32)
    return replace(request, space=space, data=request.noisy, noisy=None, recipe=None, set=None, name=request.name + NOISY)


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
        objective = objective_of(training.design, plan.split.validation, training.recipe)
        per_step = step_seconds(training.design, training.recipe, objective, plan.split.train.truths)
        seconds = training_seconds(per_step, training.recipe, len(plan.split.train.paths), validation)
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


def _cells(request: TrainRequest, machine: Machine, start: Trained | None) -> Sequence[Cell]:
    """The cells that are asked for."""
    asked = changed(request.space)
    if request.sweep is not None:
        if asked:
            text = f"`sweep` {request.sweep} and `{next(iter(asked))}` contradict each other"
            raise MnsweepError(text, "put the value into the file, or drop `sweep`")
        path = find_sweep_file(request.sweep, results_dir_or_default(request.place.results_dir))
        return read_sweep(path, auto_threads=machine.usable_threads).cells
    space = request.space
    if start is not None:
        own: dict[str, Any] = {"alpha": start.design.alpha, "res": start.design.resolution}
        own |= {name: getattr(start.design, name) for name in ("variant", "width_rule", "conv_padding", "activation")}
        space = replace(space, **{name: value for name, value in own.items() if name not in asked})
    if space.alpha is None and space.res is None:
        raise MnsweepError("`alpha` and `res` name the networks to train", "e.g. `alpha` 0.25 and `res` 64, or a `sweep`")
    return space.cells()


def _task_of(cells: Sequence[Cell]) -> str:
    tasks = list(dict.fromkeys(cell.design.task for cell in cells))
    if len(tasks) > 1:
        raise MnsweepError(f"`task` {','.join(tasks)}: one run is of one task", "train each of them under a `name` of its own")
    return tasks[0]


def _check_settings(request: TrainRequest, task: str) -> None:
    if request.teacher is not None and TASKS[task].detects:
        raise MnsweepError(f"`teacher` {request.teacher}: detectors learn from boxes alone", "leave it out")
    if request.teacher is not None and not request.teacher.is_file():
        raise MnsweepError(f"`teacher` {request.teacher}: no such file")
    if request.noisy is not None and request.weights is not None:
        raise MnsweepError("`noisy` and `weights` contradict each other", "leave one of them out")


def _asked(
    request: TrainRequest, cells: Sequence[Cell], classes: int | None, start: Trained | None
) -> tuple[list[Design], tuple[str, ...]]:
    """The designs, with the outputs that the labels need, and the precisions to score."""
    if classes is not None:
        _check_classes(request, cells, classes)
    designs = list(dict.fromkeys(replace(cell.design, classes=classes or cell.design.classes) for cell in cells))
    if start is not None:
        _check_start(start, designs)
    precisions = tuple(name for name in PRECISIONS if any(cell.deployment.precision == name for cell in cells))
    return designs, precisions


def _check_classes(request: TrainRequest, cells: Sequence[Cell], classes: int) -> None:
    for cell in cells:
        task = TASKS[cell.design.task]
        if cell.design.classes not in (classes, task.classes) or request.space.classes not in (None, classes):
            asked = request.space.classes or cell.design.classes
            what = kind_of(cell.design.task).what
            raise MnsweepError(f"`classes` {asked}: the pictures have {classes} {what}", "leave it out")


def _check_start(start: Trained, designs: Sequence[Design]) -> None:
    for design in designs:
        same = replace(start.design, resolution=design.resolution, classes=design.classes, task=design.task)
        if design != same:
            what = f"`weights`: are of {start.cell.id}, and {Cell(design).id} has other layers"
            raise MnsweepError(what, f"train `alpha` {start.design.alpha:g}, or start from other weights")


def _trainings(designs: Sequence[Design], recipe: Recipe, about: dict[str, Any], shared: bool) -> list[Training]:
    if not shared:
        return [_training(design, recipe, about) for design in designs]
    largest: dict[Design, Design] = {}
    for design in sorted(designs, key=lambda d: -d.resolution):
        largest.setdefault(replace(design, resolution=designs[0].resolution), design)
    trainings = []
    for parent in largest.values():
        first = _training(parent, recipe, about)
        trainings.append(first)
        epochs = max(1, round(first.recipe.epochs * first.recipe.shared_epochs))
        brief = msgspec.structs.replace(first.recipe, epochs=epochs, lr=first.recipe.lr * first.recipe.shared_lr)
        for design in designs:
            if design != parent and replace(design, resolution=parent.resolution) == parent:
                key = _key(design, brief, {**about, "start": f"{OF_RESOLUTION} {first.key}"})
                trainings.append(Training(design=design, recipe=brief, key=key, parent=parent))
    return trainings


def _training(design: Design, recipe: Recipe, about: dict[str, Any]) -> Training:
    own = recipe.at_width(design.alpha)
    return Training(design=design, recipe=own, key=_key(design, own, about))


def _key(design: Design, recipe: Recipe, about: dict[str, Any]) -> str:
    told = {"cell": Cell(design).id, "recipe": recipe.document(), **about}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _data_key(split: Split) -> str:
    """Which pictures with which labels: their names and sizes."""
    told = hashlib.sha256()
    for part in (split.train, split.validation):
        for path, truth in zip(part.paths, part.truths.tolist(), strict=True):
            told.update(f"{path.parent.name}/{path.name} {path.stat().st_size} {truth}\n".encode())
    return told.hexdigest()
