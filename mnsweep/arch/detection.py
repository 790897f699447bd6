"""Detection networks with a MobileNet body: SSD and Faster R-CNN, including the final boxes, classes and probabilities.

Both follow the TensorFlow object detection API's configurations for MobileNets, which give the counts of the paper's
Table 13. They read two feature maps: `fine`, the last one with stride 16 (19 × 19 at 300 px), and the last one, with
stride 32.

SSD (Liu et al. 2016) predicts boxes on `fine`, on the last feature map and on four more, each half the size of the one
before. Each of the four comes from a 1 × 1 convolution with half the channels and a 3 × 3 convolution at stride 2, with
TensorFlow's padding even if the body has another. Predictors are 1 × 1 convolutions, with three anchors per pixel on the
first feature map and six on the others.

Faster R-CNN (Ren et al. 2015) proposes boxes on `fine`, by a 3 × 3 convolution with 512 channels at every α and twelve
anchors per pixel. The 300 best proposals are cropped from `fine` at 14 × 14 pixels. The two blocks that follow `fine` in
the network run on each crop and reduce it to 7 × 7.

The first of the classes (e.g. 91) is the background. In SSD, all classes share the boxes.
"""

from collections.abc import Sequence
from dataclasses import replace

from mnsweep.arch.anchors import GRID_ANCHORS, GRID_STRIDE, ssd_shapes
from mnsweep.arch.layer import Layer
from mnsweep.arch.mobilenet import block, conv, last_blocks, scaled
from mnsweep.cell import Design
from mnsweep.errors import MnsweepError

EXTRA_CHANNELS = (512, 256, 256, 128)
LEAST_SSD_RESOLUTION = 33  # pixels: the minimum of the API's feature extractor
PROPOSAL_CHANNELS = 512
PROPOSALS = 300
CROP_SIZE = 14  # pixels
DETECTIONS = 100  # COCO scores at most 100 per image
COORDINATES, DETECTION_VALUES = 4, 6  # a detection is a box, a probability and a class


def fine_layer(body: Sequence[Layer]) -> Layer:
    """The layer that writes the last feature map with stride 16, which is the input of the fifth layer with stride 2."""
    fifth = [layer for layer in body if layer.stride == 2][4]
    return next(layer for layer in body if layer.name == fifth.inputs[0])


def ssd(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of an SSD. Raises `MnsweepError` where the resolution is too small for its six feature maps."""
    _check_background(design)
    if design.resolution < LEAST_SSD_RESOLUTION:
        what = f"task ssd at {design.resolution} px: the image is too small for its six feature maps"
        raise MnsweepError(what, f"use at least {LEAST_SSD_RESOLUTION} px")
    extra = _extra_layers(replace(design, conv_padding="same"), body[-1])
    sources = [fine_layer(body), body[-1], *extra[1::2]]
    anchors = [len(shapes) for shapes in ssd_shapes(len(sources))]
    boxes, scores = (
        [_predictor(f"{name}{i}", *pair, values) for i, pair in enumerate(zip(sources, anchors, strict=True), 1)]
        for name, values in (("boxes", COORDINATES), ("scores", design.classes))
    )
    return (*body, *extra, *boxes, *scores, _detections("ssd_detections", [*boxes, *scores]))


def _extra_layers(design: Design, last: Layer) -> list[Layer]:
    layers = [last]
    for i, channels in enumerate(EXTRA_CHANNELS, 1):
        narrow = conv(design, layers[-1], f"extra{i}_narrow", scaled(design, channels // 2))
        layers += [narrow, conv(design, narrow, f"extra{i}", scaled(design, channels), kernel=3, stride=2)]
    return layers[1:]


def faster_rcnn(design: Design, body: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers of a Faster R-CNN. Raises `MnsweepError` where there are fewer anchors than proposals."""
    _check_background(design)
    fine = fine_layer(body)
    if (anchors := GRID_ANCHORS * fine.out_size**2) < PROPOSALS:
        what = (
            f"task faster-rcnn at {design.resolution} px: {PROPOSALS} proposals are more than the {anchors} anchors of its "
            f"{fine.out_size} × {fine.out_size} feature map"
        )
        raise MnsweepError(what, f"use at least {5 * GRID_STRIDE} px")
    first = [*body[: body.index(fine) + 1], *_proposing(design, fine)]
    crop = fine.then("crop", "roi_align", out_size=CROP_SIZE, repeats=PROPOSALS)
    second = [replace(crop, inputs=(fine.name, first[-1].name))]
    for number, (stride, channels) in last_blocks(design):
        second += block(design, second[-1], number, stride=stride, channels=channels)
    pool = second[-1].global_pool("pool")
    offsets = pool.linear("class_boxes", (design.classes - 1) * COORDINATES)
    scores = pool.linear("class_scores", design.classes)
    detections = _detections("class_detections", [first[-1], offsets, scores])
    return (*first, *second, pool, offsets, scores, detections)


def _proposing(design: Design, fine: Layer) -> list[Layer]:
    hidden = fine.conv("proposal_conv", PROPOSAL_CHANNELS, kernel=(3, 3), bias=True, activation=design.activation)
    boxes = _predictor("proposal_boxes", hidden, GRID_ANCHORS, COORDINATES)
    scores = _predictor("proposal_scores", hidden, GRID_ANCHORS, 2)
    chosen = _from_predictions("proposals", "proposals", [boxes, scores], out_channels=COORDINATES, repeats=PROPOSALS)
    return [hidden, boxes, scores, chosen]


def _predictor(name: str, before: Layer, anchors: int, values: int) -> Layer:
    """A 1 × 1 convolution that predicts some values for each anchor of each pixel."""
    return before.conv(name, anchors * values, bias=True)


def _detections(op: str, inputs: Sequence[Layer]) -> Layer:
    return _from_predictions("detections", op, inputs, out_channels=DETECTION_VALUES, repeats=DETECTIONS)


def _from_predictions(name: str, op: str, inputs: Sequence[Layer], *, out_channels: int, repeats: int) -> Layer:
    """A layer that computes boxes from all output values of its inputs, taken as one flat vector."""
    return Layer(
        name,
        op,
        tuple(layer.name for layer in inputs),
        in_channels=sum(layer.values for layer in inputs),
        out_channels=out_channels,
        in_size=1,
        out_size=1,
        repeats=repeats,
    )


def _check_background(design: Design) -> None:
    if design.classes < 2:
        what = f"classes {design.classes}: task {design.task} needs one for the background"
        raise MnsweepError(what, "use at least 2")
