"""Detectors: anchors and boxes against plain numpy from the papers' formulas, crops against interpolation by hand."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnsweep.arch.anchors import GRID_ANCHORS, grid_anchors, ssd_anchors
from mnsweep.arch.detection import CROP_SIZE, DETECTIONS, PROPOSALS
from mnsweep.arch.expand import Layer, expand
from mnsweep.cell import Design
from mnsweep.counting import cost
from mnsweep.errors import MnsweepError
from mnsweep.graph.lowering import to_graph
from mnsweep.graph.onnx_file import build_onnx, build_open_onnx
from mnsweep.graph.torch_net import to_torch
from mnsweep.graph.weights import Array, Weights, random_weights
from mnsweep.worker.runtimes import load
from tests.families import MOBILENETS
from tests.test_build import image_of, one_thread, run_torch

__all__ = ["one_thread"]  # a fixture
Numbers = NDArray[np.floating]
SSD = Design.of(0.25, 96, task="ssd", classes=5)
RCNN = Design.of(0.25, 96, task="faster-rcnn", classes=5)
BOTH = pytest.mark.parametrize("design", [SSD, RCNN], ids=["ssd", "faster-rcnn"])


def lively(design: Design, seed: int = 0) -> Weights:
    """Random weights whose predictions differ as much as trained ones: some boxes are likely, most are not."""
    arrays = dict(random_weights(expand(design), seed).arrays)
    for name, array in arrays.items():
        if "scores" in name:
            arrays[name] = np.float32(3) * array
    return Weights(arrays)


@cache
def everything(design: Design, seed: int = 0) -> dict[str, Array]:
    """Every map of a detector on one image, as onnxruntime makes it."""
    model = build_open_onnx(expand(design), lively(design, seed))
    return load("onnxruntime").open(model, "fp32", 1).outputs(image_of(design))


def test_ssd_anchors_are_the_object_detection_apis() -> None:
    """`create_ssd_anchors` and `tile_anchors`, as their code computes them, on SSD-300's maps."""
    sizes, found = (19, 10, 5, 3, 2, 1), []
    scales = [*np.linspace(0.2, 0.95, 6), 1.0]
    for i, size in enumerate(sizes):
        if i == 0:
            shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        else:
            shapes = [(scales[i], ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)] + [
                (np.sqrt(scales[i] * scales[i + 1]), 1.0)
            ]
        heights, widths = np.array([(s / np.sqrt(r), s * np.sqrt(r)) for s, r in shapes]).T
        centre = (np.arange(size) + 0.5) / size
        x, y = np.meshgrid(centre, centre)
        tiled = [np.broadcast_to(v, (size, size, len(shapes))) for v in (y[..., None], x[..., None], heights, widths)]
        found.append(np.stack(tiled, -1).reshape(-1, 4))
    anchors = np.array(list(ssd_anchors(sizes)))
    assert anchors.shape == (19**2 * 3 + 6 * (100 + 25 + 9 + 4 + 1), 4) == (1917, 4)
    np.testing.assert_allclose(anchors, np.concatenate(found), rtol=1e-12)


def test_grid_anchors_are_the_object_detection_apis() -> None:
    """Pixels: base 256, scales .25 to 2 within each ratio, centres on the grid of 16 pixels from 0."""
    anchors = np.array(list(grid_anchors(19, 300))) * 300
    assert anchors.shape == (19 * 19 * 12, 4)
    ratios = np.repeat([0.5, 1.0, 2.0], 4)
    scales = np.tile([0.25, 0.5, 1.0, 2.0], 3)
    np.testing.assert_allclose(anchors[:12, 2], 256 * scales / np.sqrt(ratios))
    np.testing.assert_allclose(anchors[:12, 3] / anchors[:12, 2], ratios)
    np.testing.assert_allclose(anchors[:, 2] * anchors[:, 3], np.tile((256 * scales) ** 2, 361))
    grid = anchors.reshape(19, 19, 12, 4)
    np.testing.assert_allclose(grid[5, 7, :, :2], [(80, 112)] * 12)


def decoded(offsets: Numbers, anchors: Numbers) -> Numbers:
    """Ren et al. 2015, section 3.1.2, inverted: (…, 4) of (top, left, bottom, right), clipped to the image."""
    ty, tx, th, tw = np.moveaxis(offsets.astype(np.float64), -1, 0)
    y, x, h, w = np.moveaxis(np.asarray(anchors, np.float64), -1, 0)
    cy, cx = ty / 10 * h + y, tx / 10 * w + x
    height, width = h * np.exp(th / 5), w * np.exp(tw / 5)
    corners = np.stack([cy - height / 2, cx - width / 2, cy + height / 2, cx + width / 2], -1)
    return np.asarray(np.clip(corners, 0, 1))


