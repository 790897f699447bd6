"""Identities: triplets of embeddings, and a teacher's embeddings.

Source: Schroff et al. 2015 (FaceNet, arXiv 1503.03832), section 3.1 and 3.2: margin 0.2, semi-hard negatives within the batch;
Howard et al. 2017, section 4.7: the student minimizes the squared differences of embeddings.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from mnsweep.accuracy.verification import QUALITY_RATE, pairs_of, squared_distances, true_accepts
from mnsweep.tasks.kind import Examples, Outputs, Truths
from mnsweep.training.objectives.objective import Forward, Objective, run
from mnsweep.training.recipe import Recipe

MARGIN = 0.2
BEYOND_ALL = 8.0  # more than any squared distance of vectors of length 1
OF_EACH = 4  # pictures of an identity in a batch


class IdentityObjective(Objective):
    """Embeddings of length 1, near each other for one identity. Truths are numbers (pictures,)."""

    mixes = False  # nobody is half of two people

    def __init__(self, examples: Examples) -> None:
        self.pairs = examples.pairs

    def batches(self, truths: torch.Tensor, batch: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Batches of a few pictures of each of some identities; over an epoch, all identities come equally often."""
        places = [torch.nonzero(truths == number)[:, 0] for number in np.unique(truths.numpy())]
        waiting: list[int] = []
        for _ in range(len(truths) // batch):
            chosen: list[torch.Tensor] = []
            while sum(map(len, chosen)) < batch:
                if not waiting:
                    waiting = torch.randperm(len(places), generator=generator).tolist()
                own = places[waiting.pop()]
                chosen.append(own[torch.randperm(len(own), generator=generator)[:OF_EACH]])
            yield torch.cat(chosen)[:batch]

    def target(self, truths: torch.Tensor, moves: torch.Tensor | None = None) -> torch.Tensor:
        """The truths themselves."""
        return truths

    def loss(
        self, net: Forward, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `Objective`; what is `taught` are embeddings."""
        found = run(net, images, recipe)
        own = triplet_loss(found, wanted)
        if taught is None:
            return own
        apart = (found - taught).square().sum(1).mean()
        return (1 - recipe.teacher_weight) * own + recipe.teacher_weight * apart

    def validated(self, net: Forward, images: torch.Tensor, truths: torch.Tensor) -> tuple[float, torch.Tensor]:
        """See `Objective`: embeddings."""
        found = net(images)
        return float(triplet_loss(found, truths)) * len(images), found

    def quality(self, outputs: Outputs, truths: Truths) -> float:
        """The share of equal pairs in % that is accepted at a false-accept rate of 1e-2."""
        if self.pairs is not None:
            pairs, same = self.pairs[:, :2], self.pairs[:, 2].astype(bool)
        else:
            pairs, same = pairs_of(np.asarray(truths))
        distances = squared_distances(outputs, pairs)
        return 100 * true_accepts(distances[same], distances[~same], [QUALITY_RATE])[0]


def triplet_loss(embeddings: torch.Tensor, identities: torch.Tensor) -> torch.Tensor:
    """The mean over all pairs of one identity of max(0, d(a, p) − d(a, n) + 0.2), with squared distances d.

    The negative n is the nearest that is farther than p (semi-hard), or else the farthest: nearer ones would let the embedding
    collapse. 0 without a pair or without a negative.
    """
    distances = (2 - 2 * embeddings @ embeddings.T).clamp_min(0)
    same = identities[:, None] == identities
    anchors, positives = torch.nonzero(same & ~torch.eye(len(same), dtype=torch.bool), as_tuple=True)
    if not len(anchors) or same.all():
        return embeddings.sum() * 0
    near, rows = distances[anchors, positives], distances[anchors]
    different = ~same[anchors]
    beyond = torch.where(different & (rows > near[:, None]), rows, BEYOND_ALL).amin(1)
    farthest = torch.where(different, rows, -1.0).amax(1)
    negative = torch.where(beyond < BEYOND_ALL, beyond, farthest)
    return functional.relu(near - negative + MARGIN)[different.any(1)].mean()
