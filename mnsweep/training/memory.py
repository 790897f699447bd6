"""What a training takes, before it starts: seconds, from a few timed steps, and memory."""

import time
from collections.abc import Sequence

import torch

from mnsweep.arch.layer import Layer
from mnsweep.cell import Design
from mnsweep.tasks.kind import Truths
from mnsweep.training.objectives.objective import Objective
from mnsweep.training.objectives.proposals import LEARNED_FROM
from mnsweep.training.optimizer import optimizer_of
from mnsweep.training.recipe import Recipe
from mnsweep.training.start import fresh_net

TIMED = 2  # steps
KEPT = 4  # times a feature map is held: after the filter, the norm and the activation, and as a gradient
OWN_BYTES = 400_000_000  # torch, and the process that decodes
STATES = 6  # times the weights are held: themselves, gradients, two moments, the average and the best
VALIDATED = 0.3  # of the time of a training step that a picture takes forward alone


def step_seconds(design: Design, recipe: Recipe, objective: Objective, truths: Truths) -> float:
    """Seconds that one step takes, timed on random pictures with `truths` (pictures, …), after one that is not."""
    net = fresh_net(design, 0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    wanted = objective.target(torch.from_numpy(truths[: recipe.batch]))
    count = len(wanted)
    optimizer = optimizer_of(net, recipe)
    images = torch.rand(count, 3, design.resolution, design.resolution).contiguous(memory_format=torch.channels_last)
    spent = []
    for _ in range(TIMED + 1):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        objective.loss(net, images, wanted, recipe).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        spent.append(time.perf_counter() - began)
    return min(spent[1:]) * recipe.batch / count


def training_seconds(per_step: float, recipe: Recipe, pictures: int, validation: int) -> float:
    """Seconds of all epochs, validation included, without stopping early."""
    steps = max(1, pictures // recipe.batch)
    return recipe.epochs * per_step * (steps + VALIDATED * validation / recipe.batch)


def training_bytes(layers: Sequence[Layer], params: int, batch: int, pixels: int) -> int:
    """Bytes that training takes with decoded pictures of `pixels` bytes: an estimate that errs to the safe side."""
    maps = sum(layer.out_channels * layer.out_size**2 * min(layer.repeats, LEARNED_FROM) for layer in layers) * 4 * KEPT
    return OWN_BYTES + pixels + batch * maps + STATES * 4 * params


def fitting_batch(layers: Sequence[Layer], params: int, pixels: int, available: int) -> int:
    """The largest batch that fits into so many bytes; 0 where none does."""
    one = training_bytes(layers, params, 1, pixels) - training_bytes(layers, params, 0, pixels)
    return max(0, (available - training_bytes(layers, params, 0, pixels)) // one)
