"""Classes: cross entropy with smoothed or mixed labels, and a teacher's answers (Hinton et al. 2015, arXiv 1503.02531)."""

import numpy as np
import torch
from torch.nn import functional

from mnsweep.tasks.kind import Examples, Outputs, Truths
from mnsweep.tasks.places import NOWHERE, WITHIN_KM, distances_km
from mnsweep.training.objectives.objective import Forward, Objective, run
from mnsweep.training.recipe import Recipe


class ClassObjective(Objective):
    """One of `classes` for each picture. Truths are numbers (pictures,)."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def target(self, truths: torch.Tensor, moves: torch.Tensor | None = None) -> torch.Tensor:
        """(batch,) class numbers → (batch, classes) probabilities."""
        return functional.one_hot(self.numbers(truths), self.classes).float()

    def numbers(self, truths: torch.Tensor) -> torch.Tensor:
        """The numbers of the classes."""
        return truths

    def loss(
        self, net: Forward, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `Objective`; `taught` are logits."""
        return loss_of(run(net, images, recipe), wanted, recipe, taught)

    def validated(self, net: Forward, images: torch.Tensor, truths: torch.Tensor) -> tuple[float, torch.Tensor]:
        """See `Objective`: logits. A picture without a class has no loss."""
        logits = net(images)
        numbers = self.numbers(truths)
        return float(functional.cross_entropy(logits, numbers, reduction="sum", ignore_index=NOWHERE)), logits

    def quality(self, outputs: Outputs, truths: Truths) -> float:
        """Top-1 in %."""
        return 100 * int((outputs.argmax(1) == truths).sum()) / len(truths)


class PlaceObjective(ClassObjective):
    """One of the cells of the globe. Truths are (pictures, 3): latitude, longitude, cell."""

    def __init__(self, examples: Examples) -> None:
        super().__init__(len(examples.names))
        self.examples = examples

    def numbers(self, truths: torch.Tensor) -> torch.Tensor:
        """See `ClassObjective`."""
        return truths[:, 2].long()

    def quality(self, outputs: Outputs, truths: Truths) -> float:
        """The share within 25 km, in %."""
        return 100 * float(np.mean(distances_km(outputs, self.examples) <= WITHIN_KM))


def loss_of(logits: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, teacher: torch.Tensor | None = None) -> torch.Tensor:
    """The loss () of `logits` (batch, classes) against probabilities `wanted`, and a `teacher`'s logits of the same images.

    The divergence is multiplied by temperature², so that its gradients stay of one size (Hinton et al., section 2).
    """
    own = functional.cross_entropy(logits, wanted, label_smoothing=recipe.label_smoothing)
    if teacher is None:
        return own
    soft = functional.log_softmax(logits / recipe.temperature, 1)
    softened = functional.log_softmax(teacher / recipe.temperature, 1)
    divergence = functional.kl_div(soft, softened, reduction="batchmean", log_target=True)
    return (1 - recipe.teacher_weight) * own + recipe.teacher_weight * recipe.temperature**2 * divergence
