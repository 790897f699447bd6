"""Boxes of a Faster R-CNN: proposals, and their classes and places.

Source: TensorFlow object detection API, its Faster R-CNN configurations (`faster_rcnn_*_coco.config`): anchors are something
from an overlap of 0.7, nothing below 0.3; half of the objectness loss is of either; of the proposals that the second stage
learns from, a quarter overlaps a box by 0.5; softmax, and smooth L1 with twice the weight. Two things differ, so that nothing
is chosen at random and the second stage starts at once: in place of samples of anchors all count, and the true boxes are among
the proposals, as in Ren et al.'s own code and in torchvision.
"""

import torch
from torch.nn import functional

from mnsweep.accuracy.detections import CLASS, CORNERS, CROWD
from mnsweep.graph.torch_boxes import Proposals, centred, overlaps
from mnsweep.graph.torch_net import TorchNet
from mnsweep.training.objectives.boxes import NO_MATCH, BoxObjective, as_corners, encoded, matches, taken
from mnsweep.training.recipe import Recipe

NOTHING_BELOW, SOMETHING_FROM = 0.3, 0.7
LEARNED_FROM, OF_BOXES = 64, 16  # proposals, and those among them that are of a box
OVERLAPPING = 0.5
PLACE_WEIGHT = 2.0


class ProposalObjective(BoxObjective):
    """Boxes with classes, in two stages. Truths are those of `BoxObjective`."""

    validation_batch = 4

    def predicted(
        self, net: TorchNet, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `BoxObjective`."""
        place = next(i for i, layer in enumerate(net.layers) if layer.op == "proposals")
        layer, last = net.layers[place], net.layers[-1]
        proposing = net.parts[layer.name]
        assert isinstance(proposing, Proposals)  # noqa: S101 - for the type checker
        maps = {"image": images}
        net.run(net.layers[:place], maps)
        offsets, logits = proposing.predictions(*(maps[name] for name in layer.inputs))
        proposed = proposing.chosen(offsets.detach(), logits.detach())
        loss = proposal_loss(offsets, logits, proposing.anchors, wanted)
        found = images.new_zeros(0)
        if not net.training:
            maps[layer.name] = proposed
            net.run(net.layers[place + 1 :], maps)
            found = maps[last.name]
        boxes, match = learned_from(proposed, wanted)
        maps[layer.name] = boxes
        net.run(net.layers[place + 1 : -1], maps)
        places, scores = (maps[name] for name in last.inputs[1:])
        of_class = class_loss(places, scores, boxes, match, wanted)
        return loss + of_class, found


def proposal_loss(offsets: torch.Tensor, logits: torch.Tensor, anchors: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """The loss () of the first stage: offsets (batch, anchors, 4), and logits (batch, anchors, 2) of nothing and something."""
    match = matches(as_corners(anchors), boxes, NOTHING_BELOW, SOMETHING_FROM)
    positive, negative = match >= 0, match == NO_MATCH
    each = functional.cross_entropy(logits.flatten(0, 1), positive.long().flatten(), reduction="none").view_as(match)
    objectness = _mean(each, positive) / 2 + _mean(each, negative) / 2
    moved = functional.smooth_l1_loss(offsets, encoded(taken(boxes, match)[..., CORNERS], anchors), reduction="none").sum(2)
    return objectness + PLACE_WEIGHT * _mean(moved, positive)


def learned_from(proposed: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The boxes (batch, 64, 4) that the second stage learns from, and the number of the true box of each, or `NO_MATCH`.

    Of the true boxes and the proposals in order, the first 16 that overlap a box, and then the first that do not.
    """
    real = (boxes[..., CLASS] > 0) & (boxes[..., CROWD] == 0)
    every = torch.cat([torch.where(real[..., None], boxes[..., CORNERS], 0.0), proposed], 1)
    shared = torch.where(real[:, None, :], overlaps(every[:, :, None], boxes[:, None, :, CORNERS]), -1.0)
    best, number = shared.max(2)
    has_area = (every[..., 2:] > every[..., :2]).all(2)
    positive = (best >= OVERLAPPING) & has_area
    rank = positive.long().cumsum(1)
    positive &= rank <= OF_BOXES
    others = (best < OVERLAPPING) & has_area
    order = torch.arange(every.shape[1])
    first = torch.where(positive, order, torch.where(others, order + every.shape[1], order + 2 * every.shape[1]))
    chosen = first.argsort(1)[:, :LEARNED_FROM]
    match = torch.where(positive, number, NO_MATCH).gather(1, chosen)
    return every.gather(1, chosen[..., None].expand(-1, -1, 4)), match


def class_loss(
    offsets: torch.Tensor, logits: torch.Tensor, proposed: torch.Tensor, match: torch.Tensor, boxes: torch.Tensor
) -> torch.Tensor:
    """The loss () of the second stage: offsets (batch × n, (classes − 1) × 4), logits (batch × n, classes)."""
    own, positive = taken(boxes, match), match >= 0
    number = torch.where(positive, own[..., CLASS], 0).long()
    counts = (proposed[..., 2:] > proposed[..., :2]).all(2)  # places without a proposal do not
    each = functional.cross_entropy(logits, number.flatten(), reduction="none").view_as(number)
    per_class = offsets.view(*match.shape, -1, 4)
    predicted = per_class.gather(2, (number - 1).clamp_min(0)[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
    anchors = torch.where(counts[..., None], centred(proposed), 1.0)
    moved = functional.smooth_l1_loss(predicted, encoded(own[..., CORNERS], anchors), reduction="none").sum(2)
    return _mean(each, counts) + PLACE_WEIGHT * torch.where(positive, moved, 0.0).sum() / counts.sum().clamp_min(1)


def _mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The mean of the chosen values; 0 of none."""
    return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp_min(1)
