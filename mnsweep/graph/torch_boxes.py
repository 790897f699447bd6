"""The layers that make boxes as torch modules, for any number of images: what `boxes.py` does in ONNX for one.

In training mode the last layer of an SSD gives its predictions, in eval mode its detections. Corners are (top, left, bottom,
right) as fractions of the image.
"""

from collections.abc import Sequence

import torch
from torch import nn

from mnsweep.arch.anchors import grid_anchors, ssd_anchors
from mnsweep.arch.layer import Layer
from mnsweep.graph.boxes import CANDIDATES, MOST_PER_CLASS, OVERLAP, PROPOSAL_OVERLAP, SCALE_FACTORS, SSD_LEAST_SCORE

NEVER = float("-inf")  # the score of a box that is taken or suppressed
Predictions = tuple[torch.Tensor, torch.Tensor]


class SsdDetections(nn.Module):
    """Maps of the box predictors, then of the class predictors → detections (batch, 100, 6), or in training predictions."""

    anchors: torch.Tensor

    def __init__(self, layer: Layer, predictors: Sequence[Layer]) -> None:
        super().__init__()
        boxes, scores = predictors[: len(predictors) // 2], predictors[len(predictors) // 2 :]
        self.classes = scores[0].out_channels * 4 // boxes[0].out_channels
        self.detections = layer.repeats
        anchors = torch.tensor(list(ssd_anchors([box.out_size for box in boxes])))
        self.register_buffer("anchors", anchors, persistent=False)

    def predictions(self, *maps: torch.Tensor) -> Predictions:
        """Offsets (batch, anchors, 4) and logits (batch, anchors, classes)."""
        half = len(maps) // 2
        offsets, logits = (
            torch.cat([_flat(each, values) for each in part], 1)
            for part, values in ((maps[:half], 4), (maps[half:], self.classes))
        )
        return offsets, logits

    def chosen(self, offsets: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The detections of predictions."""
        scores = torch.sigmoid(logits[:, :, 1:]).transpose(1, 2)
        return _detections(decoded(offsets, self.anchors)[:, None], scores, SSD_LEAST_SCORE, self.detections)

    def forward(self, *maps: torch.Tensor) -> Predictions | torch.Tensor:
        """See the class."""
        found = self.predictions(*maps)
        return found if self.training else self.chosen(*found)


class Proposals(nn.Module):
    """Maps of boxes and of objectness (batch, anchors × values, size, size) → proposals (batch, 300, 4), padded with zeros."""

    anchors: torch.Tensor

    def __init__(self, layer: Layer, boxes: Layer, resolution: int) -> None:
        super().__init__()
        self.proposals = layer.repeats
        self.register_buffer("anchors", torch.tensor(list(grid_anchors(boxes.out_size, resolution))), persistent=False)

    def predictions(self, boxes: torch.Tensor, scores: torch.Tensor) -> Predictions:
        """Offsets (batch, anchors, 4) and logits (batch, anchors, 2) of nothing and something."""
        return _flat(boxes, 4), _flat(scores, 2)

    def chosen(self, offsets: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The proposals of predictions."""
        boxes = decoded(offsets, self.anchors)
        scores = torch.softmax(logits, 2)[:, :, 1] * _has_area(boxes)
        scores, where = scores.topk(min(CANDIDATES, scores.shape[1]), 1)
        likeliest = boxes.gather(1, where[:, :, None].expand(-1, -1, 4))
        index, kept = suppressed(likeliest[:, None], scores[:, None], self.proposals, PROPOSAL_OVERLAP, 0.0)
        found = likeliest.gather(1, index[:, 0, :, None].expand(-1, -1, 4))
        return torch.where(kept[:, 0, :, None] > NEVER, found, 0.0)

    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.chosen(*self.predictions(boxes, scores))


class Crop(nn.Module):
    """Features (batch, channels, size, size) and boxes (batch, n, 4) → (batch × n, channels, out, out), one point a pixel."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.out = layer.out_size

    def forward(self, features: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """See the class."""
        size = features.shape[-1]
        low, high = boxes[..., :2] * size - 0.5, boxes[..., 2:] * size - 0.5
        share = (torch.arange(self.out) + 0.5) / self.out
        points = (low[..., None] + (high - low)[..., None] * share).clamp(0, size - 1)  # (batch, n, 2, out)
        weights = (1 - (points[..., None] - torch.arange(size)).abs()).clamp_min(0)  # of the two nearest pixels
        rows, columns = weights.unbind(2)
        crops = torch.einsum("bnis,bcst,bnjt->bncij", rows, features, columns)
        return crops.flatten(0, 1)


class ClassDetections(nn.Module):
    """Proposals (batch, n, 4), offsets (batch × n, (classes − 1) × 4) and logits (batch × n, classes) → (batch, 100, 6)."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.detections = layer.repeats

    def forward(self, proposals: torch.Tensor, offsets: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """See the class."""
        batch, count, _ = proposals.shape
        per_class = offsets.view(batch, count, -1, 4).transpose(1, 2)
        boxes = decoded(per_class, centred(proposals)[:, None])
        scores = torch.softmax(logits, 1).view(batch, count, -1)[:, :, 1:] * _has_area(proposals)[:, :, None]
        return _detections(boxes, scores.transpose(1, 2), 0.0, self.detections)


def decoded(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Corners (…, 4), clipped to the image, of offsets (…, 4) from anchors (…, 4): centre y, centre x, height, width."""
    scaled = offsets / torch.tensor(SCALE_FACTORS)
    centre = scaled[..., :2] * anchors[..., 2:] + anchors[..., :2]
    half = scaled[..., 2:].exp() * anchors[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1).clamp(0, 1)


def centred(corners: torch.Tensor) -> torch.Tensor:
    """Centre y, centre x, height and width (…, 4) of corners (…, 4)."""
    size = corners[..., 2:] - corners[..., :2]
    return torch.cat([corners[..., :2] + size / 2, size], -1)


def overlaps(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Intersection over union of corners (…, 4), broadcast; 0 where neither has an area."""
    inner = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    shared = inner.clamp_min(0).prod(-1)
    total = (boxes[..., 2:] - boxes[..., :2]).prod(-1) + (others[..., 2:] - others[..., :2]).prod(-1) - shared
    return torch.where(total > 0, shared / total, 0.0)


@torch.no_grad()
def suppressed(
    boxes: torch.Tensor, scores: torch.Tensor, most: int, overlap: float, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy suppression for each image and class: the indices and scores (batch, classes, most) of the boxes that are kept.

    `boxes` are (batch, 1 or classes, n, 4), `scores` (batch, classes, n). The likeliest box above `least` is kept, and those
    that overlap it by more than `overlap` are dropped, again and again. Unused places have the score `NEVER`.
    """
    left = torch.where(scores > least, scores, NEVER)
    indices, kept = [], []
    for _ in range(min(most, scores.shape[2])):
        best, index = left.max(2)
        indices.append(index)
        kept.append(best)
        if not (best > NEVER).any():
            break
        of_class = boxes.expand(-1, scores.shape[1], -1, -1)
        chosen = of_class.gather(2, index[:, :, None, None].expand(-1, -1, 1, 4))
        left = left.masked_fill(overlaps(chosen, boxes) > overlap, NEVER).scatter(2, index[:, :, None], NEVER)
    short = most - len(indices)
    return (
        nn.functional.pad(torch.stack(indices, 2), (0, short)),
        nn.functional.pad(torch.stack(kept, 2), (0, short), value=NEVER),
    )


def _flat(values: torch.Tensor, each: int) -> torch.Tensor:
    """(batch, anchors × values, size, size) → (batch, size² × anchors, values)."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1, each)


def _has_area(corners: torch.Tensor) -> torch.Tensor:
    return (corners[..., 2:] - corners[..., :2]).amin(-1).sign()


def _detections(boxes: torch.Tensor, scores: torch.Tensor, least: float, most: int) -> torch.Tensor:
    """The likeliest of all classes (batch, most, 6), classes from 1, padded with zeros."""
    index, kept = suppressed(boxes, scores, MOST_PER_CLASS, OVERLAP, least)
    classes = scores.shape[1]
    found = boxes.expand(-1, classes, -1, -1).gather(2, index[..., None].expand(-1, -1, -1, 4))
    numbers = torch.arange(1, classes + 1, dtype=scores.dtype)[None, :, None].expand_as(kept)
    rows = torch.cat([found, kept[..., None], numbers[..., None]], -1).flatten(1, 2)
    rows = torch.where(rows[..., 4:5] > NEVER, rows, 0.0)
    rows = nn.functional.pad(rows, (0, 0, 0, max(0, most - rows.shape[1])))
    _, where = rows[..., 4].topk(most, 1)
    return rows.gather(1, where[..., None].expand(-1, -1, 6))


def module_of(layer: Layer, layers: dict[str, Layer], resolution: int) -> nn.Module | None:
    """The module of a layer that makes boxes; None for other layers."""
    inputs = [layers[name] for name in layer.inputs if name in layers]
    match layer.op:
        case "ssd_detections":
            return SsdDetections(layer, inputs)
        case "proposals":
            return Proposals(layer, inputs[0], resolution)
        case "roi_align":
            return Crop(layer)
        case "class_detections":
            return ClassDetections(layer)
    return None
