"""The training loop: batches, averaged weights, validation after every epoch, checkpoints, and stopping.

Everything that is random in an epoch follows from the seed and the epoch's number, so that a training that was stopped goes on
as if it had not been: the same curve and, on a CPU with the same number of threads, the same weights bit for bit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mnsweep.errors import MnsweepError
from mnsweep.graph.torch_net import TorchNet
from mnsweep.pictures.pixels import Pixels
from mnsweep.pictures.preprocessing import Preprocessing
from mnsweep.tasks.kind import Truths
from mnsweep.training.augment import augmented, drawn_moves
from mnsweep.training.checkpoint import State, read_checkpoint, write_checkpoint
from mnsweep.training.objectives.classes import ClassObjective
from mnsweep.training.objectives.objective import Forward, Objective, Teacher
from mnsweep.training.optimizer import optimizer_of, rate_at, set_rate
from mnsweep.training.recipe import Recipe

EMA_START = 10  # steps after which an average of weights forgets the first ones, however slow its decay


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pixels (n, R, R, 3) and truths (n, …) to train on, and to validate on (`tasks/`)."""

    train: Pixels
    truths: Truths
    validation: Pixels
    validation_truths: Truths
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of the curve: loss and rate of the last step of an epoch, validation, speed, and where its time went.

    `validation_pct` is by the metric of the task, e.g. top-1.
    `busy_share` is the share of the training time in forward, backward and step; validation is not part of it.
    """

    epoch: int
    loss: float
    validation_loss: float
    validation_pct: float
    lr: float
    seconds: float
    images_per_s: float
    busy_share: float


@dataclass(slots=True)
class Progress:
    """A training so far; `best` is the state of the network with the best validation, after epoch `best_epoch`.

    `last` is the state after the last epoch, once it is done.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    last: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def best_pct(self) -> float:
        """The best validation so far, in %."""
        return max((epoch.validation_pct for epoch in self.epochs), default=-1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One network to train: `key` tells trainings apart, and `forward` runs the network where it is not called as it is.

    Without an `objective` it learns classes.
    """

    name: str
    key: str
    net: TorchNet
    recipe: Recipe
    seed: int
    forward: Forward | None = None
    teacher: Teacher | None = None
    objective: Objective | None = None


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Run torch on so many threads, with the algorithms that give the same bits every time; afterwards as before."""
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # `use_deterministic_algorithms` also loads the compiler: seconds
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])


def train(
    job: Job, pictures: Pictures, checkpoint: Path | None = None, report: Callable[[Epoch], None] = lambda epoch: None
) -> Progress:
    """Train `job.net` in place, from its checkpoint where there is one, and leave the best weights in it.

    Raises `MnsweepError` where the loss is no finite number: the checkpoint of the epoch before it is kept.
    """
    loop = _Loop(job, pictures)
    if checkpoint is not None and (state := read_checkpoint(checkpoint, job.key)) is not None:
        loop.restore(state)
    while not loop.is_done:
        epoch = loop.run_epoch()
        if checkpoint is not None:
            write_checkpoint(checkpoint, loop.state())
        report(epoch)
    loop.progress.last = loop.kept()
    job.net.load_state_dict(loop.progress.best)
    job.net.eval()
    return loop.progress


