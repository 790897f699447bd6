"""`mnsweep train`: train networks on labelled pictures, score their deployed files, and keep them as a run."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from mnsweep.accuracy.metrics import METRICS
from mnsweep.app.models import Wanted, of_weights
from mnsweep.app.requests import TrainRequest
from mnsweep.app.scoring import scored
from mnsweep.app.teaching import teaching
from mnsweep.app.train_plan import Estimate, Training, TrainPlan, before, check_memory, estimate, plan_train
from mnsweep.cell import Cell, Deployment, Design, parse_cell
from mnsweep.errors import MnsweepError
from mnsweep.graph.lowering import Range
from mnsweep.graph.torch_net import TorchNet, from_torch, to_torch
from mnsweep.graph.weights import Weights
from mnsweep.importing.trained import SUFFIX, Provenance, Trained, read_trained, to_bytes
from mnsweep.machine.fingerprint import Machine, read_machine
from mnsweep.machine.lock import measuring
from mnsweep.names import PRECISIONS, TASKS
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.plots.curve import curve_plot
from mnsweep.plots.figure import drawn
from mnsweep.sweep.disk import replace_file
from mnsweep.sweep.file import TOP1, Scored
from mnsweep.sweep.runs import TRAINED_HERE, TrainedRecord, read_run
from mnsweep.tasks.kind import Examples
from mnsweep.tasks.kinds import kind_of
from mnsweep.training.curve import curve_csv
from mnsweep.training.dataset import Decoded, decoded
from mnsweep.training.loop import Epoch, Job, Pictures, Progress, reproducible
from mnsweep.training.loop import train as train_job
from mnsweep.training.objectives.table import objective_of
from mnsweep.training.quantized import Rounded, folded_net, folded_weights, observed_ranges
from mnsweep.training.recipe import Recipe
from mnsweep.training.start import fresh_net, net_from, weights_of
from mnsweep.wording import count_of
from mnsweep.worker.proxy import NewWorker, WorkerProcess

FP32, INT8 = "fp32", "int8"
CHECKPOINT = ".checkpoint"
LAST = ".last"  # the end of a file with a network as it was after the last epoch, where that was not the best
FLOATS = ".floats"  # the end of a file with a network as it was before quantization-aware fine-tuning
CALIBRATED_ON = 512  # pictures: the ranges of feature maps change little with more
AFTERWARDS, AWARE = "after training", "quantization-aware fine-tuning"


class Reports:
    """What a training tells while it runs; subclasses show it."""

    def decoding(self, total: int, done: int) -> None:
        """So many of all pictures are decoded."""

    def started(self, training: Training, goes_on: bool, new_head: bool) -> None:
        """A training starts, or goes on from a checkpoint; with `new_head`, its classifier is new."""

    def epoch(self, training: Training, epoch: Epoch) -> None:
        """An epoch is done."""

    def note(self, text: str) -> None:
        """Something that the user wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOutcome:
    """A run: its folder, the records of the networks asked for, the reasons of those that failed, and pictures left out."""

    name: str
    folder: Path
    records: tuple[TrainedRecord, ...]
    failures: Mapping[str, str]
    broken: Mapping[Path, str]
    names: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """What `--json` says of each file that was scored."""
        return [
            {
                "run": self.name,
                "weights": str(self.folder / record.weights),
                "cell": cell,
                **_quality_row(score),
                "top5_pct": score.top5_pct,
                "images": score.images,
                "epochs": record.epochs,
                "seconds": record.seconds,
                "images_per_s": record.images_per_s,
                "busy_share": record.busy_share,
                "quantization": record.quantization if PRECISIONS[parse_cell(cell).deployment.precision].quantized else "",
                "recipe": record.recipe,
            }
            for record in self.records
            for cell, score in record.scores.items()
        ]


def estimate_train(request: TrainRequest) -> tuple[TrainPlan, list[Estimate]]:
    """The plan of a run, and what each of its networks takes; nothing is trained or written."""
    machine = read_machine()
    plan = plan_train(request, machine)
    check_memory(plan)
    with reproducible(machine.usable_threads):
        return plan, estimate(plan)