def overlap(a: Numbers, b: Numbers) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - common
    return common / union if union > 0 else 0.0


def suppressed(boxes: Numbers, scores: Numbers, most: int, threshold: float, least: float) -> list[int]:
    """Greedy: the likeliest box first, then every one that overlaps with none that is kept."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if len(kept) == most or scores[i] <= least:
            break
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(int(i))
    return kept


def detected(boxes: Numbers, scores: Numbers, least: float) -> Numbers:
    """(100, 6) from boxes (boxes, classes, 4) and scores (boxes, classes), without the background."""
    found = []
    for label in range(scores.shape[1]):
        kept = suppressed(boxes[:, label], scores[:, label], 100, 0.6, least)
        found += [[*boxes[i, label], scores[i, label], label + 1] for i in kept]
    found.sort(key=lambda row: -row[4])
    return np.array([*found, *[[0.0] * 6] * 100])[:100]


def listed(maps: dict[str, Array], names: Sequence[str], values: int) -> Numbers:
    """Predictions of several maps as one list (anchors, values): pixels by rows, then anchors."""
    return np.concatenate([maps[name][0].transpose(1, 2, 0).reshape(-1, values) for name in names]).astype(np.float64)


def softmax(x: Numbers) -> Numbers:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def assert_same_detections(found: Array, expected: Numbers) -> None:
    assert found.shape == (1, DETECTIONS, 6)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    assert (np.diff(found[0, :, 4]) <= 0).all(), "the likeliest first"


@pytest.mark.parametrize("seed", [0, 1])
def test_ssds_boxes_are_those_of_plain_numpy(seed: int) -> None:
    maps = everything(SSD, seed)
    sizes = [maps[f"boxes{i}"].shape[-1] for i in range(1, 7)]
    offsets = listed(maps, [f"boxes{i}" for i in range(1, 7)], 4)
    scores = 1 / (1 + np.exp(-listed(maps, [f"scores{i}" for i in range(1, 7)], 5)))[:, 1:]
    boxes = decoded(offsets, np.array(list(ssd_anchors(sizes))))
    expected = detected(np.repeat(boxes[:, None], 4, 1), scores, 1e-8)
    assert len(set(expected[:, 5])) > 1 and expected[-1, 4] > 0
    assert_same_detections(maps["detections"], expected)


@pytest.mark.parametrize("seed", [0, 1])
def test_proposals_are_those_of_plain_numpy(seed: int) -> None:
    maps = everything(RCNN, seed)
    offsets, scores = listed(maps, ["proposal_boxes"], 4), softmax(listed(maps, ["proposal_scores"], 2))[:, 1]
    boxes = decoded(offsets, np.array(list(grid_anchors(6, 96))))
    scores = scores * ((boxes[:, 2:] - boxes[:, :2]).min(1) > 0)
    kept = boxes[suppressed(boxes, scores, PROPOSALS, 0.7, 0.0)]
    assert 10 < len(kept) < PROPOSALS, "room is left, which zeros must fill"
    expected = np.concatenate([kept, np.zeros((PROPOSALS - len(kept), 4))])
    np.testing.assert_allclose(maps["proposals"], expected, rtol=1e-4, atol=1e-5)


def test_more_anchors_than_candidates_leave_the_likeliest_6000() -> None:
    design = Design.of(0.1, 400, task="faster-rcnn", classes=2)
    maps = everything(design)
    offsets, scores = listed(maps, ["proposal_boxes"], 4), softmax(listed(maps, ["proposal_scores"], 2))[:, 1]
    assert len(scores) == 12 * 25**2 > 6000
    best = np.argsort(-scores, kind="stable")[:6000]
    boxes = decoded(offsets, np.array(list(grid_anchors(25, 400))))[best]
    kept = boxes[suppressed(boxes, scores[best], PROPOSALS, 0.7, 0.0)]
    np.testing.assert_allclose(maps["proposals"][: len(kept)], kept, rtol=1e-4, atol=1e-5)


def sampled(image: Numbers, y: float, x: float) -> Numbers:
    """Bilinear interpolation of (channels, size, size); pixel centres are whole numbers, the edge is the nearest pixel."""
    y, x = (float(np.clip(v, 0, image.shape[-1] - 1)) for v in (y, x))
    top, left = int(y), int(x)
    bottom, right = (min(v + 1, image.shape[-1] - 1) for v in (top, left))
    above = image[:, top, left] * (1 - (x - left)) + image[:, top, right] * (x - left)
    below = image[:, bottom, left] * (1 - (x - left)) + image[:, bottom, right] * (x - left)
    return np.asarray(above * (1 - (y - top)) + below * (y - top))


def test_crops_are_interpolated_from_the_map_inside_each_proposal() -> None:
    maps = everything(RCNN)
    image = maps["pointwise11"][0].astype(np.float64)
    for i in (0, 1, 7, PROPOSALS - 1):
        top, left, bottom, right = maps["proposals"][i].astype(np.float64) * image.shape[-1]
        for a, b in ((0, 0), (3, 11), (13, 13)):
            y = top + (a + 0.5) * (bottom - top) / CROP_SIZE - 0.5
            x = left + (b + 0.5) * (right - left) / CROP_SIZE - 0.5
            np.testing.assert_allclose(maps["crop"][i, :, a, b], sampled(image, y, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_faster_rcnns_boxes_are_those_of_plain_numpy(seed: int) -> None:
    maps = everything(RCNN, seed)
    proposals = maps["proposals"].astype(np.float64)
    size = proposals[:, 2:] - proposals[:, :2]
    anchors = np.concatenate([proposals[:, :2] + size / 2, size], 1)
    boxes = decoded(maps["class_boxes"].reshape(PROPOSALS, 4, 4), anchors[:, None])
    scores = softmax(maps["class_scores"].astype(np.float64))[:, 1:] * (size.min(1, keepdims=True) > 0)
    expected = detected(boxes, scores, 0.0)
    assert expected[:, 4].any() and len(set(expected[:, 5])) > 1
    assert_same_detections(maps["detections"], expected)


@BOTH
def test_an_image_with_nothing_in_it_has_no_detections(design: Design) -> None:
    arrays = {name: array.copy() for name, array in lively(design).arrays.items()}
    for name in arrays:
        if name.startswith(("scores", "class_scores")) and name.endswith("bias"):
            arrays[name][:] = -200.0
            arrays[name][0] = 200.0  # the background, where scores add up to one
    found = load("onnxruntime").open(build_onnx(expand(design), Weights(arrays)), "fp32", 1).outputs(image_of(design))
    assert not found["detections"].any()


@BOTH
@pytest.mark.parametrize("variant", MOBILENETS)
def test_the_file_is_valid_and_its_size_is_counted(design: Design, variant: str) -> None:
    rows = expand(Design.of(0.2, 96, variant=variant, task=design.task, classes=3))
    file = build_onnx(rows, random_weights(rows))
    assert len(file) == cost(rows).onnx_bytes
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    names = [name for node in to_graph(rows).nodes for name in node.outputs] + [c.name for c in to_graph(rows).constants]
    assert len(names) == len(set(names))
    assert load("onnxruntime").open(file, "fp32", 1).outputs(image_of(design))["detections"].shape == (1, DETECTIONS, 6)


@BOTH
def test_both_runtimes_detect_the_same(design: Design) -> None:
    file = build_onnx(expand(design), lively(design))
    ours, theirs = (load(name).open(file, "fp32", 1).outputs(image_of(design)) for name in ("onnxruntime", "openvino"))
    np.testing.assert_allclose(ours["detections"], theirs["detections"], rtol=1e-3, atol=1e-4)


def as_network(rows: Sequence[Layer], source: str) -> list[Layer]:
    """The rows behind the map `source`, with that as their image."""
    behind = [row for row in rows if row.repeats == PROPOSALS and (row.op in ("conv", "linear", "global_pool"))]
    return [replace(row, inputs=tuple("image" if name == source else name for name in row.inputs)) for row in behind]


def module_maps(rows: Sequence[Layer], weights: Weights, image: Array) -> dict[str, Array]:
    net = to_torch(rows, weights)
    found: dict[str, Array] = {}
    for name, module in net.parts.items():
        module.register_forward_hook(lambda _module, _inputs, out, name=name: found.__setitem__(name, out.numpy()))
    run_torch(net, image)
    return found


def test_ssds_predictions_are_the_modules() -> None:
    rows, maps = expand(SSD)[:-1], everything(SSD)
    for name, expected in module_maps(rows, lively(SSD), image_of(SSD)).items():
        np.testing.assert_allclose(maps[name].reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)


def test_both_stages_of_faster_rcnn_are_the_modules() -> None:
    rows, maps, weights = expand(RCNN), everything(RCNN), lively(RCNN)
    first = [row for row in rows if row.repeats == 1 and row.op == "conv"]
    found = module_maps(first, weights, image_of(RCNN))
    found |= module_maps(as_network(rows, "crop"), weights, maps["crop"])
    assert {"proposal_scores", "depthwise12", "class_boxes", "class_scores"} <= found.keys()
    for name, expected in found.items():
        np.testing.assert_allclose(maps[name].reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)


def test_ssd_300_has_the_maps_of_its_configuration() -> None:
    rows = {row.name: row for row in expand(Design.of(1.0, 300, task="ssd"))}
    maps = [rows[rows[f"boxes{i}"].inputs[0]] for i in range(1, 7)]
    assert [(m.name, m.out_size, m.out_channels) for m in maps[:2]] == [("pointwise11", 19, 512), ("pointwise13", 10, 1024)]
    assert [(m.out_size, m.out_channels) for m in maps[2:]] == [(5, 512), (3, 256), (2, 256), (1, 128)]
    assert [rows[f"boxes{i}"].out_channels // 4 for i in range(1, 7)] == [3, 6, 6, 6, 6, 6]
    assert [rows[f"scores{i}"].out_channels // 91 for i in range(1, 7)] == [3, 6, 6, 6, 6, 6]


def test_faster_rcnns_second_stage_is_the_rest_of_the_network() -> None:
    plain = {row.name: row for row in expand(Design.of(1.0, 300))}
    rows = {row.name: row for row in expand(Design.of(1.0, 300, task="faster-rcnn"))}
    for name in ("depthwise12", "pointwise12", "depthwise13", "pointwise13"):
        assert rows[name].weight_shape == plain[name].weight_shape
        assert (rows[name].repeats, rows[name].out_size, rows[name].stride) == (300, 7, plain[name].stride)
    assert (rows["class_boxes"].out_channels, rows["class_scores"].out_channels) == (360, 91)
    assert rows["proposal_boxes"].out_channels == 4 * GRID_ANCHORS == 48
    assert rows["proposal_conv"].weight_shape == (512, 512, 3, 3)


@given(st.integers(32, 700), st.sampled_from(["same", "keras", "symmetric"]), st.sampled_from(["ssd", "faster-rcnn"]))
def test_a_detector_has_maps_at_every_resolution_or_one_line_says_why_not(px: int, conv_padding: str, task: str) -> None:
    design = Design.of(0.1, px, task=task, classes=2, conv_padding=conv_padding)
    try:
        rows = expand(design)
    except MnsweepError as error:
        message = str(error)
        assert len(message.splitlines()) == 1 and f"task {task} at {px} px" in message
        assert px < (33 if task == "ssd" else 80 if conv_padding == "keras" else 65)
    else:
        assert min(row.out_size for row in rows) >= 1
        assert task == "ssd" or 12 * next(row for row in rows if row.name == "pointwise11").out_size ** 2 >= PROPOSALS


@pytest.mark.parametrize(
    ("px", "task", "reason"),
    [
        (32, "ssd", "too small for its six feature maps; use at least 33 px"),
        (64, "faster-rcnn", "300 proposals are more than the 192 anchors of its 4 × 4 feature map; use at least 80 px"),
    ],
)
def test_too_small_an_image_is_named_with_the_mend(px: int, task: str, reason: str) -> None:
    with pytest.raises(MnsweepError, match=f"task {task} at {px} px: .*{reason}"):
        expand(Design.of(1.0, px, task=task))


@BOTH
def test_a_detector_needs_a_class_beside_the_background(design: Design) -> None:
    with pytest.raises(MnsweepError, match=r"classes 1: .* at least 2"):
        expand(Design.of(1.0, 300, task=design.task, classes=1))


@BOTH
@pytest.mark.parametrize("batch", [2, None])
def test_a_detectors_file_takes_one_image(design: Design, batch: int | None) -> None:
    rows = expand(design)
    with pytest.raises(MnsweepError, match="one image at a time"):
        build_onnx(rows, random_weights(rows), batch)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_torch_and_the_file_detect_the_same(design: Design, seed: int) -> None:
    """Each box, probability and class of the 100, for several images at once in torch, one at a time in the file."""
    weights, rng = lively(design, seed), np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (2, 3, design.resolution, design.resolution)).astype(np.float32)
    session = load("onnxruntime").open(build_onnx(expand(design), weights), "fp32", 1)
    wanted = np.concatenate([next(iter(session.outputs(images[i : i + 1]).values())) for i in range(2)])
    with torch.no_grad():
        found = to_torch(expand(design), weights)(torch.from_numpy(images)).numpy()
    assert (wanted[:, :, 4] > 0).sum() > 100
    np.testing.assert_allclose(found, wanted, atol=1e-4)
