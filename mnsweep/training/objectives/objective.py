"""The interface of objectives, and what most of them share."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from mnsweep.tasks.kind import Outputs, Truths
from mnsweep.training.recipe import Recipe

Forward = Callable[[torch.Tensor], torch.Tensor]  # normalized images (batch, 3, R, R) → outputs (batch, …)
Teacher = Forward


class Objective:
    """What a network learns. Truths are those of `tasks/`, as tensors (pictures, …)."""

    validation_batch, mixes = 256, True

    def batches(self, truths: torch.Tensor, batch: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """The places of the pictures of each batch of an epoch: every picture once, less those that fill no batch."""
        count = len(truths) // batch * batch
        yield from torch.split(torch.randperm(len(truths), generator=generator)[:count], batch)

    def target(self, truths: torch.Tensor, moves: torch.Tensor | None = None) -> torch.Tensor:
        """What the outputs for pictures should be; `moves` (batch, 2, 3) is how augmentation moved them (`augment.py`)."""
        raise NotImplementedError

    def mixed(
        self, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures and targets mixed with one another, where the recipe says so and the objective `mixes`."""
        if not recipe.mixup or not self.mixes:
            return images, wanted
        seed = int(torch.randint(2**31, (), generator=generator))
        kept = float(np.random.default_rng(seed).beta(recipe.mixup, recipe.mixup))
        other = torch.randperm(len(images), generator=generator)
        return kept * images + (1 - kept) * images[other], kept * wanted + (1 - kept) * wanted[other]

    def loss(
        self, net: Forward, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss () of a batch, with a teacher's outputs for the same images."""
        raise NotImplementedError

    def validated(self, net: Forward, images: torch.Tensor, truths: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The sum of the losses, and the outputs (batch, …) as the deployed file gives them, but for a softmax."""
        raise NotImplementedError

    def quality(self, outputs: Outputs, truths: Truths) -> float:
        """The quality in % of the outputs for all pictures that are validated on."""
        raise NotImplementedError


def run(net: Forward, images: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """The outputs in float32, computed in mixed precision where the recipe says so."""
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
        outputs = net(images)
    return outputs.float()
