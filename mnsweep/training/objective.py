"""What a training minimizes: cross entropy with smoothed or mixed labels, and a teacher's answers."""

import numpy as np
import torch
from torch.nn import functional

from mnsweep.training.recipe import Recipe


def targets(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(batch,) class numbers → (batch, classes) probabilities."""
    return functional.one_hot(labels, classes).float()


def mixed(
    images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture and its target mixed with those of another one of the batch (mixup), with one weight for the batch."""
    if not recipe.mixup:
        return images, wanted
    seed = int(torch.randint(2**31, (), generator=generator))
    kept = float(np.random.default_rng(seed).beta(recipe.mixup, recipe.mixup))
    other = torch.randperm(len(images), generator=generator)
    return kept * images + (1 - kept) * images[other], kept * wanted + (1 - kept) * wanted[other]


def loss_of(logits: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, teacher: torch.Tensor | None = None) -> torch.Tensor:
    """The loss () of `logits` (batch, classes) against probabilities `wanted`, and a `teacher`'s logits of the same images.

    The divergence is multiplied by temperature², so that its gradients stay of one size (Hinton et al. 2015, arXiv 1503.02531,
    section 2).
    """
    own = functional.cross_entropy(logits, wanted, label_smoothing=recipe.label_smoothing)
    if teacher is None:
        return own
    soft = functional.log_softmax(logits / recipe.temperature, 1)
    softened = functional.log_softmax(teacher / recipe.temperature, 1)
    divergence = functional.kl_div(soft, softened, reduction="batchmean", log_target=True)
    return (1 - recipe.teacher_weight) * own + recipe.teacher_weight * recipe.temperature**2 * divergence