def train(request: TrainRequest, reports: Reports | None = None, new_worker: NewWorker | None = None) -> TrainOutcome:
    """Train what is asked for, except what the run has already; one that was stopped goes on from its last epoch.

    Raises `MnsweepError` for what does not fit, and where the only network fails; of several, the others go on.
    """
    machine, reports = read_machine(), reports or Reports()
    plan = plan_train(request, machine)
    check_memory(plan)
    if (first := before(request)) is not None:
        train(first, reports, new_worker)
    for remark in plan.split.remarks:
        reports.note(remark)
    with measuring(request.turn.wait, shared=request.beside), reproducible(machine.usable_threads):
        _make_room(plan, request)
        run = _Run(plan, request, machine, reports, new_worker or WorkerProcess)
        for training in plan.trainings:
            try:
                run.train(training)
            except MnsweepError as error:
                if len(plan.trainings) == 1:
                    raise
                run.failures[training.cell] = str(error)
    known = read_run(plan.folder.parents[1], request.name).records
    return TrainOutcome(
        name=request.name,
        folder=plan.folder,
        records=tuple(known[t.cell] for t in plan.trainings if t.cell in known and t.cell not in run.failures),
        failures=MappingProxyType(run.failures),
        broken=MappingProxyType(run.broken),
        names=plan.names,
    )


def _make_room(plan: TrainPlan, request: TrainRequest) -> None:
    """Remove what is there with `fresh`. Raises `MnsweepError` where the run holds networks of another training."""
    wanted = {training.cell: training.key for training in plan.trainings}
    if request.fresh:
        for cell in wanted:
            for end in (".json", SUFFIX, FLOATS, LAST, ".csv", ".png", ".svg", CHECKPOINT):
                (plan.folder / f"{cell}{end}").unlink(missing_ok=True)
    known = read_run(plan.folder.parents[1], request.name).records
    for cell, record in known.items():
        if cell in wanted and record.key != wanted[cell]:
            what = f"`name` {request.name}: {cell} was trained with other pictures or another recipe, seed or start"
            raise MnsweepError(what, "choose another `name`, or start over with `fresh`")


