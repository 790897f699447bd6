"""Boxes of an SSD: which anchor stands for which box, and the loss of its class and of its place.

Source: TensorFlow object detection API. Matching: `argmax_matcher.py` with a threshold of 0.5 and
`force_match_for_each_row`. Coding: `faster_rcnn_box_coder.py` with factors 10, 10, 5, 5. Losses: sigmoid focal loss with α .75
and γ 2 (`ssd_mobilenet_v1_0.75_depth_300x300_coco14_sync.config`), or sigmoid cross entropy with three negatives for each
positive, the worst first (`ssd_mobilenet_v1_coco.config`); smooth L1; both divided by the number of matches.
"""

import torch
from torch.nn import functional

from mnsweep.accuracy.detections import CLASS, CORNERS, CROWD, detection_score
from mnsweep.errors import MnsweepError
from mnsweep.graph.boxes import SCALE_FACTORS
from mnsweep.graph.torch_boxes import SsdDetections, centred, overlaps
from mnsweep.graph.torch_net import TorchNet
from mnsweep.tasks.kind import Examples, Outputs, Truths
from mnsweep.training.augment import moved_boxes
from mnsweep.training.objectives.objective import Forward, Objective
from mnsweep.training.recipe import Recipe

MATCHED = 0.5  # least overlap of an anchor with its box
FOCAL_ALPHA, FOCAL_GAMMA = 0.75, 2.0
CODE_SIZE = 4  # numbers of a place, by which the focal configuration divides (`normalize_loc_loss_by_codesize`)
NEGATIVES = 3  # for each positive, where they are mined
NO_MATCH, IGNORED = -1, -2