class _Loop:
    def __init__(self, job: Job, pictures: Pictures) -> None:
        self.job, self.pictures, self.recipe = job, pictures, job.recipe
        self.net = job.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = optimizer_of(self.net, self.recipe)
        self.average = {name: value.clone() for name, value in self.net.state_dict().items()} if self.recipe.ema else {}
        self.progress, self.step = Progress(), 0
        self.batch = min(self.recipe.batch, len(pictures.truths))
        self.per_epoch = len(pictures.truths) // self.batch
        self.pixels = torch.from_numpy(pictures.train)
        self.truths = torch.from_numpy(pictures.truths)
        self.objective = job.objective or ClassObjective(int(self.net.layers[-1].out_channels))
        _set_norms(self.net, self.recipe)

    @property
    def is_done(self) -> bool:
        done = len(self.progress.epochs)
        waited = done - self.progress.best_epoch
        return done >= self.recipe.epochs or (bool(self.recipe.patience) and waited >= self.recipe.patience)

    def run_epoch(self) -> Epoch:
        number = len(self.progress.epochs) + 1
        generator = torch.Generator().manual_seed(self.job.seed * 1_000_003 + number)
        self.net.train()
        _set_norms(self.net, self.recipe)
        began, busy_s, total = time.perf_counter(), 0.0, 0.0
        for images, wanted in self._batches(generator):
            taught = self.job.teacher(images) if self.job.teacher else None
            at = time.perf_counter()
            loss = self._step(images, wanted, taught)
            busy_s += time.perf_counter() - at
            if not np.isfinite(loss):
                self._stop(number)
            total += loss
        took = time.perf_counter() - began
        validation_loss, quality_pct = self._validate()
        epoch = Epoch(
            epoch=number,
            loss=total / self.per_epoch,
            validation_loss=validation_loss,
            validation_pct=quality_pct,
            lr=rate_at(self.step - 1, self.per_epoch, self.recipe),
            seconds=time.perf_counter() - began,
            images_per_s=self.per_epoch * self.batch / took,
            busy_share=busy_s / took,
        )
        if quality_pct > self.progress.best_pct:
            self.progress.best = self.kept()
            self.progress.best_epoch = number
        self.progress.epochs.append(epoch)
        return epoch

    def _batches(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for places in self.objective.batches(self.truths, self.batch, generator):
            pixels = self.pixels[places].permute(0, 3, 1, 2).float()  # channels last in memory
            moves = drawn_moves(len(pixels), self.recipe, generator)
            images = augmented(pixels, self.recipe, generator, moves)
            images = normalized(images, self.pictures.preprocessing)
            wanted = self.objective.target(self.truths[places], moves)
            yield self.objective.mixed(images, wanted, self.recipe, generator)

    def _step(self, images: torch.Tensor, wanted: torch.Tensor, taught: torch.Tensor | None) -> float:
        set_rate(self.optimizer, rate_at(self.step, self.per_epoch, self.recipe))
        images = images.contiguous(memory_format=torch.channels_last)
        loss = self.objective.loss(self.job.forward or self.net, images, wanted, self.recipe, taught)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        if self.average:
            self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (EMA_START + self.step))
        state = self.net.state_dict()
        names = [name for name, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in names], [state[name] for name in names], 1 - decay)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """The mean loss, and the quality in %, of the averaged weights where there are any."""
        own = {name: value.clone() for name, value in self.net.state_dict().items()} if self.average else None
        if own is not None:
            self.net.load_state_dict(self.average)
        self.net.eval()
        total, outputs, step = 0.0, [], self.objective.validation_batch
        pixels, truths = self.pictures.validation, torch.from_numpy(self.pictures.validation_truths)
        for start in range(0, len(truths), step):
            part = torch.from_numpy(pixels[start : start + step]).permute(0, 3, 1, 2).float()
            images = normalized(part, self.pictures.preprocessing)
            loss, found = self.objective.validated(self.job.forward or self.net, images, truths[start : start + step])
            total += loss
            outputs.append(found.numpy())
        if own is not None:
            self.net.load_state_dict(own)
        return total / len(truths), self.objective.quality(np.concatenate(outputs), self.pictures.validation_truths)

    def _stop(self, epoch: int) -> None:
        where = (
            f"{self.job.name}: the loss is not a finite number in epoch {epoch}, step {self.step} (`set` lr={self.recipe.lr:g})"
        )
        raise MnsweepError(where, f"the epochs before it are kept; try a smaller rate: `set` lr={self.recipe.lr / 3:.2g}")

    def kept(self) -> dict[str, torch.Tensor]:
        """A copy of what is validated and kept: the averaged weights, where there are any."""
        return {name: value.clone() for name, value in (self.average or self.net.state_dict()).items()}

    def state(self) -> State:
        """All that the next epoch depends on."""
        return {
            "job": self.job.key,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "epochs": [asdict(epoch) for epoch in self.progress.epochs],
            "best": self.progress.best,
            "best_epoch": self.progress.best_epoch,
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = state["average"], state["step"]
        epochs: list[dict[str, Any]] = state["epochs"]
        self.progress = Progress([Epoch(**epoch) for epoch in epochs], state["best"], state["best_epoch"])


def normalized(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Pixels from 0 to 255 as the network's input."""
    return (pixels - preprocessing.mean) / preprocessing.std


def _set_norms(net: TorchNet, recipe: Recipe) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = recipe.norm_momentum
            if recipe.frozen_norm:
                module.eval()