@dataclass(slots=True)
class _Run:
    plan: TrainPlan
    request: TrainRequest
    machine: Machine
    reports: Reports
    new_worker: NewWorker
    failures: dict[str, str] = field(default_factory=dict)
    broken: dict[Path, str] = field(default_factory=dict)
    kept: tuple[int, Pictures] | None = None  # of the resolution that was decoded last
    validated: Examples = field(init=False)  # the pictures of them that each epoch is scored on

    def __post_init__(self) -> None:
        self.validated = self.plan.split.validation

    def train(self, training: Training) -> None:
        """Train one network, score its files and write its record, unless all that is there."""
        known = read_run(self.plan.folder.parents[1], self.request.name).records.get(training.cell)
        if known is not None and not (self.plan.folder / known.weights).is_file():
            known = None
        lacking = [p for p in self.plan.precisions if known is None or _cell(training.design, p).id not in known.scores]
        if not lacking:
            self.reports.note(f"{training.cell}: is trained already; `fresh` starts over")
            return
        record, trained = (known, read_trained(self.plan.folder / known.weights)) if known else self._fitted(training)
        self._write(*self._rated(training, record, trained))

    def _fitted(self, training: Training) -> tuple[TrainedRecord, Trained]:
        """Train it, from its checkpoint where there is one: its record without scores, and its weights."""
        pictures, plan = self._pictures(training.design.resolution), self.plan
        net, new_head = self._net(training)
        checkpoint = plan.folder / f"{training.cell}{CHECKPOINT}"
        with teaching(plan.teacher, training.design, plan.preprocessing, self.machine, self.new_worker) as teacher:
            job = Job(
                name=training.cell,
                key=training.key,
                net=net,
                recipe=training.recipe,
                seed=self.request.seed,
                teacher=teacher,
                objective=objective_of(training.design, self.validated, training.recipe),
            )
            self.reports.started(training, checkpoint.is_file(), new_head)
            progress = train_job(job, pictures, checkpoint, lambda epoch: self.reports.epoch(training, epoch))
        self._write_curve(training, progress)
        if progress.best_epoch != len(progress.epochs):
            last = self._trained(training, weights_of(net, progress.last), {})
            replace_file(plan.folder / f"{training.cell}{LAST}", to_bytes(last))
        ranges = {} if TASKS[training.design.task].detects else observed_ranges(net, *self._calibration(pictures))
        trained = self._trained(training, from_torch(net), ranges)
        return self._record(training, progress), trained

    def _rated(
        self, training: Training, record: TrainedRecord, trained: Trained
    ) -> tuple[TrainedRecord, Trained, Trained | None]:
        """The record with scores, the weights that have them, and those before fine-tuning where that was needed."""
        by_precision = {parse_cell(cell).deployment.precision: score for cell, score in record.scores.items()}
        known = {p: by_precision[p] for p in PRECISIONS if p in by_precision}
        scores = {p: known.get(p) or self._score(trained, p) for p in self.plan.precisions}
        if INT8 not in scores or INT8 in known:
            return _with(record, training, scores, record.quantization, trained), trained, None
        whole = scores.get(FP32) or self._score(trained, FP32)
        if whole.quality_pct - scores[INT8].quality_pct <= self.request.max_loss_points:
            return _with(record, training, scores, AFTERWARDS, trained), trained, None
        self.reports.note(f"{training.cell}: int8 has {scores[INT8].quality_pct:.1f} %; fine-tuning it with quantization")
        tuned = self._fine_tuned(training, trained)
        of_tuned = {p: self._score(tuned, p) for p in {**known, **scores}}
        if of_tuned[INT8].quality_pct > scores[INT8].quality_pct:
            return _with(record, training, of_tuned, AWARE, tuned), tuned, trained
        self.reports.note(f"{training.cell}: fine-tuning did not help, {of_tuned[INT8].quality_pct:.1f} %; it is not kept")
        return _with(record, training, scores, AFTERWARDS, trained), trained, None

    def _fine_tuned(self, training: Training, trained: Trained) -> Trained:
        """The network after quantization-aware fine-tuning."""
        assert isinstance(trained.weights, Weights)  # noqa: S101 - for the type checker
        folded = folded_net(to_torch(trained.layers(), trained.weights))
        rounded = Rounded(folded, trained.ranges, self.machine.int8_weight_bits)
        job = Job(
            name=training.cell,
            key=f"{training.key} {AWARE}",
            net=folded,
            recipe=_brief(training.recipe),
            seed=self.request.seed,
            forward=rounded,
            objective=objective_of(training.design, self.validated, training.recipe),
        )
        train_job(job, self._pictures(training.design.resolution))
        return self._trained(training, folded_weights(folded), trained.ranges)

    def _calibration(self, pictures: Pictures) -> tuple[Pixels, Preprocessing]:
        """Pictures of all classes: they are in the order of their classes."""
        step = max(1, len(pictures.train) // CALIBRATED_ON)
        return pictures.train[::step][:CALIBRATED_ON], pictures.preprocessing

    def _net(self, training: Training) -> tuple[TorchNet, bool]:
        start = self.plan.start
        if training.parent is not None:
            path = self.plan.folder / f"{Cell(training.parent).id}{FLOATS}"
            start = read_trained(path if path.is_file() else path.with_suffix(SUFFIX))
        elif self.plan.noisy is not None:
            start = read_trained(self.plan.noisy / f"{training.cell}{SUFFIX}")
        if start is None:
            return fresh_net(training.design, self.request.seed), False
        if not isinstance(start.weights, Weights) or start.weights.is_folded:
            raise MnsweepError(f"{start.provenance.file}: was fine-tuned with quantization, and can't be trained on")
        return net_from(training.design, start.weights, self.request.seed)

    def _pictures(self, resolution: int) -> Pictures:
        if self.kept is not None and self.kept[0] == resolution:
            return self.kept[1]
        self.kept = None  # the memory, before more is taken
        split, total = self.plan.split, len(self.plan.split.train.paths) + len(self.plan.split.validation.paths)
        done = 0

        def read(part: str) -> Decoded:
            found = getattr(split, part)
            told = decoded(
                found,
                resolution,
                self.plan.preprocessing,
                self.machine.usable_threads,
                lambda count: self.reports.decoding(total, done + count),
            )
            self.broken.update(told.broken)
            return told

        train = read("train")
        done = len(split.train.paths)
        validation = read("validation")
        truths = train.examples.truths, validation.examples.truths
        pictures = Pictures(train.pixels, truths[0], validation.pixels, truths[1], self.plan.preprocessing)
        self.kept, self.validated = (resolution, pictures), validation.examples
        return pictures

    def _trained(self, training: Training, weights: Weights, ranges: Mapping[str, Range]) -> Trained:
        content = hashlib.sha256()
        for name, array in sorted(weights.arrays.items()):
            content.update(name.encode() + np.ascontiguousarray(array).tobytes())
        about = Provenance(
            f"{training.cell}{SUFFIX}",
            content.hexdigest(),
            TRAINED_HERE,
            label_offset=0,
            labels=self.plan.names,
        )
        return Trained(
            design=training.design,
            weights=weights,
            preprocessing=self.plan.preprocessing,
            provenance=about,
            ranges=ranges,
            calibrated_on=count_of(min(CALIBRATED_ON, len(self.plan.split.train.paths)), "training picture"),
        )

    def _score(self, trained: Trained, precision: str) -> Scored:
        """What the deployed file answers to the validation pictures, read from their files."""
        classifier = of_weights(trained, Wanted(precision=precision), self.machine, self.new_worker)
        return scored(
            classifier,
            self.plan.split.validation,
            self.plan.data_name,
            new_worker=self.new_worker,
            processes=self.machine.usable_threads,
        )

    def _record(self, training: Training, progress: Progress) -> TrainedRecord:
        epochs = progress.epochs
        return TrainedRecord(
            cell=training.cell,
            key=training.key,
            data=self.plan.data_name,
            weights=f"{training.cell}{SUFFIX}",
            sha256="",
            curve=f"{training.cell}.csv",
            recipe=training.recipe.document(),
            seed=self.request.seed,
            epochs=len(epochs),
            best_epoch=progress.best_epoch,
            seconds=sum(epoch.seconds for epoch in epochs),
            images_per_s=sum(epoch.images_per_s for epoch in epochs) / len(epochs),
            busy_share=sum(epoch.busy_share for epoch in epochs) / len(epochs),
            started_from=Cell(training.parent).id if training.parent else self.plan.start_file,
            teacher=self.plan.teacher.name if self.plan.teacher else "",
        )

    def _write_curve(self, training: Training, progress: Progress) -> None:
        plot = drawn(
            "curve", lambda: curve_plot(progress.epochs, training.cell, _metric(training), _caption(training, self.plan))
        )
        for name, content in {f"{training.cell}.csv": curve_csv(progress.epochs).encode(), **plot}.items():
            replace_file(self.plan.folder / name, content)

    def _write(self, record: TrainedRecord, trained: Trained, before: Trained | None) -> None:
        """Write the weights, and then the record that names them; the checkpoint has done its work."""
        folder = self.plan.folder
        if before is not None:
            replace_file(folder / f"{record.cell}{FLOATS}", to_bytes(before))
        replace_file(folder / record.weights, to_bytes(trained))
        replace_file(folder / f"{record.cell}.json", msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
        (folder / f"{record.cell}{CHECKPOINT}").unlink(missing_ok=True)


def _with(
    record: TrainedRecord, training: Training, scores: Mapping[str, Scored], quantization: str, trained: Trained
) -> TrainedRecord:
    """The record with these scores, by precision, of these weights."""
    named = {_cell(training.design, precision).id: found for precision, found in scores.items()}
    about = {"sha256": trained.provenance.sha256, "quantization": quantization}
    return msgspec.structs.replace(record, scores={**record.scores, **named}, **about)


def _quality_row(score: Scored) -> dict[str, Any]:
    """The quality of a file by its metric, and once more as top-1 where it is that."""
    known = {"pct": score.quality_pct, "ci_low_pct": score.ci_low_pct, "ci_high_pct": score.ci_high_pct}
    own = {f"top1_{name}": value if score.metric == TOP1 else None for name, value in known.items()}
    return {"metric": score.metric, **{f"quality_{name}": value for name, value in known.items()}, **own}


def _caption(training: Training, plan: TrainPlan) -> str:
    pictures = count_of(len(plan.split.train.paths), "picture")
    recipe = training.recipe
    words = f"{recipe.optimizer}, rate {recipe.lr:g}, {recipe.schedule}, batches of {recipe.batch}"
    kind = kind_of(training.design.task)
    return f"{pictures} of {plan.data_name}, {len(plan.split.names):,} {kind.what}; {words}"


def _metric(training: Training) -> str:
    """What each epoch is scored by, in words."""
    return METRICS[kind_of(training.design.task).metric].short


def _brief(recipe: Recipe) -> Recipe:
    """The recipe of quantization-aware fine-tuning: short, at a small rate, without averaging or mixing."""
    return msgspec.structs.replace(
        recipe,
        epochs=recipe.quantized_epochs,
        lr=recipe.lr * recipe.quantized_lr,
        warm_up=0.0,
        ema=0.0,
        mixup=0.0,
        patience=0,
        bf16=False,
    )


def _cell(design: Design, precision: str) -> Cell:
    return Cell(design, Deployment(PRECISIONS[precision].name))