class BoxObjective(Objective):
    """Boxes with classes. Truths are (pictures, boxes, 6): corners, class (0: no box), 1 for a crowd."""

    validation_batch, mixes = 64, False

    def __init__(self, examples: Examples, recipe: Recipe) -> None:
        self.examples, self.recipe = examples, recipe

    def target(self, truths: torch.Tensor, moves: torch.Tensor | None = None) -> torch.Tensor:
        """The boxes where augmentation moved them."""
        return truths if moves is None else moved_boxes(truths, moves)

    def loss(
        self, net: Forward, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe, taught: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `Objective`."""
        return self.predicted(network(net), images, wanted, recipe)[0]

    def predicted(
        self, net: TorchNet, images: torch.Tensor, wanted: torch.Tensor, recipe: Recipe
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch, and its detections (batch, 100, 6) if `net` is in eval mode."""
        last, head = _last(net)
        maps = {"image": images}
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            net.run(net.layers[:-1], maps)
        offsets, logits = (part.float() for part in head.predictions(*(maps[name] for name in last)))
        found = images.new_zeros(0) if net.training else head.chosen(offsets, logits)
        return ssd_loss(offsets, logits, head.anchors, wanted, recipe), found

    def validated(self, net: Forward, images: torch.Tensor, truths: torch.Tensor) -> tuple[float, torch.Tensor]:
        """See `Objective`: detections (batch, 600)."""
        loss, found = self.predicted(network(net), images, truths, self.recipe)
        return float(loss) * len(images), found.flatten(1)

    def quality(self, outputs: Outputs, truths: Truths) -> float:
        """COCO's mean average precision at IoU .50 to .95, in %."""
        assert self.examples.sizes is not None  # noqa: S101 - for the type checker
        found = outputs.reshape(len(outputs), -1, 6)
        return detection_score(found, truths, self.examples.sizes, len(self.examples.names)).map_pct


def network(net: Forward) -> TorchNet:
    """The network itself, whose layers are run apart. Raises `MnsweepError` where something else runs it."""
    if not isinstance(net, TorchNet):
        raise MnsweepError("a detector is not trained through the rounding of int8")
    return net


def _last(net: TorchNet) -> tuple[tuple[str, ...], SsdDetections]:
    head = net.parts[net.layers[-1].name]
    assert isinstance(head, SsdDetections)  # noqa: S101 - for the type checker
    return net.layers[-1].inputs, head


def matches(anchors: torch.Tensor, boxes: torch.Tensor, least: float = MATCHED, most: float = MATCHED) -> torch.Tensor:
    """For each picture and anchor (batch, anchors) its box by number, `NO_MATCH`, or `IGNORED`: it counts for nothing.

    `anchors` are corners (anchors, 4), `boxes` truths (batch, boxes, 6). An anchor has the box that it overlaps most, from
    `most` on; below `least` it has none, and between both, or on a crowd, it counts for nothing. The anchor that overlaps a box
    most has it in any case; of several such boxes the first.
    """
    shared = overlaps(boxes[:, :, None, CORNERS], anchors)  # (batch, boxes, anchors)
    crowd = boxes[:, :, CROWD] > 0
    real = (boxes[:, :, CLASS] > 0) & ~crowd
    on_crowd = torch.where(crowd[:, :, None], shared, 0.0).amax(1) >= MATCHED
    shared = torch.where(real[:, :, None], shared, -1.0)
    best, number = shared.max(1)
    found = torch.where(best >= most, number, torch.where((best >= least) | on_crowd, IGNORED, NO_MATCH))
    top = shared.argmax(2)  # of each box, (batch, boxes)
    forced = torch.where(real[:, :, None], functional.one_hot(top, shared.shape[2]), 0)
    first = forced.argmax(1)
    return torch.where(forced.amax(1) > 0, first, found)


def encoded(corners: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Offsets (…, 4) that turn anchors (…, 4), as centres and sizes, into corners (…, 4): the inverse of `decoded`."""
    boxes = centred(corners)
    size = boxes[..., 2:].clamp_min(1e-8)
    moved = torch.cat([(boxes[..., :2] - anchors[..., :2]) / anchors[..., 2:], (size / anchors[..., 2:]).log()], -1)
    return moved * torch.tensor(SCALE_FACTORS)


def as_corners(anchors: torch.Tensor) -> torch.Tensor:
    """Corners (…, 4) of centres and sizes (…, 4)."""
    half = anchors[..., 2:] / 2
    return torch.cat([anchors[..., :2] - half, anchors[..., :2] + half], -1)


def taken(values: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """The rows of `values` (batch, boxes, n) that anchors (batch, anchors) match; any row where they match none."""
    return values.gather(1, match.clamp_min(0)[:, :, None].expand(-1, -1, values.shape[2]))


def ssd_loss(
    offsets: torch.Tensor, logits: torch.Tensor, anchors: torch.Tensor, boxes: torch.Tensor, recipe: Recipe
) -> torch.Tensor:
    """The loss () of predictions: offsets (batch, anchors, 4), logits (batch, anchors, classes), the background first."""
    match = matches(as_corners(anchors), boxes)
    own = taken(boxes, match)
    positive, counts = match >= 0, match >= NO_MATCH
    wanted = functional.one_hot(torch.where(positive, own[..., CLASS], 0).long(), logits.shape[2]).float()
    if recipe.negatives == "focal":
        wanted[..., 0] = 0  # nothing is the background there: `encode_background_as_zeros`
    each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if recipe.negatives == "focal":
        chance = torch.sigmoid(logits)
        missed = wanted * (1 - chance) + (1 - wanted) * chance
        weight = wanted * FOCAL_ALPHA + (1 - wanted) * (1 - FOCAL_ALPHA)
        of_class = ((each * weight * missed**FOCAL_GAMMA).sum(2) * counts).sum()
    else:
        of_class = _mined(each.sum(2), positive, counts).sum()
    moved = functional.smooth_l1_loss(offsets, encoded(own[..., CORNERS], anchors), reduction="none").sum(2)
    total = positive.sum().clamp_min(1)
    of_place = torch.where(positive, moved, 0.0).sum()
    return (of_class + (of_place / CODE_SIZE if recipe.negatives == "focal" else of_place)) / total


def _mined(losses: torch.Tensor, positive: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The losses (batch, anchors) of positives and of the worst negatives, three for each positive of the picture; else 0."""
    negative = counts & ~positive
    ranked = torch.where(negative, losses.detach(), -1.0).argsort(1, descending=True).argsort(1)
    kept = positive | (negative & (ranked < NEGATIVES * positive.sum(1, keepdim=True)))
    return losses * kept
