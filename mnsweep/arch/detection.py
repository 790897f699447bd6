"""Detection networks on a MobileNet: SSD and Faster R-CNN, down to boxes with a class and a probability.

Both as the TensorFlow object detection API configures them for MobileNets, which gives the counts of the paper's Table 13. Two
maps matter: `fine`, the last one of stride 16 (19 × 19 at 300 px), and the last one of all, of stride 32.

SSD (Liu et al. 2016): predictions on `fine`, on the last map and on four more, each half the size of the one before (a 1 × 1
convolution at half the channels, then 3 × 3 at stride 2, padded as TensorFlow does whatever the body is); 1 × 1 predictors,
three anchors a pixel on the first map and six on the others.

Faster R-CNN (Ren et al. 2015): `fine` proposes boxes, by a 3 × 3 convolution with 512 channels at every α and twelve anchors a
pixel; the 300 best are cropped from it at 14 × 14 pixels, and the two blocks that follow `fine` in the network run on each
of them, on 7 × 7 maps.

One class is the background: of 91 outputs the first is no class. Boxes of SSD are shared by all classes.
"""

from collections.abc import Sequence
from dataclasses import replace

from mnsweep.arch.anchors import GRID_ANCHORS, GRID_STRIDE, ssd_shapes
from mnsweep.arch.layer import Layer
from mnsweep.arch.mobilenet import block, conv, last_blocks, scaled
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError

EXTRA_CHANNELS = (512, 256, 256, 128)
LEAST_SSD_RESOLUTION = 33  # pixels: what the API's feature extractor asks for
PROPOSAL_CHANNELS = 512
PROPOSALS = 300
CROP_SIZE = 14  # pixels
DETECTIONS = 100  # COCO scores no more
COORDINATES, DETECTION_VALUES = 4, 6  # a detection is a box, a probability and a class


def fine_map(body: Sequence[Layer]) -> Layer:
    """The row that writes the last map of stride 16: what the fifth row of stride 2 belongs behind."""
    fifth = [row for row in body if row.stride == 2][4]
    return next(row for row in body if row.name == fifth.inputs[0])


def ssd(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The rows of an SSD. Raises `MnsweepError` where the resolution is too small for its six maps."""
    _check_background(design)
    if design.resolution < LEAST_SSD_RESOLUTION:
        least = f"use at least {LEAST_SSD_RESOLUTION} px"
        raise MnsweepError(f"task ssd at {design.resolution} px: the image is too small for its six maps; {least}")
    extra = _extra_maps(replace(design, conv_padding="same"), body[-1])
    maps = [fine_map(body), body[-1], *extra[1::2]]
    anchors = [len(shapes) for shapes in ssd_shapes(len(maps))]
    boxes = [_predictor(f"boxes{i}", row, n * COORDINATES) for i, (row, n) in enumerate(zip(maps, anchors, strict=True), 1)]
    scores = [
        _predictor(f"scores{i}", row, n * design.classes) for i, (row, n) in enumerate(zip(maps, anchors, strict=True), 1)
    ]
    return (*body, *extra, *boxes, *scores, _detections("ssd_detections", [*boxes, *scores]))


def _extra_maps(design: Design, last: Layer) -> list[Layer]:
    rows = [last]
    for i, base in enumerate(EXTRA_CHANNELS, 1):
        before = rows[-1]
        narrow = conv(design, f"extra{i}_narrow", before.name, before.out_channels, scaled(design, base // 2), before.out_size)
        rows += [
            narrow,
            conv(design, f"extra{i}", narrow.name, narrow.out_channels, scaled(design, base), narrow.out_size, 3, 2),
        ]
    return rows[1:]


def faster_rcnn(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The rows of a Faster R-CNN. Raises `MnsweepError` where there are fewer anchors than proposals."""
    _check_background(design)
    fine = fine_map(body)
    if (anchors := GRID_ANCHORS * fine.out_size**2) < PROPOSALS:
        raise MnsweepError(
            f"task faster-rcnn at {design.resolution} px: {PROPOSALS} proposals are more than the {anchors} anchors of its "
            f"{fine.out_size} × {fine.out_size} map; use at least {5 * GRID_STRIDE} px"
        )
    first = [*body[: body.index(fine) + 1], *_proposing(design, fine)]
    crop = Layer("crop", "roi_align", (fine.name, "proposals"), fine.out_channels, fine.out_channels, fine.out_size, CROP_SIZE)
    second = [crop._replace(maps=PROPOSALS)]
    for i, stride, base in last_blocks(design):
        second += block(design, i, second[-1], stride, base, PROPOSALS)
    size, channels = second[-1].out_size, second[-1].out_channels
    pool = Layer("pool", "global_pool", (second[-1].name,), channels, channels, size, 1, size, maps=PROPOSALS)
    offsets = _output("class_boxes", channels, (design.classes - 1) * COORDINATES)
    classes = _output("class_scores", channels, design.classes)
    found = _detections("class_detections", [first[-1], offsets, classes])
    return (*first, *second, pool, offsets, classes, found)


def _proposing(design: Design, fine: Layer) -> list[Layer]:
    size, channels = fine.out_size, PROPOSAL_CHANNELS
    hidden = Layer("proposal_conv", "conv", (fine.name,), fine.out_channels, channels, size, size, 3, 1, (1, 1), bias=True)
    hidden = hidden._replace(activation=design.activation)
    boxes = _predictor("proposal_boxes", hidden, GRID_ANCHORS * COORDINATES)
    scores = _predictor("proposal_scores", hidden, GRID_ANCHORS * 2)
    read = _values([boxes, scores])
    return [
        hidden,
        boxes,
        scores,
        Layer("proposals", "proposals", (boxes.name, scores.name), read, COORDINATES, 1, 1, maps=PROPOSALS),
    ]


def _predictor(name: str, before: Layer, channels: int) -> Layer:
    size = before.out_size
    return Layer(name, "conv", (before.name,), before.out_channels, channels, size, size, bias=True)


def _output(name: str, channels: int, outputs: int) -> Layer:
    return Layer(name, "linear", ("pool",), channels, outputs, 1, 1, bias=True, maps=PROPOSALS)


def _detections(op: str, inputs: Sequence[Layer]) -> Layer:
    names = tuple(row.name for row in inputs)
    return Layer("detections", op, names, _values(inputs), DETECTION_VALUES, 1, 1, maps=DETECTIONS)


def _values(rows: Sequence[Layer]) -> int:
    """All numbers that these rows write: what one that has no map reads."""
    return sum(row.out_channels * row.out_size**2 * row.maps for row in rows)


def _check_background(design: Design) -> None:
    if design.classes < 2:
        raise MnsweepError(f"classes {design.classes}: task {design.task} needs at least 2, one of which is the background")
