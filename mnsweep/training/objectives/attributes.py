"""Attributes: cross entropy of each, against labels or a teacher's answers.

The paper's student learns from the teacher's answers alone (Howard et al. 2017, section 4.5): `teacher_weight` 1.
"""

import torch
from torch.nn import functional

from mnsweep.accuracy.average_precision import mean_average_precision
from mnsweep.tasks.kind import Outputs, Truths
from mnsweep.training.objectives.objective import Forward, Objective, run
from mnsweep.training.recipe import Recipe


class AttributeObjective(Objective):
    """Several attributes for each picture. Truths are (pictures, attributes): 1, 0, or nan where unknown."""

    def target(self, truths: torch.Tensor, moves: torch.Tensor | None = None) -> torch.Tensor:
        """The truths themselves."""
        return truths

    def loss(
        self, net: Forward, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `Objective`; the outputs, and what is `taught`, are probabilities."""
        found = run(net, images, recipe)
        smooth = wanted * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
        own = cross_entropy(found, smooth)
        if taught is None:
            return own
        return (1 - recipe.teacher_weight) * own + recipe.teacher_weight * cross_entropy(found, taught)

    def validated(self, net: Forward, images: torch.Tensor, truths: torch.Tensor) -> tuple[float, torch.Tensor]:
        """See `Objective`: probabilities."""
        found = net(images)
        return float(cross_entropy(found, truths)) * len(images), found

    def quality(self, outputs: Outputs, truths: Truths) -> float:
        """The mean average precision in %."""
        return 100 * mean_average_precision(truths, outputs)[0]


def cross_entropy(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The mean of the cross entropies of probabilities (batch, attributes); wanted ones that are nan do not count."""
    known = ~torch.isnan(wanted)
    each = functional.binary_cross_entropy(found, torch.where(known, wanted, 0.0), reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)
